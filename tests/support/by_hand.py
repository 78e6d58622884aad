"""A runner that does nothing by itself: each call of the runner protocol is made by the test."""

from __future__ import annotations

import uuid

from tests.support.http import JSON, Api
from tests.support.waiting import eventually


class ByHand:
    """One runner, its session and what it holds."""

    def __init__(self, api: Api, name: str) -> None:
        self.api = api
        self.root = f"/srv/{name}"
        self.card: JSON = {
            "uid": str(uuid.uuid4()),
            "name": name,
            "os": "linux",
            "arch": "arm64",
            "version": "0.0.1",
            "labels": [name],
            "max_pods": 2,
            "allowed_dirs": [self.root],
            "clis": [{"engine": "claude-code", "version": "9.9.9", "signed_in": True}],
        }
        self.poll_no = 0
        self.id = 0
        self.session = ""

    def register(self) -> JSON:
        answer = self.api.post("/api/v1/runners/register", body=self.card)
        assert answer.status_code in (200, 201), answer.text
        told: JSON = answer.json()
        self.id, self.session = told["id"], told["session"]
        return told

    def poll(self, **more: object) -> JSON:
        self.poll_no += 1
        body = {"session": self.session, "poll_no": self.poll_no, "free_slots": 2, "wait_seconds": 0, **more}
        answer = self.api.post("/api/v1/runners/:id/poll", self.id, body=body)
        assert answer.status_code == 200, answer.text
        told: JSON = answer.json()
        return told

    def claim(self) -> JSON:
        assignments = self.poll()["assignments"]
        assert len(assignments) == 1
        claimed: JSON = assignments[0]
        return claimed

    def working(self, **fields: object) -> JSON:
        """The claimed run of a new agent, which has started."""
        name = f"agent-{uuid.uuid4().hex[:8]}"
        agent = {
            "name": name,
            "role": "Works.",
            "model": "m",
            "provider": "anthropic",
            "glyph": "🐎",
            "autostart": True,
        }
        config = {"cwd": self.root, "labels": self.card["labels"]}
        made = self.api.post(
            "/api/agents", body={**agent, "cli_name": "claude-code", "provider_config": config, **fields}
        )
        assert made.status_code == 201, made.text
        task = {"title": "t", "input": "do it", "assignee": made.json()["id"]}
        assert self.api.post("/api/tasks", body=task).status_code == 201

        def claimed() -> JSON:
            offered = self.poll(free_slots=100, wait_seconds=25)["assignments"]
            return next((one for one in offered if (one["agent"] or {}).get("name") == name), {})

        found = eventually(claimed, what=f"a run of {name}")
        assert self.send(found, (1, "run.started", {"pid": 1})) == (200, {"n": 1})
        return found

    def tools(self, claimed: JSON) -> Api:
        """A caller with the own token of a run."""
        return self.api.as_key(f"crl_run_{claimed['run_id']}_{claimed['lease']}")

    def send(self, claimed: JSON, *events: tuple[int, str, JSON], **more: object) -> tuple[int, JSON]:
        listed = [{"n": n, "type": kind, "payload": payload} for n, kind, payload in events]
        body = {"attempt": claimed["attempt"], "lease": claimed["lease"], "events": listed, **more}
        answer = self.api.post("/api/v1/runs/:id/events", claimed["run_id"], body=body)
        return answer.status_code, answer.json()
