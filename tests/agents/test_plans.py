"""A plan's limits: the last place is taken once, what agents were given waits for one, and what is off is refused."""

from __future__ import annotations

import asyncio

import pytest

from corral.agents import roster
from corral.base.errors import Forbidden
from corral.base.ids import new_id
from corral.platform import plans
from corral.platform.database import fetch
from corral.platform.plans import Plan, Plans
from corral.runs import pausing, places, queue, runners
from corral.runs.models import Run
from corral.runs.queue import Launch
from corral.runs.releasing import Release
from corral.wire.events import EventType
from corral.wire.runner import Cli, Register
from corral.wire.runs import Engine
from tests.agents.office import PERSON, Office

WHY = "plan small: it allows 2 runs at a time (concurrent_runs), and so many are under way"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"agents": 3, "runners": 2, "concurrent_runs": 2}
    plan = Plan("small", limits, {"delegation": False})
    monkeypatch.setattr(plans, "_plans", Plans({"small": plan, "large": Plan("large")}, plan))


async def tick() -> None:
    """What every server does each second, on two of them at once."""
    await asyncio.gather(Release().run_once(0), Release().run_once(0))


def launch(office: Office, **fields: object) -> Launch:
    return Launch(prompt="p", cwd="/code", created_by=PERSON, **fields)  # type: ignore[arg-type] # any of its fields


def card(name: str, uid: str | None = None) -> Register:
    return Register(
        uid=uid or new_id(), name=name, os="linux", arch="amd64", version="1", allowed_dirs=["/code"],
        max_pods=1, clis=[Cli(Engine.CLAUDE_CODE, "1", signed_in=True)],
    )  # fmt: skip


async def some(*work: object) -> list[object]:
    return list(await asyncio.gather(*work, return_exceptions=True))  # type: ignore[call-overload] # of awaitables


async def test_of_ten_agents_made_at_once_three_are_made(office: Office) -> None:
    found = await some(*(office.agent(f"a{n}") for n in range(10)))
    refused = [one for one in found if isinstance(one, Forbidden)]
    assert len(refused) == 7
    assert {one.message for one in refused} == {"Your plan, small, allows 3 agents (agents), and you have reached that"}
    there = await roster.page(office.org_id)
    assert len(there) == 3
    await roster.update(office.org_id, there[0].id, {"state": "paused"})  # what is there may change
    await roster.update(office.org_id, there[0].id, {"state": "archived"})  # makes room
    await office.agent("another")
    with pytest.raises(Forbidden):
        await roster.update(office.org_id, there[0].id, {"state": "active"})


async def test_an_agent_that_is_archived_while_it_is_resumed_asks_for_its_place_again(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *_ = [await office.agent(f"a{n}") for n in range(3)]
    get = roster.get

    async def lost_its_place(org_id: int, agent_id: str) -> roster.Agent:
        found = await get(org_id, agent_id)
        monkeypatch.setattr(roster, "get", get)
        await roster.update(office.org_id, first.id, {"state": "archived"})
        await office.agent("another")
        return found

    monkeypatch.setattr(roster, "get", lost_its_place)
    with pytest.raises(Forbidden, match="allows 3 agents"):
        await roster.update(office.org_id, first.id, {"state": "active"})


async def test_the_last_place_for_a_runner_is_given_once_and_one_that_is_known_comes_back(office: Office) -> None:
    known = card("known")  # the office's own is the first
    others = (runners.register(office.org_id, card(f"r{n}")) for n in range(5))
    found = await some(runners.register(office.org_id, known), *others)
    assert len([one for one in found if isinstance(one, Forbidden)]) == 5
    back = next(one for one in await runners.page(office.org_id))
    await runners.register(office.org_id, card(back.name, back.uid))


async def test_a_machine_that_was_silent_for_a_day_polls_again_if_there_still_is_a_place(office: Office) -> None:
    async def silent(number: int) -> None:
        await fetch("UPDATE runners SET seen_at = seen_at - 86400001 WHERE number = $1", number)

    await silent(office.box.id)
    await office.box.poll()
    assert (await runners.get(office.org_id, office.box.id)).online
    await silent(office.box.id)
    others = [await runners.register(office.org_id, card(f"r{n}")) for n in range(2)]
    for _ in range(2):
        with pytest.raises(Forbidden, match="allows 2 runners"):
            await office.box.poll()
    assert not (await runners.get(office.org_id, office.box.id)).online
    await silent(others[0].id)
    await office.box.poll()
    assert (await runners.get(office.org_id, office.box.id)).online


async def test_who_launches_beyond_the_plan_is_refused_and_nothing_is_left_of_it(office: Office) -> None:
    found = await some(*(queue.launch(office.org_id, launch(office)) for _ in range(6)))
    made = [one for one in found if isinstance(one, Run)]
    refused = [one for one in found if isinstance(one, Forbidden)]
    assert (len(made), len(refused)) == (2, 4)
    assert "allows 2 runs at a time (concurrent_runs)" in refused[0].message
    assert (await queue.launch(office.org_id, launch(office, id=made[0].id))).id == made[0].id  # a repeat is no launch
    await queue.cancel(office.org_id, made[0].id, PERSON)
    await queue.launch(office.org_id, launch(office))


async def test_what_agents_were_given_waits_for_a_place_and_goes_on_when_there_is_one(office: Office) -> None:
    agents = [await office.agent(f"a{n}") for n in range(3)]
    tasks = [await office.started(agent) for agent in agents]
    await tick()
    assert await office.why(tasks[2]) == WHY
    first, second = await office.claim()
    await tick()
    assert await office.claim() == []
    await first.say(EventType.RUN_STARTED)
    await second.say(EventType.RUN_STARTED)
    await first.ends()
    assert await office.claim() == []
    await tick()
    assert len(await office.claim()) == 1


async def test_a_run_that_is_continued_needs_a_place(office: Office) -> None:
    paused = await queue.launch(office.org_id, launch(office))
    (work,) = await office.claim()
    await work.say(EventType.RUN_STARTED)
    await pausing.pause_by(office.org_id, paused.id, PERSON)
    await work._let_go((EventType.RUN_PAUSED, {}))
    assert (await office.run(paused.id)).status == "paused"
    others = [await queue.launch(office.org_id, launch(office)) for _ in range(2)]
    with pytest.raises(Forbidden, match="concurrent_runs"):
        await pausing.continue_by(office.org_id, paused.id, None, PERSON)
    await queue.cancel(office.org_id, others[0].id, PERSON)
    await pausing.continue_by(office.org_id, paused.id, None, PERSON)
    assert (await office.run(paused.id)).status == "queued"


async def test_what_waits_for_a_place_goes_on_under_a_plan_that_limits_nothing(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents = [await office.agent(f"a{n}") for n in range(3)]
    tasks = [await office.started(agent) for agent in agents]
    assert await office.why(tasks[2]) == WHY
    await plans.set_plan(office.org_id, "large")
    await tick()
    assert not places.is_held(await office.why(tasks[2]))
    await plans.set_plan(office.org_id, None)
    fourth = await office.started(agents[0], "more")  # its agent is busy, which comes first
    assert not places.is_held(await office.why(fourth))
    monkeypatch.setattr(plans, "_plans", Plans({"self-hosted": Plan("self-hosted")}, Plan("self-hosted")))
    release = Release()
    await release.run_once(0)  # once more after a start, whatever the plans are now
    assert release._is_clear


async def test_an_agent_is_told_that_the_plan_lacks_delegation(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada)
    answer = await work.hands(bob)
    assert answer.is_error
    assert answer.text == "Refused (plan): Your plan, small, does not include delegation between agents (delegation)"
