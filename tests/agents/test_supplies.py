"""Runs that lack a secret wait for it, and say which."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from corral.agents import needs, supplies
from corral.agents.needs import lacked
from corral.agents.unmet import unmet
from corral.base.ids import new_id
from corral.platform import database
from corral.runs import outfit
from corral.secrets import vault
from corral.wire.events import EventType
from tests.agents.office import Office
from tests.agents.test_holds import told

FIELDS = {"name": "github", "transport": "stdio", "command": "c", "env": {"TOKEN": "${GITHUB_TOKEN}"}}


async def test_a_run_whose_secret_is_missing_waits_says_which_and_goes_on_when_it_is_stored(office: Office) -> None:
    await supplies.add_server(office.org_id, new_id(), FIELDS)
    task = await office.started(await office.agent(), "first")
    assert await told(office) == []
    why = await office.why(task)
    assert why == "the secret GITHUB_TOKEN is missing, which MCP server github needs"
    assert (lacked(why), lacked("agent Ada is busy"), lacked(None)) == ("GITHUB_TOKEN", None, None)
    await supplies.put_secret(office.org_id, "GITHUB_TOKEN", "v")
    (work,) = await office.claim()
    assert work.assignment.mcp_servers[0].env == {"TOKEN": "v"}
    (secret,) = await vault.page(office.org_id, scope="org")
    assert secret.last_used_by == f"run:{work.run_id}"


async def test_a_secret_of_one_agent_lets_its_runs_go_and_no_others(office: Office) -> None:
    await supplies.add_server(office.org_id, new_id(), FIELDS)
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    await office.started(ada, "Ada's")
    held = await office.started(bob, "Bob's")
    await supplies.put_secret(office.org_id, "GITHUB_TOKEN", "v", agent_id=ada.id)
    assert await told(office) == ["Ada's"]
    assert "GITHUB_TOKEN" in (await office.why(held) or "")
    (need,) = await unmet(office.org_id)
    assert (need.key, need.server and need.server.name) == ("GITHUB_TOKEN", "github")
    assert [agent.name for agent in need.agents] == ["Bob"]
    await supplies.put_secret(office.org_id, "GITHUB_TOKEN", "v")
    assert await unmet(office.org_id) == []


async def test_a_secret_is_missing_before_there_is_anybody_to_miss_it(office: Office) -> None:
    await supplies.add_server(office.org_id, new_id(), {**FIELDS, "enabled_for": "teams", "teams": ["red"]})
    await office.agent("Ada")
    (need,) = await unmet(office.org_id)
    assert (need.key, need.agents) == ("GITHUB_TOKEN", [])


async def test_a_run_that_is_ready_is_held_when_its_secret_or_its_server_changes(office: Office) -> None:
    server = await supplies.add_server(office.org_id, new_id(), FIELDS)
    await supplies.put_secret(office.org_id, "GITHUB_TOKEN", "v")
    task = await office.started(await office.agent(), "first")
    await supplies.remove_secret(office.org_id, "GITHUB_TOKEN")
    assert await told(office) == []
    await supplies.change_server(office.org_id, server.id, {"env": {"A": "${OTHER} ${MORE}"}})
    assert await office.why(task) == "the secret OTHER is missing, which MCP server github needs (and 1 more)"
    await supplies.remove_server(office.org_id, server.id)
    assert await told(office) == ["first"]


CHANGES: list[dict[str, Any] | None] = [
    {"env": {}},
    {"env": {"TOKEN": "no secret"}},
    {"enabled_for": "teams", "teams": ["red"]},
    None,  # it is removed
]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_run_that_waits_for_a_servers_secret_goes_on_when_it_needs_it_no_more(
    office: Office, change: dict[str, Any] | None
) -> None:
    server = await supplies.add_server(office.org_id, new_id(), FIELDS)
    await office.started(await office.agent(), "first")
    assert await told(office) == []
    if change is None:
        await supplies.remove_server(office.org_id, server.id)
    else:
        await supplies.change_server(office.org_id, server.id, change)
    assert await told(office) == ["first"]


async def test_secrets_stored_while_runs_are_launched_leave_none_waiting(office: Office) -> None:
    await supplies.add_server(office.org_id, new_id(), FIELDS)
    agents = [await office.agent(f"Agent {n}") for n in range(8)]
    starts = [office.started(agent, agent.name) for agent in agents]
    await asyncio.gather(*starts[:4], supplies.put_secret(office.org_id, "GITHUB_TOKEN", "v"), *starts[4:])
    assert len(await told(office)) == 8


async def test_a_run_whose_providers_key_is_missing_waits_says_which_and_goes_on_when_it_is_stored(
    office: Office,
) -> None:
    ada = await office.agent("Ada", provider="openai", model="gpt-5.5", cli_name=None)
    task = await office.started(ada, "first")
    run = await office.run_of(task)
    assert run.hold == "the secret OPENAI_API_KEY is missing, which provider openai needs"
    await supplies.put_secret(office.org_id, "ANTHROPIC_API_KEY", "another's")
    assert (await office.run_of(task)).hold == run.hold
    await supplies.put_secret(office.org_id, "OPENAI_API_KEY", "its own", agent_id=ada.id)
    assert (await office.run_of(task)).hold is None


async def test_where_servers_have_a_key_nobody_has_to_store_one(office: Office) -> None:
    needs.need_no_key(["openai"])
    try:
        ada = await office.agent("Ada", provider="openai", model="gpt-5.5", cli_name=None)
        task = await office.started(ada, "first")
        assert (await office.run_of(task)).hold is None
    finally:
        needs.need_no_key([])


async def test_a_secret_is_given_to_who_holds_the_lease_and_to_nobody_else(office: Office) -> None:
    await supplies.put_secret(office.org_id, "TOKEN", "a value of some length")
    await office.started(await office.agent(), "first")
    (work,) = await office.claim()
    held = work.assignment
    assert held.env == {"TOKEN": "a value of some length"}
    bare = msgspec.structs.replace(held, env={})
    (again,) = await outfit.outfit([msgspec.structs.replace(bare)])
    assert again.env == held.env
    for other in ({"lease": "another"}, {"attempt": 2}):
        assert await outfit.outfit([msgspec.structs.replace(bare, **other)]) == []
    await work.say(EventType.RUN_STARTED)
    await work.ends()
    assert await outfit.outfit([bare]) == []
    assert len(await database.fetch("SELECT 1 FROM secret_uses")) == 2
