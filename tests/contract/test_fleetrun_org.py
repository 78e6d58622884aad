"""The Fleetrun reference: who calls, what the org allows, and everybody at a glance."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.contract.fleetrun import UNKNOWN, agent, refused
from tests.contract.reference import UUIDV7
from tests.support.http import Api


def test_me_is_the_user_with_org_plan_and_features(quiet: Api, key_for: Callable[..., Api]) -> None:
    me = quiet.get("/api/me").json()
    assert set(me) >= {"id", "name", "org", "plan", "features"}
    assert UUIDV7.fullmatch(me["id"])
    assert set(me["org"]) == {"id", "name"}
    assert isinstance(me["plan"], str)
    assert all(isinstance(flag, bool) for flag in me["features"].values())
    assert key_for("runners:read").get("/api/me").json()["id"] == me["id"]
    refused(quiet.as_key(None).get("/api/me"), 401)


def test_the_world_is_every_agent_and_every_run_without_one(quiet: Api) -> None:
    ada = agent(quiet, team="Core")
    run = quiet.post("/api/v1/runs", body={"prompt": "alone", "cwd": "/srv"}).json()
    world = {one["id"]: one for one in quiet.get("/api/agents/world").json()}
    assert (world[ada["id"]]["kind"], world[ada["id"]]["status"], world[ada["id"]]["role"]) == (
        "agent",
        "idle",
        ada["role"],
    )
    assert (world[run["id"]]["kind"], world[run["id"]]["status"], world[run["id"]]["phase"]) == (
        "run",
        "queued",
        "alone",
    )
    assert set(world[ada["id"]]["usage"]) == {"total_tokens", "cost_usd"}
    quiet.post("/api/runs/:id/cancel", run["id"])
    assert run["id"] not in {one["id"] for one in quiet.get("/api/agents/world").json()}


def test_the_rules_of_delegation_are_read_and_changed(quiet: Api) -> None:
    before = quiet.get("/api/v1/policy").json()
    changed = quiet.patch("/api/v1/policy", body={"delegateTo": "team", "max_depth": 3})
    assert changed.json() == {**before, "delegate_to": "team", "max_depth": 3}
    assert quiet.patch("/api/v1/policy", body=before).json() == before
    answer = quiet.patch("/api/v1/policy", body={"max_depth": -1})
    assert answer.status_code == 400
    assert "max_depth" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("scope", "calls"),
    [
        ("agents:read", [("GET", "/api/agents"), ("GET", f"/api/agents/{UNKNOWN}"), ("GET", "/api/agents/world")]),
        ("agents:write", [("POST", "/api/agents"), ("PUT", f"/api/agents/{UNKNOWN}")]),
        ("tasks:read", [("GET", "/api/tasks"), ("GET", f"/api/tasks/{UNKNOWN}"), ("GET", "/api/epics")]),
        ("tasks:write", [("POST", "/api/tasks"), ("PATCH", f"/api/tasks/{UNKNOWN}"), ("POST", "/api/run")]),
        ("messages:read", [("GET", "/api/messages"), ("GET", "/api/messages/dead")]),
        ("messages:write", [("POST", "/api/messages")]),
        ("usage:read", [("GET", "/api/usage")]),
    ],
)
def test_each_endpoint_needs_its_scope(key_for: Callable[..., Api], scope: str, calls: list[tuple[str, str]]) -> None:
    holder, other = key_for(scope), key_for("runs:read", "runs:write")
    for method, path in calls:
        assert holder.call(method, path).status_code in (200, 400, 404)
        refused(other.call(method, path), 403, scope)


def test_errors_have_the_shape_of_the_reference(quiet: Api) -> None:
    for answer, status in (
        (quiet.as_key(None).get("/api/agents"), 401),
        (quiet.as_key("fr_live_xxxxxxxxxxxxxxxxxxxx").get("/api/tasks"), 401),
        (quiet.get("/api/tasks/:id", UNKNOWN), 404),
        (quiet.post("/api/agents", raw="{"), 400),
        (quiet.call("BREW", "/api/agents"), 405),
    ):
        refused(answer, status)
        assert answer.headers["Content-Type"] == "application/json"
