"""Fleetrun: MCP servers."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from tests.contract.conftest import launched
from tests.contract.reference import UUIDV7
from tests.support.by_hand import ByHand
from tests.support.http import JSON, Api
from tests.support.second_org import second_org
from tests.support.server import Server

UNKNOWN = "0190f0f0-0000-7000-8000-000000000000"
#: A server whose secret is missing holds up the runs of those it is for: here nobody's.
FOR_NOBODY = {"enabled_for": "teams", "teams": ["nobody's"]}


def fresh() -> str:
    return f"mcp-{uuid.uuid4().hex[:8]}"


def added(api: Api, **fields: object) -> JSON:
    answer = api.post("/api/mcps", body={"name": fresh(), "transport": "stdio", "command": "npx", **fields})
    assert answer.status_code == 201, answer.text
    made: JSON = answer.json()
    return made


def test_a_stdio_server_is_added_and_listed_with_its_references_as_given(quiet: Api) -> None:
    body = {
        "name": fresh(),
        "transport": "stdio",
        "command": "npx",
        "args": ["-y", "@modelcontextprotocol/server-github"],
        "env": {"GITHUB_TOKEN": "${GITHUB_TOKEN}", "someCase": "kept_as_is"},
        **FOR_NOBODY,
    }
    answer = quiet.post("/api/mcps", body=body)
    assert answer.status_code == 201
    made = answer.json()
    assert set(made) >= {"id", "name", "transport", "command", "args", "url", "env"}
    assert UUIDV7.fullmatch(made["id"])
    assert {name: made[name] for name in body} == body
    assert made["url"] is None
    listed = quiet.get("/api/mcps").json()
    assert isinstance(listed, list)
    assert listed[0] == made


def test_an_http_server_is_added(quiet: Api) -> None:
    headers = {"Authorization": "Bearer ${LINEAR_KEY}"}
    address = "https://mcp.linear.app/mcp"
    made = added(quiet, transport="http", url=address, command=None, headers=headers, **FOR_NOBODY)
    assert (made["transport"], made["url"], made["command"]) == ("http", address, None)
    assert (made["args"], made["env"], made["headers"]) == ([], {}, headers)


def test_a_server_is_for_teams_with_rules_about_its_tools(quiet: Api) -> None:
    rules = {"allow": ["read_*"], "ask": ["write"], "deny": ["delete_*"]}
    made = added(quiet, enabled_for="teams", teams=["red"], **rules)
    assert {name: made[name] for name in rules} == rules
    assert (made["enabled_for"], made["teams"], made["agents"]) == ("teams", ["red"], [])
    assert quiet.patch("/api/mcps/:id", made["id"], body={"enabled_for": None}).json()["enabled_for"] == "all"


def test_a_part_of_a_server_is_changed_and_what_was_answered_may_be_sent_back(quiet: Api) -> None:
    made = added(quiet, env={"A": "1"})
    changed = quiet.patch("/api/mcps/:id", made["id"], body={"args": ["-v"]})
    assert changed.status_code == 200
    assert changed.json() == {**made, "args": ["-v"]}
    assert quiet.patch("/api/mcps/:id", made["id"], body={**changed.json(), "env": None}).json()["env"] == {}
    assert quiet.patch("/api/mcps/:id", made["id"], body={}).json() == {**made, "args": ["-v"], "env": {}}


def test_a_server_is_tested_and_its_health_kept(quiet: Api, key_for: Callable[..., Api]) -> None:
    made = added(quiet, transport="http", url="http://127.0.0.1:9/mcp", command=None)
    assert made["health"] is None
    answer = quiet.post("/api/mcps/:id/test", made["id"], body={})
    assert answer.status_code == 200
    health = answer.json()
    assert (health["ok"], health["tools"], health["machine"]) == (False, [], "the platform")
    assert health["error"]
    assert quiet.get("/api/mcps").json()[0]["health"] == health
    assert quiet.post("/api/mcps/:id/test", made["id"], body={"runner": 1}).status_code == 400
    assert quiet.post("/api/mcps/:id/test", UNKNOWN, body={}).status_code == 404
    assert key_for("mcps:read").post("/api/mcps/:id/test", made["id"], body={}).status_code == 403


def test_what_a_run_on_a_machine_says_of_a_server_is_shown_with_it(hand_server: Server) -> None:
    with hand_server.api() as api:
        name = f"by-hand-{uuid.uuid4().hex[:8]}"
        hand = ByHand(api, name)
        hand.register()
        fine, broken = added(api), added(api)
        assert (fine["status"], fine["uses"]) == ("unknown", [])
        run = launched(api, prompt="do it", cwd=hand.root)
        found = [{"name": fine["name"], "status": "connected"}, {"name": broken["name"], "status": "failed"}]
        begun = {"session_id": "s", "mcp_servers": [*found, {"name": "else", "status": "connected"}]}
        assert hand.send(hand.claim(), (1, "run.started", {"pid": 1}), (2, "session.init", begun)) == (200, {"n": 2})
        shown = {one["name"]: one for one in api.get("/api/mcps").json()}
        for server, status in ((fine, "ok"), (broken, "failing")):
            (use,) = shown[server["name"]]["uses"]
            assert (use["ok"], use["machine"], use["run_id"]) == (status == "ok", name, run["id"])
            assert shown[server["name"]]["status"] == status
            api.delete("/api/mcps/:id", server["id"]).raise_for_status()
        assert "test" in shown[broken["name"]]["uses"][0]["error"]


def test_a_server_is_deleted(quiet: Api) -> None:
    made = added(quiet)
    answer = quiet.delete("/api/mcps/:id", made["id"])
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    assert made["id"] not in [one["id"] for one in quiet.get("/api/mcps").json()]
    assert quiet.delete("/api/mcps/:id", made["id"]).status_code == 404
    for id_ in (UNKNOWN, "nonsense"):
        assert quiet.patch("/api/mcps/:id", id_, body={}).status_code == 404


def test_a_name_is_unique_in_the_org(quiet: Api, quiet_server: Server) -> None:
    first, second = added(quiet), added(quiet)
    body = {"name": first["name"], "transport": "stdio", "command": "c"}
    for taken in (quiet.post("/api/mcps", body=body), quiet.patch("/api/mcps/:id", second["id"], body=body)):
        assert taken.status_code == 409
        assert first["name"] in taken.json()["error"]
    with second_org(quiet_server) as other:
        assert other.post("/api/mcps", body=body).status_code == 201
        assert [one["name"] for one in other.get("/api/mcps").json()] == [first["name"]]
        assert other.patch("/api/mcps/:id", first["id"], body={}).status_code == 404
        assert other.delete("/api/mcps/:id", first["id"]).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"transport": "stdio", "command": "c"}, "name"),
        ({"name": "a b", "transport": "stdio", "command": "c"}, "name"),
        ({"name": "n\n", "transport": "stdio", "command": "c"}, "name"),
        ({"name": "n" * 65, "transport": "stdio", "command": "c"}, "name"),
        ({"name": "corral", "transport": "stdio", "command": "c"}, "name"),
        ({"name": "n", "command": "c"}, "transport"),
        ({"name": "n", "transport": "sse", "url": "https://host"}, "transport"),
        ({"name": "n", "transport": "stdio"}, "command"),
        ({"name": "n", "transport": "http"}, "url"),
        ({"name": "n", "transport": "http", "url": "host/mcp"}, "url"),
        ({"name": "n", "transport": "stdio", "command": "c", "args": "-v"}, "args"),
        ({"name": "n", "transport": "stdio", "command": "c", "args": [1]}, "args"),
        ({"name": "n", "transport": "stdio", "command": "c", "env": {"A": 1}}, "env.A"),
        ({"name": "n", "transport": "stdio", "command": "c", "env": {"A-B": "c"}}, "env.A-B"),
        ({"name": "n", "transport": "stdio", "command": "c", "color": "red"}, "color"),
        ({"name": "n", "transport": "stdio", "command": "c", "enabled_for": "nobody"}, "enabled_for"),
        ({"name": "n", "transport": "stdio", "command": "c", "enabled_for": "agents"}, "agents"),
        ({"name": "n", "transport": "stdio", "command": "c", "agents": [UNKNOWN]}, "agents"),
        ({"name": "n", "transport": "stdio", "command": "c", "deny": "all"}, "deny"),
    ],
)
def test_a_bad_server_is_refused_by_field(quiet: Api, body: JSON, field: str) -> None:
    answer = quiet.post("/api/mcps", body=body)
    assert answer.status_code == 400, answer.text
    assert field in answer.json()["error"]


def test_the_list_is_newest_first_with_limit_and_before(quiet: Api) -> None:
    made = [added(quiet)["id"] for _ in range(3)]
    page = quiet.get("/api/mcps", query={"limit": 2, "before": made[2]})
    assert [one["id"] for one in page.json()] == [made[1], made[0]]
    assert quiet.get("/api/mcps", query={"before": UNKNOWN}).status_code == 400


def test_a_repeat_with_an_idempotency_key_adds_one_server(quiet: Api) -> None:
    body = {"name": fresh(), "transport": "stdio", "command": "c"}
    answers = [quiet.post("/api/mcps", body=body, headers={"Idempotency-Key": body["name"]}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()


def test_seeing_and_changing_are_two_scopes(key_for: Callable[..., Api]) -> None:
    reader, writer = key_for("mcps:read"), key_for("mcps:write")
    made = added(writer)
    assert made["id"] in [one["id"] for one in reader.get("/api/mcps").json()]
    for refused in (
        reader.post("/api/mcps", body={}),
        reader.patch("/api/mcps/:id", made["id"], body={}),
        reader.delete("/api/mcps/:id", made["id"]),
        writer.get("/api/mcps"),
    ):
        assert refused.status_code == 403
        assert "mcps:" in refused.json()["error"]
