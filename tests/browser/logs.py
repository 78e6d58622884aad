"""Runs whose events the tests write themselves, through the runner protocol."""

from __future__ import annotations

from typing import Any

from tests.support.by_hand import ByHand
from tests.support.http import JSON, Api

#: Events a request: far below the largest body.
_BATCH = 2000


class Scripted:
    """A run on a runner by hand: started, and written to by `add`."""

    def __init__(self, api: Api, name: str, *, prompt: str = "Look after the log") -> None:
        self.runner = ByHand(api, name)
        self.runner.register()
        answer = api.post("/api/v1/runs", body={"prompt": prompt, "cwd": f"{self.runner.root}/work"})
        assert answer.status_code == 201, answer.text
        self.id: str = answer.json()["id"]
        self.path = f"/app/runs/{self.id}"
        self.claimed: JSON = self.runner.claim()
        self.n = 0
        self.add(("run.started", {"pid": 4711, "runner": name}), ("session.init", {"session_id": "s", "model": "m"}))

    def add(self, *events: tuple[str, JSON], **more: Any) -> None:
        """Append events as this run's attempt."""
        numbered = [(self.n + at, kind, payload) for at, (kind, payload) in enumerate(events, 1)]
        for start in range(0, max(1, len(numbered)), _BATCH):
            status, answer = self.runner.send(self.claimed, *numbered[start : start + _BATCH], **more)
            assert status == 200, answer
        self.n += len(events)

    def say(self, *texts: str) -> None:
        self.add(*(("agent.message", {"text": text}) for text in texts))

    def tool(self, tool: str, given: JSON, output: str, *, failed: bool = False) -> None:
        called = f"tool-{self.n}"
        self.add(
            ("agent.tool_call", {"tool_use_id": called, "name": tool, "input": given}),
            ("agent.tool_result", {"tool_use_id": called, "name": tool, "output": output, "is_error": failed}),
        )

    def ask(self, command: str) -> None:
        """Ask for permission to run a command."""
        self._request("tool", "Bash", {"command": command}, command)

    def plan(self, text: str) -> None:
        """Ask for a plan's approval."""
        self._request("plan", "ExitPlanMode", {"plan": text}, text)

    def _request(self, kind: str, tool: str, given: JSON, description: str) -> None:
        asked = {"request_id": f"ask-{self.n}", "kind": kind, "tool": tool, "input": given}
        where = {"cwd": f"{self.runner.root}/work", "description": f"{tool} {description}"}
        self.add(("permission.requested", {**asked, **where}))

    def stream(self, block: str, offset: int, text: str) -> None:
        """Send a piece of text as the model writes it."""
        self.add(tokens=[{"block": block, "offset": offset, "text": text, "kind": "text"}])

    def complete(self, text: str = "done") -> None:
        self.add(("run.completed", {"text": text}))


def chatter(count: int) -> list[tuple[str, JSON]]:
    """Many events: messages of different lengths, and tool calls with their results."""
    events: list[tuple[str, JSON]] = []
    while len(events) < count:
        n = len(events)
        tool = {"tool_use_id": f"t{n}", "name": "Bash"}
        events.append(("agent.message", {"text": f"Step {n} of the work." + " And then more." * (n % 23)}))
        events.append(("agent.tool_call", {**tool, "input": {"command": f"echo {n}"}}))
        events.append(("agent.tool_result", {**tool, "output": f"{n}", "is_error": False}))
    return events[:count]
