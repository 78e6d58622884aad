"""A server, its runners, and the words in which the flows tell their stories."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from tests.support.http import JSON, Api
from tests.support.model import Model
from tests.support.processes import is_alive
from tests.support.runner import Runner
from tests.support.server import Server
from tests.support.waiting import eventually

ENDED = ("COMPLETED", "FAILED", "CANCELLED")


class Fleet:
    """What a person with a full key does."""

    def __init__(self, server: Server, runner: Runner | None, model: Model) -> None:
        self.server = server
        self.api: Api = server.api()
        self.model = model
        self._runner = runner

    @property
    def runner(self) -> Runner:
        assert self._runner is not None
        return self._runner

    def launch(self, prompt: str, *, cwd: Path | None = None, mode: str = "bypassPermissions", **fields: Any) -> str:
        """Launch a run, by default in the runner's allowed directory and without questions; return its id."""
        where = str(cwd or self.runner.work)
        body = {"prompt": prompt, "cwd": where, "permissionMode": mode, **fields}
        answer = self.api.post("/api/v1/runs", body=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def follow_up(self, run_id: str, prompt: str) -> str:
        answer = self.api.post("/api/v1/runs/:id/followup", run_id, body={"prompt": prompt})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def run(self, run_id: str) -> JSON:
        run: JSON = self.api.get("/api/v1/runs/:id", run_id).raise_for_status().json()
        return run

    def events(self, run_id: str, *types: str) -> list[JSON]:
        """The stored events, all or of the given types."""
        events: list[JSON] = self.api.get("/api/runs/:id/events", run_id).raise_for_status().json()
        return [event for event in events if not types or event["event_type"] in types]

    def payloads(self, run_id: str, *types: str) -> list[JSON]:
        return [event["payload"] for event in self.events(run_id, *types)]

    def wait_event(self, run_id: str, kind: str, count: int = 1, within: float = 40) -> JSON:
        """Wait for the `count`th event of a type and return its payload."""

        def seen() -> JSON | None:
            found = self.payloads(run_id, kind)
            return found[count - 1] if len(found) >= count else None

        payload = eventually(seen, within=within, what=f"{run_id} has {count} × {kind}: {self.told(run_id)}")
        assert payload is not None
        return payload

    def wait(self, run_id: str, *statuses: str, within: float = 60) -> JSON:
        """Wait for a status (default: an end) and return the run. Ending otherwise fails at once."""
        wanted = statuses or ENDED

        def there() -> JSON | None:
            run = self.run(run_id)
            if run["status"] in ENDED and run["status"] not in wanted:
                raise RuntimeError(f"{run_id} is {run['status']}, not {wanted}: {self.told(run_id)}")
            return run if run["status"] in wanted else None

        run = eventually(there, within=within, what=f"{run_id} is {' or '.join(wanted)}")
        assert run is not None
        return run

    def completed(self, run_id: str, within: float = 60) -> JSON:
        """Wait until it completed, and return the run."""
        return self.wait(run_id, "COMPLETED", within=within)

    def text(self, run_id: str) -> str:
        """The final text of a completed run."""
        return str(self.payloads(run_id, "run.completed")[-1]["text"])

    def failure(self, run_id: str, within: float = 60) -> JSON:
        """Wait until it failed, and return {code, message, hint}."""
        self.wait(run_id, "FAILED", within=within)
        return self.payloads(run_id, "run.failed")[-1]

    def told(self, run_id: str) -> list[str]:
        """The log in a few words, for messages of failing tests."""
        try:
            return [f"{e['event_type']} {json.dumps(e['payload'])[:160]}" for e in self.events(run_id)]
        except Exception as error:  # noqa: BLE001 - it only decorates a failure
            return [repr(error)]

    def cancel(self, run_id: str) -> None:
        answer = self.api.post("/api/runs/:id/cancel", run_id)
        assert answer.status_code == 200, answer.text

    def approvals(self, run_id: str) -> list[JSON]:
        listed: list[JSON] = self.api.get("/api/approvals").raise_for_status().json()
        return [one for one in listed if one["run_id"] == run_id]

    def asked(self, run_id: str, within: float = 40) -> JSON:
        """Wait until the run asks, and return the pending approval."""

        def pending() -> JSON | None:
            run = self.run(run_id)
            if run["status"] in ENDED:
                raise RuntimeError(f"{run_id} is {run['status']}: {self.told(run_id)}")
            return next((one for one in self.approvals(run_id) if one["status"] == "pending"), None)

        approval = eventually(pending, within=within, what=f"{run_id} asks")
        assert approval is not None
        return approval

    def answer(self, approval: JSON, decision: str, **more: Any) -> int:
        """Answer an approval and return the HTTP status."""
        return self.api.post("/api/approvals/:id", approval["id"], body={"decision": decision, **more}).status_code

    def hold(self, run_id: str) -> None:
        """Assert that the log is whole: numbered from 1 without gaps, with one end, which is the last event."""
        events = self.events(run_id)
        assert [event["sequence"] for event in events] == list(range(1, len(events) + 1)), self.told(run_id)
        ends = [e["event_type"] for e in events if e["event_type"] in ("run.completed", "run.failed", "run.cancelled")]
        assert len(ends) == 1, self.told(run_id)
        assert events[-1]["event_type"] == ends[0], self.told(run_id)


class Escaped:
    """A process that an agent starts in a session of its own, and how to look for it afterwards.

    The `script` leaves it behind and goes on with `then`, a command that lasts.
    """

    def __init__(self, work: Path, then: str = "sleep 100") -> None:
        self.file = work / f"pids-{uuid.uuid4().hex[:8]}"
        quiet = "</dev/null >/dev/null 2>&1"
        self.script = f"%bash setsid sleep 101 {quiet} & echo $! > {self.file}; echo $$ >> {self.file}; {then}"

    def pids(self) -> list[int]:
        """The escaped process and its shell, once both run."""

        def written() -> list[int]:
            return [int(line) for line in self.file.read_text().split()]

        return eventually(lambda: (len(written()) == 2 and written()) or None, what="the agent's processes run") or []

    def assert_gone(self, pids: list[int], within: float = 15) -> None:
        eventually(lambda: not any(is_alive(pid) for pid in pids), within=within, what=f"{pids} are gone")


def served_tokens(model: Model, session: str) -> dict[str, int]:
    """What the model server says it counted for a CLI session, in the words of a run's `usage`."""
    names = {
        "input_tokens": "inputTokens",
        "output_tokens": "outputTokens",
        "cache_read_tokens": "cacheReadTokens",
        "cache_write_tokens": "cacheWriteTokens",
    }
    finished = [one["usage"] for one in model.served(session=session, status="finished")]
    return {ours: sum(usage[theirs] for usage in finished) for theirs, ours in names.items()}
