"""Secrets of agents, and whom the web lets near them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corral.agents import roster
from corral.base.ids import new_id
from corral.platform import keys
from corral.platform.access import Role
from corral.platform.database import commit, sql
from corral.secrets import keyring, vault
from tests.support.http import Api
from tests.web.conftest import Running

ORG = 1
BY = "run:0190f0f0-0000-7000-8000-00000000000c"


@pytest.fixture
def agent(running: Running) -> str:
    return an_agent(running)


def an_agent(running: Running) -> str:
    words = {"name": "Ann", "role": "tests", "glyph": "🐎", "model": "m", "provider": "anthropic"}
    fields = {**words, "allowed_tools": "", "provider_config": {}}
    return str(running.do(roster.create(ORG, new_id(), fields)).id)


@pytest.fixture(params=[Role.MEMBER, Role.VIEWER])
def lesser(running: Running, request: pytest.FixtureRequest) -> Iterator[Api]:
    """Somebody with all that a role below admin may do."""

    async def make() -> str:
        token, user = keys.PREFIX + new_id(), new_id()

        def unit() -> Any:
            yield sql(
                "INSERT INTO users (id, org_id, name, role, created_at) VALUES ($1, 1, 'n', $2, 0)",
                user,
                request.param.value,
            )
            yield from keys.insert(ORG, name="k", scopes="*", user_id=user, token=token)

        await commit(unit())
        return token

    with running.api(running.do(make())) as caller:
        yield caller


def test_an_agents_own_secret_is_its_own_and_wins(running: Running, full: Api, agent: str) -> None:
    assert full.post("/api/secrets", body={"key": "A", "value": "org"}).status_code == 200
    own = {"key": "A", "value": "its very own", "scope": "agent", "agentId": agent}
    assert full.post("/api/secrets", body=own).json() == {"ok": True}
    assert running.do(vault.resolve(ORG, agent, BY))["A"] == "its very own"
    assert running.do(vault.resolve(ORG, None, BY))["A"] == "org"

    (entry,) = full.get("/api/secrets", query={"scope": "agent", "agent": agent}).json()
    assert (entry["key"], entry["scope"], entry["agentId"]) == ("A", "agent", agent)
    assert full.get("/api/secrets", query={"agent": agent}).json() == [entry]
    assert entry in full.get("/api/secrets", query={"scope": "agent"}).json()
    assert [one["scope"] for one in full.get("/api/secrets").json() if one["key"] == "A"] == ["org"]

    assert full.delete("/api/secrets", query={"key": "A", "agent_id": agent}).json() == {"ok": True}
    assert running.do(vault.resolve(ORG, agent, BY))["A"] == "org"


def test_a_secret_for_an_agent_is_never_the_orgs_by_mistake(running: Running, full: Api, agent: str) -> None:
    assert full.post("/api/secrets", body={"key": "ONLY_ANNS", "value": "v", "agentId": agent}).status_code == 200
    assert "ONLY_ANNS" not in running.do(vault.resolve(ORG, None, BY))


def test_the_list_of_all_agents_secrets_leads_on_where_names_repeat(full: Api, agent: str, running: Running) -> None:
    bob = an_agent(running)
    for one in (agent, bob):
        for key in ("SAME_1", "SAME_2"):
            full.post("/api/secrets", body={"key": key, "value": "v", "agentId": one})
    seen: list[tuple[str, str]] = []
    path = "/api/secrets?scope=agent&limit=1"
    for _ in range(4):
        answer = full.call("GET", path)
        seen += [(one["agentId"], one["key"]) for one in answer.json()]
        path = answer.headers["Link"].partition(">")[0].lstrip("<") if "Link" in answer.headers else path
    assert seen == [(bob, "SAME_2"), (bob, "SAME_1"), (agent, "SAME_2"), (agent, "SAME_1")]


def test_who_is_no_admin_sees_names_and_changes_nothing(full: Api, lesser: Api) -> None:
    full.post("/api/secrets", body={"key": "SEEN", "value": "v"})
    assert "SEEN" in [one["key"] for one in lesser.get("/api/secrets").json()]
    for answer in (
        lesser.post("/api/secrets", body={"key": "B", "value": "v"}),
        lesser.delete("/api/secrets", query={"key": "SEEN"}),
    ):
        assert answer.status_code == 403
        assert "This needs the role admin" in answer.json()["error"]


def test_another_master_key_is_told_to_who_asks(running: Running, full: Api, tmp_path: Path) -> None:
    full.post("/api/secrets", body={"key": "LOCKED", "value": "v"})
    before = keyring._ring
    try:
        keyring.use(dataclasses.replace(running.server.settings, data=tmp_path, secret_key="AQEB" * 10 + "AQE="))
        answer = full.post("/api/secrets", body={"key": "LOCKED", "value": "w"})
    finally:
        keyring._ring = before
    assert answer.status_code == 409
    assert "CORRAL_SECRET_KEY" in answer.json()["error"]
    assert running.do(vault.resolve(ORG, None, BY))["LOCKED"] == "v"
