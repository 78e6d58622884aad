"""Things that exist, made over HTTP, so that every operation has something to answer about."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from tests.support.by_hand import ByHand
from tests.support.http import JSON, Api
from tests.support.people import PASSWORD, invited, newcomer
from tests.support.waiting import eventually

AGENT = {"name": "Seed", "role": "r", "model": "m", "provider": "anthropic", "glyph": "🌱"}
PRICE = {"model": "seed-*", "input": 1, "output": 2, "cache_read": 0.1, "cache_write": 1.25, "from": "2026-01-01"}


@dataclass
class Request:
    """A request that must succeed."""

    path: JSON
    body: Any = None
    query: JSON | None = None
    key: str | None = None  #: in place of the full one
    session: str | None = None  #: in place of any key


class Seeds:
    """A runner by hand, an ended run with a log, and whatever else a request that succeeds needs."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.hand = ByHand(api, f"seed-{uuid.uuid4().hex[:6]}")
        self.hand.card["max_pods"] = 10_000  # what is claimed here stays claimed
        self.hand.register()
        self.ended = self.finished_run()

    def queued_run(self) -> str:
        body = {"prompt": "seed", "cwd": self.hand.root}
        return str(self.api.post("/api/v1/runs", body=body).raise_for_status().json()["id"])

    def claimed_run(self) -> JSON:
        """An attempt of a fresh run, started."""
        run = self.queued_run()
        claimed: JSON = next(one for one in self.hand.poll(free_slots=9_000)["assignments"] if one["run_id"] == run)
        session = {"session_id": str(uuid.uuid4()), "cli_version": "1", "model": "m", "permission_mode": "default"}
        events = (1, "run.started", {"pid": 1}), (2, "session.init", {**session, "tools": []})
        assert self.hand.send(claimed, *events)[0] == 200
        return claimed

    def finished_run(self) -> str:
        """A run that completed, with a CLI session to go on with."""
        claimed = self.claimed_run()
        said = (3, "agent.message", {"text": "hi", "model": "m", "message_id": "x", "parent_tool_use_id": None})
        usage = [{"source": "1/turn-1/m", "model": "m", "input_tokens": 3, "output_tokens": 4, "cost_micros": 50}]
        assert self.hand.send(claimed, said, (4, "run.completed", {"text": "hi"}), usage=usage)[0] == 200
        return str(claimed["run_id"])

    def approval(self) -> str:
        """A pending question of a run."""
        claimed = self.claimed_run()
        asked = {"request_id": "r1", "kind": "tool", "tool": "Bash", "input": {"command": "ls"}, "cwd": self.hand.root}
        assert self.hand.send(claimed, (3, "permission.requested", asked))[0] == 200
        listed = self.api.get("/api/approvals").raise_for_status().json()
        return str(next(one["id"] for one in listed if one["run_id"] == claimed["run_id"]))

    def command(self) -> str:
        """A command that the runner was given."""
        claimed = self.claimed_run()
        self.api.post("/api/runs/:id/cancel", claimed["run_id"]).raise_for_status()
        held = [{name: claimed[name] for name in ("run_id", "attempt", "lease")}]
        commands = self.hand.poll(held=held, free_slots=0)["commands"]
        return str(next(one["id"] for one in commands if one["run_id"] == claimed["run_id"]))

    def key(self) -> str:
        made = self.api.post("/api/v1/keys", body={"name": "seed", "scopes": ["runs:read"]})
        return str(made.raise_for_status().json()["id"])

    def secret(self) -> str:
        key = f"SEED_{uuid.uuid4().hex.upper()}"
        self.api.post("/api/secrets", body={"key": key, "value": "v"}).raise_for_status()
        return key

    def unreachable_mcp(self) -> str:
        """Of an agent inside the platform, which therefore tests it: no runner here would answer."""
        inside = self.api.post("/api/agents", body=AGENT).raise_for_status().json()["id"]
        body = {
            "name": f"seed-{uuid.uuid4().hex[:8]}",
            "transport": "http",
            "url": "http://127.0.0.1:9/mcp",
            "enabled_for": "agents",
            "agents": [inside],
        }
        return str(self.api.post("/api/mcps", body=body).raise_for_status().json()["id"])

    def mcp(self) -> str:
        body = {"name": f"seed-{uuid.uuid4().hex[:8]}", "transport": "stdio", "command": "true"}
        return str(self.api.post("/api/mcps", body=body).raise_for_status().json()["id"])

    def new_budget(self) -> dict[str, Any]:
        """A budget of an agent's own: it warns, and so keeps nobody from anything."""
        return {"scope": "agent", "target": self.agent(), "limit_usd": 5, "period": "day", "hard": False}

    def budget(self) -> str:
        return str(self.api.post("/api/budgets", body=self.new_budget()).raise_for_status().json()["id"])

    def agent(self, cwd: str = "/nowhere", **more: Any) -> str:
        config = {"cwd": cwd, "labels": ["nobody's"]}
        body = {**AGENT, "cli_name": "claude-code", "provider_config": config, **more}
        return str(self.api.post("/api/agents", body=body).raise_for_status().json()["id"])

    def task(self) -> str:
        body = {"title": "t", "input": "i", "assignee": self.agent(self.hand.root)}
        return str(self.api.post("/api/tasks", body=body).raise_for_status().json()["id"])

    def task_that_ends(self) -> str:
        """A task whose run is cancelled as soon as it has begun."""
        task = self.task()

        def cancel() -> None:
            with contextlib.suppress(AssertionError, httpx.TransportError):  # nobody began it
                eventually(lambda: self.api.get("/api/tasks/:id", task).json()["run_id"], within=20)
                self.api.post("/api/tasks/:id/cancel", task)

        threading.Thread(target=cancel, daemon=True).start()
        return task

    def epic(self) -> str:
        return str(self.api.post("/api/epics", body={"title": "e"}).raise_for_status().json()["id"])

    def dead_message(self) -> str:
        """A message to an agent that no runner could execute."""
        sent = self.api.post("/api/messages", body={"to": self.agent(), "text": "hi"}).raise_for_status().json()["id"]
        eventually(lambda: sent in [one["id"] for one in self.api.get("/api/messages/dead").json()])
        return str(sent)

    def poll_no(self) -> int:
        self.hand.poll_no += 1
        return self.hand.poll_no

    def good(self, label: str) -> Request:
        """A request that succeeds, for an operation as the document names it: `GET /api/v1/runs/{id}`."""
        made = self.special().get(label)
        return made() if made else Request({"id": self.hand.id if "/runners/" in label else self.ended})

    def special(self) -> dict[str, Callable[[], Request]]:
        launch = {"prompt": "p", "cwd": self.hand.root}
        session = self.hand.session
        return {
            "POST /api/v1/runs": lambda: Request({}, launch),
            "POST /api/v1/runs/{id}/followup": lambda: Request({"id": self.ended}, {"prompt": "more"}),
            "POST /api/runs/{id}/message": lambda: Request({"id": self.claimed_run()["run_id"]}, {"text": "hello"}),
            "POST /api/v1/runs/{id}/events": self.events,
            "POST /api/runs/{id}/cancel": lambda: Request({"id": self.queued_run()}),
            "POST /api/runs/{id}/pause": lambda: Request({"id": self.claimed_run()["run_id"]}),
            "POST /api/runs/{id}/continue": lambda: Request({"id": self.finished_run()}, {"message": "and now?"}),
            "DELETE /api/runs/{id}": lambda: Request({"id": self.finished_run()}),
            "POST /api/approvals/{id}": lambda: Request({"id": self.approval()}, {"decision": "allow"}),
            "GET /api/approvals/{id}": lambda: Request({"id": self.approval()}),
            "POST /api/v1/keys": lambda: Request({}, {"name": "k", "scopes": ["runs:read"]}),
            "GET /api/v1/keys/{id}": lambda: Request({"id": self.key()}),
            "PATCH /api/v1/limits": lambda: Request({}, {"rate_limit": None}),
            "PATCH /api/v1/keys/{id}": lambda: Request({"id": self.key()}, {"name": "renamed"}),
            "DELETE /api/v1/keys/{id}": lambda: Request({"id": self.key()}),
            "POST /api/secrets": lambda: Request({}, {"key": "SEED", "value": "v"}),
            "DELETE /api/secrets": lambda: Request({}, query={"key": self.secret()}),
            "POST /api/mcps": lambda: Request(
                {}, {"name": f"new-{uuid.uuid4().hex[:8]}", "transport": "http", "url": "https://host/mcp"}
            ),
            "PATCH /api/mcps/{id}": lambda: Request({"id": self.mcp()}, {"args": ["-v"]}),
            "POST /api/mcps/{id}/test": lambda: Request({"id": self.unreachable_mcp()}, {}),
            "DELETE /api/mcps/{id}": lambda: Request({"id": self.mcp()}),
            "POST /api/budgets": lambda: Request({}, self.new_budget()),
            **{f"{verb} /api/budgets/{{id}}": self.of_budget for verb in ("GET", "DELETE")},
            "PATCH /api/budgets/{id}": lambda: Request({"id": self.budget()}, {"limit_usd": 6}),
            "PUT /api/usage/prices": lambda: Request({}, {"prices": [PRICE]}),
            "POST /api/v1/runners/register": lambda: Request({}, ByHand(self.api, f"new-{uuid.uuid4().hex[:6]}").card),
            "POST /api/v1/runners/{id}/poll": lambda: Request(
                {"id": self.hand.id},
                {"session": session, "poll_no": self.poll_no(), "free_slots": 0, "wait_seconds": 0},
            ),
            "POST /api/v1/tools/{name}": self.tool,
            "POST /api/agents": lambda: Request({}, AGENT),
            **{f"{verb} /api/agents/{{id}}": self.of_agent for verb in ("GET", "PATCH", "PUT", "DELETE")},
            "POST /api/tasks": lambda: Request({}, {"title": "t", "input": "i", "assignee": self.agent()}),
            "GET /api/tasks/{id}": lambda: Request({"id": self.task()}),
            "PATCH /api/tasks/{id}": lambda: Request({"id": self.task()}, {"status": "done"}),
            "POST /api/tasks/{id}/cancel": lambda: Request({"id": self.task()}, {"tree": True}),
            "POST /api/run": lambda: Request({}, {"taskId": self.task_that_ends()}),
            "POST /api/epics": lambda: Request({}, {"title": "e"}),
            **{f"{verb} /api/epics/{{id}}": self.of_epic for verb in ("GET", "PATCH", "DELETE")},
            "POST /api/messages": lambda: Request({}, {"to": self.agent(), "text": "hi"}),
            "GET /api/messages/stream": lambda: Request({}, query={"seconds": 0.1}),
            "POST /api/messages/{id}/replay": lambda: Request({"id": self.dead_message()}),
            "PATCH /api/me": lambda: Request({}, {"name": "Seed"}, session=newcomer(self.api).session),
            "PUT /api/me/password": self.password,
            "POST /api/v1/sign-in-links": lambda: Request({}, key=newcomer(self.api, "owner").by_key().key),
            "POST /api/me/leave": lambda: Request({}, session=newcomer(self.api).session),
            **{f"{verb} /api/people/{{id}}": self.of_person for verb in ("GET", "DELETE")},
            "PATCH /api/people/{id}": lambda: Request({"id": newcomer(self.api).id}, {"role": "viewer"}),
            "POST /api/invitations": lambda: Request({}, {"role": "viewer"}),
            "DELETE /api/invitations/{id}": lambda: Request({"id": self.invitation()}),
            "POST /api/invitations/accept": self.acceptance,
            "POST /api/invitations/join": self.joining,
            "POST /api/sign-ins": lambda: Request({}, {"email": newcomer(self.api).email, "password": PASSWORD}),
            "PATCH /api/sign-ins/{id}": lambda: self.of_sign_in({"org_id": self.org()}),
            "DELETE /api/sign-ins/{id}": self.of_sign_in,
            "POST /api/orgs": lambda: Request({}, {"name": "seed"}),
            "PATCH /api/orgs/{id}": lambda: Request({"id": self.org()}, {"name": "Seeds"}),
            "POST /api/v1/runners/{id}/commands/{command_id}": lambda: Request(
                {"id": self.hand.id, "command_id": self.command()}, {"session": session, "status": "done"}
            ),
        }

    def of_agent(self) -> Request:
        return Request({"id": self.agent()})

    def of_epic(self) -> Request:
        return Request({"id": self.epic()})

    def of_budget(self) -> Request:
        return Request({"id": self.budget()})

    def org(self) -> int:
        return int(self.api.get("/api/me").raise_for_status().json()["org"]["id"])

    def invitation(self) -> str:
        return str(self.api.post("/api/invitations", body={}).raise_for_status().json()["id"])

    def of_person(self) -> Request:
        return Request({"id": newcomer(self.api).id})

    def password(self) -> Request:
        body = {"password": "another good one", "current": PASSWORD}
        return Request({}, body, session=newcomer(self.api).session)

    def acceptance(self) -> Request:
        email = f"{uuid.uuid4().hex}@example.com"
        return Request({}, {"token": invited(self.api), "email": email, "password": PASSWORD, "name": "Seed"})

    def joining(self) -> Request:
        other = self.api.post("/api/orgs", body={"name": "seed", "with_key": True}).raise_for_status().json()["key"]
        return Request({}, {"token": invited(self.api.as_key(other))}, session=newcomer(self.api).session)

    def of_sign_in(self, body: Any = None) -> Request:
        somebody = newcomer(self.api)
        (own,) = somebody.get("/api/sign-ins").raise_for_status().json()
        return Request({"id": own["id"]}, body, session=somebody.session)

    def tool(self) -> Request:
        key = self.hand.tools(self.hand.working()).key
        return Request({"name": "list_agents"}, {"call_id": "1", "input": {}}, key=key)

    def events(self) -> Request:
        claimed = self.claimed_run()
        said = {"n": 3, "type": "agent.message", "payload": {"text": "hi"}}
        return Request(
            {"id": claimed["run_id"]}, {"attempt": claimed["attempt"], "lease": claimed["lease"], "events": [said]}
        )
