"""The Fleetrun reference: agents, which the Abbado reference shares."""

from __future__ import annotations

import pytest

from tests.contract.fleetrun import AGENT_FIELDS, CREATE_AGENT, UNKNOWN, Field, agent, refused, table
from tests.contract.reference import RFC3339, UUIDV7
from tests.support.http import JSON, Api


def test_an_agent_is_made_from_the_fields_of_the_reference(quiet: Api) -> None:
    made = agent(quiet, team="Core")
    assert set(made) >= AGENT_FIELDS
    assert UUIDV7.fullmatch(made["id"])
    assert RFC3339.fullmatch(made["created_at"])
    wanted = {
        "name": "Ada",
        "role": "You write code.",
        "model": "claude-sonnet-4-5",
        "provider": "anthropic",
        "glyph": "🦊",
        "team": "Core",
        "manager": None,
        "status": "idle",
    }
    assert {name: made[name] for name in wanted} == wanted
    assert (made["cli_name"], made["project_id"]) == (None, None)
    assert quiet.get("/api/agents/:id", made["id"]).json() == made
    assert quiet.get("/api/agents").json()[0] == made


@pytest.mark.parametrize("field", table(CREATE_AGENT), ids=lambda field: field.name)
def test_each_field_of_an_agent_is_required_or_not_as_the_reference_says(quiet: Api, field: Field) -> None:
    whole = {"name": "Ada", "role": "r", "model": "m", "provider": "openai", "glyph": "x", "manager": None, "team": "t"}
    answer = quiet.post("/api/agents", body={name: value for name, value in whole.items() if name != field.name})
    if field.required:
        refused(answer, 400, field.name)
    else:
        assert answer.status_code == 201, answer.text
    bad: object
    for bad in ("", 7, {}, "x" * 300_000):
        refused(quiet.post("/api/agents", body={**whole, field.name: bad}), 400, field.name)
    for choice in field.choices:
        assert quiet.post("/api/agents", body={**whole, field.name: choice}).status_code == 201
    if field.choices:
        refused(quiet.post("/api/agents", body={**whole, field.name: "other"}), 400, field.name, *field.choices)


def test_agents_are_a_bare_array_newest_first_and_paged(quiet: Api) -> None:
    ids = [agent(quiet)["id"] for _ in range(3)]
    answer = quiet.get("/api/agents", query={"limit": 2})
    assert [one["id"] for one in answer.json()] == ids[:0:-1]
    assert f"before={ids[1]}" in answer.headers["Link"]
    assert quiet.get("/api/agents", query={"before": ids[1], "limit": 1}).json()[0]["id"] == ids[0]
    refused(quiet.get("/api/agents", query={"before": UNKNOWN}), 400, "before")


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Eve", "role": "You review.", "model": "m", "provider": "openrouter", "glyph": "🐙", "team": None},
        {"status": "paused"},
        {"instructions": "Be brief.", "maxTurns": 7},
        {"allowed_tools": "Read", "provider_config": {"cwd": "/x", "labels": ["gpu"], "own": {"camelCase": [1]}}},
        {"autostart": True},
    ],
)
def test_agents_are_changed_by_patch_and_by_put(quiet: Api, change: JSON) -> None:
    made = agent(quiet)
    wanted = {"max_turns" if name == "maxTurns" else name: value for name, value in change.items()}
    by_patch = quiet.patch("/api/agents/:id", made["id"], body=change)
    by_put = quiet.put("/api/agents/:id", made["id"], body=change)
    for answer in (by_patch, by_put):
        assert answer.status_code == 200, answer.text
        assert {name: answer.json()[name] for name in wanted} == wanted
    kept = quiet.get("/api/agents/:id", made["id"]).json()
    assert {**made, **wanted, "updated_at": kept["updated_at"]} == kept


def test_an_agent_sent_back_whole_changes_nothing(quiet: Api) -> None:
    made = agent(quiet)
    back = quiet.patch("/api/agents/:id", made["id"], body=made)
    assert back.status_code == 200, back.text
    assert {**back.json(), "updated_at": made["updated_at"]} == made
    assert quiet.post("/api/agents", body=made).json()["id"] != made["id"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"status": "working"}, ["status", "idle, paused, archived"]),
        ({"status": "waiting"}, ["status"]),
        ({"name": None}, ["name"]),
        ({"name": " "}, ["name"]),
        ({"model": None}, ["model"]),
        ({"provider": None}, ["provider"]),
        ({"colour": "red"}, ["colour"]),
        ({"manager": UNKNOWN}, ["manager"]),
        ({"manager": "Ada"}, ["manager"]),
        ({"cli_name": "vim"}, ["cli_name", "claude-code, codex, openclaw"]),
        ({"project_id": "mine"}, ["project_id"]),
        ({"max_turns": 0}, ["max_turns"]),
        ({"provider_config": {"cwd": "code"}}, ["provider_config.cwd", "absolute"]),
        ({"provider_config": {"cwd": 7}}, ["provider_config.cwd"]),
        ({"provider_config": {"permission_mode": "yolo"}}, ["provider_config.permission_mode", "acceptEdits"]),
        ({"provider_config": {"runner": {}}}, ["provider_config.runner"]),
        ({"provider_config": {"labels": "gpu"}}, ["provider_config.labels"]),
        ({"provider_config": {"labels": ["", "gpu"]}}, ["provider_config.labels[0]"]),
        ({"provider_config": []}, ["provider_config"]),
    ],
    ids=str,
)
def test_a_change_that_makes_no_sense_is_refused_by_field(quiet: Api, change: JSON, words: list[str]) -> None:
    refused(quiet.patch("/api/agents/:id", agent(quiet)["id"], body=change), 400, *words)


