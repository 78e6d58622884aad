"""An org that has one of everything, each with a mark in its name."""

from __future__ import annotations

import uuid

from corral.base.ids import new_id
from corral.platform import sign_in
from corral.platform.database import fetch
from tests.support.http import JSON, Api
from tests.support.seeds import PRICE, Seeds

#: In every name and text of the org that is full.
MARK = "okapi"


async def person_of_first_org() -> str:
    """Make a member who is signed in."""
    user = new_id()
    query = "INSERT INTO users (id, org_id, name, email, role, created_at) VALUES ($1, 1, $2, $3, 'member', 0)"
    await fetch(query, user, f"{MARK} person", f"{MARK}@example.com")
    await sign_in.redeem((await sign_in.make_link(1, user)).token)
    return user


def filled_org(api: Api, user: str) -> tuple[Seeds, dict[str, list[str]]]:
    """Make one of everything, and mark it."""

    def made(path: str, body: JSON) -> str:
        answer = api.post(path, body=body)
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json().get("id"))

    seeds = Seeds(api)
    agent = seeds.agent(seeds.hand.root, name=f"{MARK} agent", team=f"{MARK}-team", role=f"{MARK} role")
    epic = made("/api/epics", {"title": f"{MARK} epic"})
    task = made("/api/tasks", {"title": f"{MARK} task", "input": f"{MARK} input", "assignee": agent, "epic_id": epic})
    claimed = seeds.hand.working(role=f"{MARK} worker", team=f"{MARK}-team")
    said = {"text": f"{MARK} said", "model": f"{MARK}-model", "message_id": "x", "parent_tool_use_id": None}
    asked = {"request_id": "r", "kind": "tool", "tool": "Bash", "input": {"command": MARK}, "cwd": seeds.hand.root}
    spent = [{"source": "1", "model": f"{MARK}-model", "input_tokens": 31_337, "cost_micros": 1_000_000}]
    session = {"session_id": str(uuid.uuid4()), "cli_version": "1", "model": "m", "permission_mode": "default"}
    events: list[tuple[str, JSON]] = [
        ("session.init", {**session, "tools": []}),
        ("agent.message", said),
        ("permission.requested", asked),
    ]
    numbered = [(n, kind, payload) for n, (kind, payload) in enumerate(events, 2)]
    assert seeds.hand.send(claimed, *numbered, usage=spent)[0] == 200
    message = made("/api/messages", {"to": agent, "text": f"{MARK} message"})
    dead = seeds.dead_message()
    made("/api/secrets", {"key": f"{MARK}_SECRET".upper(), "value": f"{MARK} value"})
    mcp = made(
        "/api/mcps",
        {"name": f"{MARK}-server", "transport": "stdio", "command": MARK, "enabled_for": "agents", "agents": [agent]},
    )
    budget = made(
        "/api/budgets",
        {"scope": "agent", "target": agent, "name": f"{MARK} budget", "limit_usd": 5, "period": "day", "hard": False},
    )
    key = api.post("/api/v1/keys", body={"name": f"{MARK} key", "scopes": ["runs:read"]}).json()["id"]
    assert api.put("/api/usage/prices", body={"prices": [{**PRICE, "model": f"{MARK}-model"}]}).status_code == 200
    invitation = api.post("/api/invitations", body={"role": "viewer", "email": f"{MARK}@guest.example"}).json()
    session = api.get("/api/sign-ins", query={"person": user}).json()[0]["id"]
    (approval,) = [one["id"] for one in api.get("/api/approvals").json()]
    return seeds, {
        "agent": [agent, claimed["agent"]["id"]],
        "task": [task],
        "epic": [epic],
        "run": [claimed["run_id"], seeds.ended],
        "message": [message, dead],
        "mcp": [mcp],
        "budget": [budget],
        "key": [key],
        "approval": [approval],
        "user": [user],
        "invitation": [invitation["id"]],
        "sign_in": [session],
        "team": [f"{MARK}-team"],
        "runner": [str(seeds.hand.id), str(seeds.hand.card["uid"])],
    }
