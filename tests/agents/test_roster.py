"""Who works here: the org chart, and a status that is true."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from corral.agents import roster
from corral.base.errors import BadRequest, NotFound
from corral.base.ids import new_id
from corral.platform import database
from tests.agents.office import Office


async def manages(office: Office, boss: str | None, agent: str) -> Any:
    return await roster.update(office.org_id, agent, {"manager_id": boss})


async def test_a_manager_who_would_close_a_circle_is_refused(office: Office) -> None:
    top = await office.agent("Top")
    middle = await office.agent("Middle", manager_id=top.id)
    low = await office.agent("Low", manager_id=middle.id)
    for boss, agent in ((low, top), (middle, top), (top, top), (low, middle)):
        with pytest.raises(BadRequest, match="circle") as error:
            await manages(office, boss.id, agent.id)
        assert error.value.field == "manager"
    await manages(office, top.id, low.id)
    await manages(office, low.id, middle.id)


async def test_two_halves_of_a_circle_at_once_leave_no_circle(office: Office) -> None:
    one, two, three = [await office.agent(name) for name in ("One", "Two", "Three")]
    pairs = [(one, two), (two, three), (three, one)]
    done = await asyncio.gather(*(manages(office, boss.id, agent.id) for boss, agent in pairs), return_exceptions=True)
    assert [type(one) for one in done].count(BadRequest) == 1


async def test_a_manager_who_is_archived_or_not_there_is_refused(office: Office) -> None:
    gone = await office.agent("Gone")
    await roster.update(office.org_id, gone.id, {"state": "archived"})
    for boss in (gone.id, new_id(), "nobody"):
        with pytest.raises(BadRequest, match="manager"):
            await office.agent("Ada", manager_id=boss)


async def test_archived_agents_leave_the_list_and_stay_readable(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    await roster.update(office.org_id, ada.id, {"state": "archived"})
    assert [agent.id for agent in await roster.page(office.org_id)] == [bob.id]
    assert (await roster.get(office.org_id, ada.id)).status == "archived"
    with pytest.raises(BadRequest, match="archived"):
        await office.task(ada)


async def test_an_agents_status_follows_its_runs(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    seen = [await office.who(ada)]
    await office.started(ada)
    seen.append(await office.who(ada))
    work = await office.work()
    seen.append(await office.who(ada))
    await work.hands(bob, wait=True)
    seen.append(await office.who(ada))
    await roster.update(office.org_id, ada.id, {"state": "paused"})
    seen.append(await office.who(ada))
    await roster.update(office.org_id, ada.id, {"state": "active"})
    await work.fails()
    seen.append(await office.who(ada))
    assert seen == ["idle", "idle", "working", "waiting", "paused", "idle"]


async def test_an_agent_that_nothing_could_execute_is_refused(office: Office) -> None:
    with pytest.raises(BadRequest, match="provider"):
        await office.agent(cli_name=None, model="m")
    with pytest.raises(BadRequest, match="model"):
        await office.agent(cli_name=None, provider="openai")
    ada = await office.agent(cli_name=None, provider="openai", model="m")
    with pytest.raises(BadRequest, match="model"):
        await roster.update(office.org_id, ada.id, {"model": None})
    await roster.update(office.org_id, ada.id, {"model": None, "cli_name": "claude-code"})


async def test_a_run_keeps_the_agent_it_began_with(office: Office) -> None:
    ada = await office.agent("Ada", instructions="Be brief", model="one")
    task = await office.started(ada)
    await roster.update(office.org_id, ada.id, {"name": "Eve", "instructions": "Be long", "model": "two"})
    work = await office.work()
    assert work.assignment.agent is not None
    assert (work.assignment.agent.name, work.assignment.model) == ("Ada", "one")
    assert work.assignment.system_prompt is not None
    assert work.assignment.system_prompt.startswith("Be brief")
    await work.ends()
    await office.started(ada)
    later = await office.work()
    assert later.assignment.agent is not None
    assert (later.assignment.agent.name, later.assignment.model) == ("Eve", "two")
    assert (await office.look(task)).status == "done"


async def test_names_may_repeat_and_an_ambiguous_one_lists_the_ids(office: Office) -> None:
    ada, one = await office.agent("Ada"), await office.agent("Bob", team="red")
    two = await office.agent("Bob", team="blue")
    work = await office.at_work(ada)
    answer = await work.hands("Bob")
    assert answer.is_error
    assert all(word in answer.text for word in (one.id, "red", two.id, "blue"))
    unknown = await work.hands("Zoe")
    assert unknown.is_error
    assert "there are Ada, Bob, Bob" in unknown.text
    await roster.update(office.org_id, two.id, {"state": "archived"})
    assert not (await work.hands("Bob")).is_error
    assert await database.fetch("SELECT 1 FROM tasks WHERE assignee_id = $1", one.id)


async def test_an_agent_of_another_org_is_not_there(office: Office) -> None:
    rows = await database.fetch("INSERT INTO orgs (name, created_at) VALUES ('Other', 0) RETURNING id")
    ada = await office.agent("Ada")
    for work in (roster.get(rows[0]["id"], ada.id), roster.update(rows[0]["id"], ada.id, {"name": "Eve"})):
        with pytest.raises(NotFound):
            await work
    assert await roster.page(rows[0]["id"]) == []