def test_a_circle_in_the_org_chart_and_an_archived_manager_are_refused(quiet: Api) -> None:
    top = agent(quiet)
    low = agent(quiet, manager=agent(quiet, manager=top["id"])["id"])
    for boss in (low, top):
        refused(quiet.patch("/api/agents/:id", top["id"], body={"manager": boss["id"]}), 400, "manager", "circle")
    quiet.delete("/api/agents/:id", low["id"])
    refused(quiet.patch("/api/agents/:id", top["id"], body={"manager": low["id"]}), 400, "manager", "archived")


def test_an_archived_agent_leaves_the_list_stays_readable_and_comes_back(quiet: Api) -> None:
    made = agent(quiet)
    for _ in range(2):
        answer = quiet.delete("/api/agents/:id", made["id"])
        assert (answer.status_code, answer.json()) == (200, {"ok": True})
    assert made["id"] not in [one["id"] for one in quiet.get("/api/agents").json()]
    assert quiet.get("/api/agents/:id", made["id"]).json()["status"] == "archived"
    refused(quiet.post("/api/tasks", body={"title": "t", "input": "i", "assignee": made["id"]}), 400, "assignee")
    quiet.patch("/api/agents/:id", made["id"], body={"status": "idle"})
    assert quiet.get("/api/agents").json()[0]["id"] == made["id"]


@pytest.mark.parametrize("id_", [UNKNOWN, "nonsense"])
def test_an_agent_that_is_not_there_is_not_found(quiet: Api, id_: str) -> None:
    for verb in ("GET", "PATCH", "PUT", "DELETE"):
        refused(quiet.call(verb, "/api/agents/:id", id_), 404)


#: Of the Abbado reference, which shares this resource.
ABBADO_AGENT = """{
"project_id": "uuid",
"name": "Feature Builder",
"cli_name": "claude-code",
"model": "claude-sonnet-4-6",
"instructions": "You are a senior developer...",
"allowed_tools": "Read,Edit,Write,Bash,Glob,Grep",
"max_turns": 100,
"provider_config": {},
"role": "builder"
}"""
ABBADO_CHANGE = """{
"name": "Renamed Agent",
"max_turns": 50
}"""
ABBADO_DEFAULTS = {
    "cli_name": "claude-code",
    "allowed_tools": "Read,Edit,Write,Bash,Glob,Grep",
    "max_turns": 100,
    "provider_config": {},
    "role": "builder",
}


def test_the_other_references_agent_is_made_changed_and_deleted_as_there(quiet: Api) -> None:
    made = quiet.post("/api/agents", raw=ABBADO_AGENT.replace('"uuid"', f'"{UNKNOWN}"'))
    assert made.status_code == 201, made.text
    assert (made.json()["project_id"], made.json()["name"]) == (UNKNOWN, "Feature Builder")
    assert set(made.json()) >= AGENT_FIELDS
    changed = quiet.put("/api/agents/:id", made.json()["id"], raw=ABBADO_CHANGE)
    assert (changed.status_code, changed.json()["name"], changed.json()["max_turns"]) == (200, "Renamed Agent", 50)
    deleted = quiet.delete("/api/agents/:id", made.json()["id"])
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert quiet.get("/api/agents/:id", made.json()["id"]).json()["status"] == "archived"


def test_with_a_project_all_but_the_name_has_defaults(quiet: Api) -> None:
    made = quiet.post("/api/agents", body={"project_id": UNKNOWN, "name": "Feature Builder"})
    assert made.status_code == 201, made.text
    assert {name: made.json()[name] for name in ABBADO_DEFAULTS} == ABBADO_DEFAULTS
    assert made.json()["model"] is None
    refused(quiet.post("/api/agents", body={"project_id": UNKNOWN}), 400, "name")
    refused(quiet.post("/api/agents", body={"project_id": "mine", "name": "x"}), 400, "project_id")
