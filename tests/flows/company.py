"""A fleet of agents: who works where, and the scripts with which they hand work to each other."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.flows.fleet import Fleet
from tests.support.http import JSON
from tests.support.model import Model
from tests.support.runner import Runner
from tests.support.server import Server
from tests.support.waiting import eventually

#: Statuses of a task that has ended.
ENDED = ("done", "error")
MODELS = {"anthropic": "claude-sonnet-5", "openai": "gpt-5.6-terra", "openrouter": "maker/some-model"}
_PLACEHOLDER = re.compile(r"(\{{2,})(result|user|turn|cwd)(\}{2,})")


class Company(Fleet):
    """A server, its machines by name, and the agents on them."""

    def __init__(self, server: Server, machines: Mapping[str, Runner], model: Model) -> None:
        super().__init__(server, None, model)
        self.machines = machines

    def agent(self, name: str, on: str, **fields: Any) -> JSON:
        """An agent whose tasks start by themselves, on a machine or at a provider."""
        where: dict[str, Any] = {"provider": on, "model": MODELS.get(on)}
        if on in self.machines:
            shown = self.machines[on].wait_online(self.api)
            config = {"runner": shown["id"], "cwd": str(self.machines[on].work), "permission_mode": "bypassPermissions"}
            where = {
                "provider": "anthropic",
                "model": MODELS["anthropic"],
                "cli_name": "claude-code",
                "provider_config": config,
            }
        body = {"name": name, "role": f"{name}'s role", "glyph": "🤖", "autostart": True, **where, **fields}
        answer = self.api.post("/api/agents", body=body)
        assert answer.status_code == 201, answer.text
        made: JSON = answer.json()
        return made

    def task(self, agent: JSON, script: str, **fields: Any) -> str:
        """Give an agent a task; return its id."""
        body = {"title": f"Task of {agent['name']}", "input": script, "assignee": agent["id"], **fields}
        answer = self.api.post("/api/tasks", body=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def look(self, task_id: str) -> JSON:
        task: JSON = self.api.get("/api/tasks/:id", task_id).raise_for_status().json()
        return task

    def tree(self, task_id: str) -> list[JSON]:
        """All tasks of a tree as they are, the oldest first."""
        listed: list[JSON] = self.api.get("/api/tasks", query={"tree": task_id}).raise_for_status().json()
        return [self.look(one["id"]) for one in reversed(listed)]

    def status(self, task_id: str, *statuses: str, within: float = 60) -> JSON:
        """Wait until a task has one of these statuses; ending otherwise fails at once."""

        def there() -> JSON | None:
            task = self.look(task_id)
            if task["status"] in ENDED and task["status"] not in statuses:
                raise RuntimeError(f"{task['title']} is {task['status']}: {self.story(task_id)}")
            return task if task["status"] in statuses else None

        task = eventually(there, within=within, what=f"{task_id} is {' or '.join(statuses)}")
        assert task is not None
        return task

    def result(self, task_id: str, within: float = 60) -> str:
        """Wait until a task is done, and return its result."""
        return str(self.status(task_id, "done", within=within)["result"])

    def part(self, task_id: str, agent: JSON) -> JSON:
        """Wait until there is a task of this agent in the tree, which has a run, and return it."""

        def there() -> JSON | None:
            return next((one for one in self.tree(task_id) if one["assignee"] == agent["id"] and one["run_id"]), None)

        task = eventually(there, within=60, what=f"a part of {task_id} for {agent['name']}")
        assert task is not None
        return task

    def question(self, task: JSON) -> JSON:
        """Wait until a task's run asks a person, and return the card."""
        return self.asked(task["run_id"])

    def story(self, task_id: str) -> list[str]:
        """What happened in a tree, for messages of failing tests."""
        told = []
        for task in self.tree(task_id):
            told.append(f"{task['title']} is {task['status']}: {task['why'] or task['error'] or ''}")
            told += self.told(task["run_id"]) if task["run_id"] else []
        return told


def use(agent: JSON, tool: str, /, **given: object) -> str:
    """The directive with which this agent calls one of Corral's tools. Scripts in it fill in their own placeholders."""
    name = f"mcp__corral__{tool}" if agent["cli_name"] else tool
    return f"%tool {name} {json.dumps({key: _later(value) for key, value in given.items()})}"


def hand(agent: JSON, to: JSON, script: str, **more: object) -> str:
    """The directive with which this agent hands a script to another, and waits for what comes of it."""
    given = {"to": to["name"], "title": f"For {to['name']}", "input": script, "wait": True}
    return use(agent, "delegate_task", **{**given, **more})


def lines(*directives: str) -> str:
    return "\n".join(directives)


def file(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _later(value: object) -> object:
    """Keep placeholders of an inner script for whoever plays that: each level takes a pair of braces away."""
    return _PLACEHOLDER.sub(r"{\1\2\3}", value) if isinstance(value, str) else value
