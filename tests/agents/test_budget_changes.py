"""A budget that is raised, lowered, deleted or begins anew is obeyed at once, by what runs and by what waits."""

from __future__ import annotations

from corral.agents import board
from corral.platform import database
from corral.runs import queue
from corral.usage import budgets, meter
from corral.wire.events import EventType
from tests.agents.money import (
    CENT,
    DOLLAR,
    budget,
    funds,
    is_paused,
    raised,
    spends,
    stand,
    started,
    tick,
)
from tests.agents.office import PERSON, Office


async def test_a_cancelled_run_that_waited_for_money_is_over(office: Office) -> None:
    ada = await office.agent()
    mine = await budget(office, CENT)
    work = await office.at_work(ada)
    await spends(work, CENT)
    await work.ends()
    first, second = await office.started(ada, "first"), await office.started(ada, "second")
    alone = await office.launch()
    await board.cancel(office.org_id, first.id, PERSON)
    await queue.cancel(office.org_id, alone.id, PERSON)
    await raised(office, mine, DOLLAR)
    assert [one.assignment.prompt for one in await office.claim()] == ["second"]
    assert (await office.look(second)).status == "pending"


async def test_a_budget_that_becomes_soft_or_is_deleted_lets_everything_go(office: Office) -> None:
    for end in ("soft", "deleted"):
        mine = await budget(office, CENT)
        await office.launch()
        (work,) = await started(office)
        await spends(work, CENT)
        await tick()
        await is_paused(office, work)
        held = await office.launch()
        assert held.hold is not None
        if end == "soft":
            await budgets.update(office.org_id, mine.id, {"hard": False})
        else:
            await budgets.remove(office.org_id, mine.id)
        await tick()
        both = await office.claim()
        assert {one.run_id for one in both} == {work.run_id, held.id}
        assert all(one.assignment.money is None for one in both)
        for one in both:
            await one.say(EventType.RUN_STARTED)
            await one.ends()
        if end == "soft":
            await budgets.remove(office.org_id, mine.id)
        await database.fetch("DELETE FROM usage_lines")
        meter.forget()


async def test_a_new_period_lets_everything_go_on(office: Office) -> None:
    await budget(office, CENT, period="day")
    await office.launch()
    (work,) = await started(office)
    await spends(work, CENT)
    await tick()
    await is_paused(office, work)
    await office.launch()
    await database.fetch("UPDATE usage_lines SET created_at = created_at - 86400000, day = day - 1")
    meter.forget()
    await tick()
    assert len(await office.claim()) == 1  # of a cent's budget, one at a time
    await tick()
    assert await office.claim() == []


async def test_until_its_sum_is_made_a_budget_lends_nothing(office: Office) -> None:
    await budget(office, DOLLAR)
    meter.forget()  # a server that has just started
    run = await office.launch()
    assert run.hold == "budget B: what it has spent is being counted"
    await tick()
    assert len(await office.claim()) == 1


async def test_a_budget_that_another_server_deleted_a_moment_ago_stops_nothing(office: Office) -> None:
    mine = await budget(office, DOLLAR)
    await database.fetch("DELETE FROM budgets WHERE no = $1", mine.no)
    assert (await office.launch()).hold is None
    (work,) = await started(office)
    assert work.assignment.money is None


async def test_a_lowered_budget_takes_back_what_it_has_lent(office: Office) -> None:
    mine = await budget(office, 10 * DOLLAR)
    for priority in (0, 1):
        await office.launch(priority=priority)
    other, urgent = await started(office, 2)
    await spends(urgent, 20 * CENT)
    await raised(office, mine, 130 * CENT)
    assert await stand(office, mine) == (20 * CENT, 110 * CENT, 0, 0)
    assert (await funds(office, urgent), await funds(office, other)) == ([], [30 * CENT])
    await raised(office, mine, 40 * CENT)
    assert await stand(office, mine) == (20 * CENT, 20 * CENT, 0, 0)
    assert (await funds(office, urgent), await funds(office, other)) == ([40 * CENT], [0])
    await raised(office, mine, 15 * CENT)
    assert await stand(office, mine) == (20 * CENT, 0, 0, 0)
    assert (await funds(office, urgent), await funds(office, other)) == ([20 * CENT], [])
