"""A hard budget starts no more than it has money for."""

from __future__ import annotations

import asyncio

from corral.platform import database
from corral.runs import admission, queue
from corral.usage import budgets
from corral.wire.events import EventType
from tests.agents.money import (
    CENT,
    DOLLAR,
    budget,
    raised,
    spends,
    stand,
    started,
    tick,
    why,
)
from tests.agents.office import Office


async def test_ten_runs_started_together_do_not_all_fit_under_the_last_dollar(office: Office) -> None:
    """Each is lent a tenth of the budget at first, of which four tenths are left."""
    ada = await office.agent()
    mine = await budget(office, DOLLAR)
    first = await office.at_work(ada)
    await spends(first, 6 * 10 * CENT)
    await first.ends()
    runs = await asyncio.gather(*(office.launch(f"run {n}") for n in range(10)))
    held = sorted((run for run in runs if run.hold is not None), key=lambda run: run.no)
    assert len(held) == 6
    kept = "budget B: what is left of its $1.00 in all is kept for runs under way"
    assert {await why(office, run) for run in held} == {kept}
    assert await stand(office, mine) == (60 * CENT, 40 * CENT, 6, 0)
    works = await started(office, 4)
    await tick()
    assert await office.claim() == []
    await spends(works[0], CENT)
    await works[0].ends()  # gives nine cents back, which is not enough for another one
    await tick()
    assert await office.claim() == []
    await works[1].ends()
    await tick()
    again = await started(office, 1)
    assert again[0].run_id == held[0].id  # the oldest
    await raised(office, mine, 10 * DOLLAR)
    rest = await started(office, 5)
    assert {work.run_id for work in [*works, *again, *rest]} == {run.id for run in runs}
    assert await stand(office, mine) == (61 * CENT, await reserved(office), 0, 0)


async def reserved(office: Office) -> int:
    books = await database.commit(admission.read(office.org_id, [], 0))
    return sum(kept.reserved for kept in books.kept)


async def test_an_agents_run_waits_for_money_and_says_so_on_its_task(office: Office) -> None:
    ada, bob = await office.agent("Ada", team="Core"), await office.agent("Bob", team="Edge")
    mine = await budget(office, 10 * CENT, "team", "Core", name="Core's")
    work = await office.at_work(ada)
    await spends(work, 10 * CENT)
    await work.ends()
    held = await office.started(ada, "more")
    assert await office.why(held) == "budget Core's: all of its $0.10 in all is spent"
    other = await office.started(bob, "his")
    assert [work.assignment.prompt for work in await office.claim()] == ["his"]
    assert (await office.run_of(other)).hold is None
    await tick()
    assert await office.claim() == []
    await raised(office, mine, 20 * CENT)
    assert [work.assignment.prompt for work in await office.claim()] == ["more"]


async def test_the_agents_next_run_is_not_held_up_by_one_that_waits_for_money(office: Office) -> None:
    ada = await office.agent()
    first = await office.task(ada, "first")
    mine = await budget(office, 10 * CENT, "task", first.id)
    await office.begin(first.id)
    work = await office.work()
    await spends(work, 11 * CENT)
    await work.fails()
    await office.begin(first.id)
    assert await office.why(first) == "budget B: all of its $0.10 in all is spent"
    second = await office.at_work(ada, "second")
    await raised(office, mine, DOLLAR)
    assert await office.why(first) == "agent Ada is busy"
    await second.ends()
    assert [work.assignment.prompt for work in await office.claim()] == ["first"]


async def test_every_budget_over_a_run_must_have_room(office: Office) -> None:
    ada = await office.agent(team="Core")
    task = await office.task(ada)
    wide = 100 * DOLLAR
    over = {
        scope: await budget(office, wide, scope, target, name=scope)
        for scope, target in (("org", ""), ("team", "Core"), ("agent", ada.id), ("task", task.id))
    }
    for scope, one in over.items():
        await budgets.update(office.org_id, one.id, {"limit_micros": CENT})
        await office.begin(task.id)
        work_or_none = await office.claim()
        if work_or_none:  # the first slice is a cent
            (work,) = work_or_none
            assert work.assignment.money is not None
            assert work.assignment.money.allowed_micros == CENT
            await work.say(EventType.RUN_STARTED)
            await spends(work, CENT)
            await work.fails()
            await office.begin(task.id)
        assert await office.why(task) == f"budget {scope}: all of its $0.01 in all is spent"
        await budgets.update(office.org_id, one.id, {"limit_micros": wide})
        await tick()
        (work,) = await office.claim()
        await work.say(EventType.RUN_STARTED)
        await work.fails()


async def test_a_keys_budget_is_over_its_runs_and_what_they_delegate(office: Office) -> None:
    mine = await budget(office, 10 * CENT, "key", "test")
    run = await office.launch()
    (work,) = await started(office)
    await spends(work, 9 * CENT + 5_000)
    await work.ends()
    why = "budget B: too little is left of its $0.10 in all for a run to go on"  # half a cent
    assert (await office.launch()).hold == why
    child = await queue.follow_up(office.org_id, run.id, "more", "key:test")
    assert (child.hold or "").startswith("budget B")
    other = await queue.follow_up(office.org_id, run.id, "more", "key:other")
    assert other.hold is None
    await budgets.remove(office.org_id, mine.id)
    await tick()
    assert len(await office.claim()) == 3


async def test_a_soft_budget_stops_nothing(office: Office) -> None:
    mine = await budget(office, 10 * CENT, hard=False)
    run = await office.launch()
    (work,) = await started(office)
    assert work.assignment.money is None
    await spends(work, DOLLAR)
    await tick()
    assert (await office.run(run.id)).status == "running"
    assert await office.commands() == []
    assert (await office.launch()).hold is None
    assert await stand(office, mine) == (DOLLAR, 0, 0, 0)
