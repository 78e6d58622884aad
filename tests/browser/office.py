"""Agents, their tasks, and the machine they work on, whose every move the test makes."""

from __future__ import annotations

from typing import Any

from tests.support.by_hand import ByHand
from tests.support.http import JSON, Api


class Office:
    """A team with a runner of its own: nobody else's runs go there."""

    def __init__(self, api: Api, name: str) -> None:
        self.api = api
        self.name = name
        self.runner = ByHand(api, name)
        self.runner.card["max_pods"] = 20
        self.seen: set[str] = set()

    def open(self) -> Office:
        """Connect the machine."""
        self.runner.register()
        return self

    def agent(self, name: str, **fields: Any) -> str:
        """Add an agent, and return its id."""
        values = {
            "name": name,
            "role": f"{name} does what it is told",
            "glyph": name[0],
            "provider": "anthropic",
            "model": "claude-opus-4-6",
            "cli_name": "claude-code",
            "provider_config": {"labels": [self.name]},
        }
        return self._made("/api/agents", {**values, **fields})

    def task(self, title: str, agent: str, **fields: Any) -> str:
        """Make a task, and return its id."""
        return self._made("/api/tasks", {"title": title, "input": f"{title}, please", "assignee": agent, **fields})

    def started(self, title: str, agent: str, **fields: Any) -> tuple[str, Work]:
        """Make a task of an agent whose tasks start by themselves, and begin its run; returns its id and the run."""
        return self.task(title, agent, **fields), self.begin()

    def begin(self) -> Work:
        """Take the next run there is, and begin it."""
        for assignment in self.runner.poll(free_slots=20, wait_seconds=10)["assignments"]:
            if assignment["run_id"] not in self.seen:
                self.seen.add(assignment["run_id"])
                return Work(self.runner, assignment)
        raise AssertionError("there is no run to take")

    def status(self, task: str) -> str:
        found: str = self.api.get("/api/tasks/:id", task).json()["status"]
        return found

    def _made(self, path: str, body: JSON) -> str:
        answer = self.api.post(path, body=body)
        assert answer.status_code == 201, answer.text
        made: str = answer.json()["id"]
        return made


class Work:
    """A run that the office's machine has begun."""

    def __init__(self, runner: ByHand, claimed: JSON) -> None:
        self.runner = runner
        self.claimed = claimed
        self.n = 0
        self.add(("run.started", {"pid": 1}), ("session.init", {"session_id": "s", "model": "m"}))

    def add(self, *events: tuple[str, JSON]) -> None:
        numbered = [(self.n + at, kind, payload) for at, (kind, payload) in enumerate(events, 1)]
        status, answer = self.runner.send(self.claimed, *numbered)
        assert status == 200, answer
        self.n += len(events)

    def spend(self, source: str, model: str, **usage: int) -> None:
        """Report a line of what it spent."""
        status, answer = self.runner.send(self.claimed, usage=[{"source": source, "model": model, **usage}])
        assert status == 200, answer

    def ask(self, question: str, *options: str) -> None:
        """Ask a person, offering options."""
        listed = [{"label": option, "description": ""} for option in options]
        given = {"questions": [{"question": question, "header": "Q", "multiSelect": False, "options": listed}]}
        asked = {"request_id": f"q{self.n}", "kind": "question", "tool": "AskUserQuestion", "input": given}
        self.add(("permission.requested", {**asked, "cwd": "/srv", "description": f"AskUserQuestion {question}"}))

    def complete(self, text: str) -> None:
        self.add(("run.completed", {"text": text}))

    def fail(self, message: str, hint: str) -> None:
        self.add(("run.failed", {"code": "broken", "message": message, "hint": hint}))
