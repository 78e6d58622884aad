"""What is under way is lent more, stopped or let go on, as its budgets have money."""

from __future__ import annotations

from functools import partial

import pytest

from corral.base.errors import Conflict
from corral.platform import database
from corral.runs import pausing, queue, treasury
from corral.runs.hints import decide
from corral.wire.events import EventType, Usage
from corral.wire.runner import CommandKind
from tests.agents.money import (
    CENT,
    DOLLAR,
    QUESTION,
    budget,
    funds,
    is_paused,
    raised,
    spends,
    stand,
    started,
    statuses,
    tick,
    why,
)
from tests.agents.office import PERSON, Office


async def test_a_run_is_lent_more_as_it_spends_and_never_more_than_there_is(office: Office) -> None:
    mine = await budget(office, 10 * DOLLAR)
    await office.launch()
    (work,) = await started(office)
    assert work.assignment.money is not None
    assert work.assignment.money.allowed_micros == DOLLAR
    allowed = DOLLAR
    total = 0
    while True:
        await spends(work, 40 * CENT)
        total += 40 * CENT
        await tick()
        told = await funds(office, work)
        assert len(told) <= 1
        if told:
            assert told[0] > allowed
            allowed = told[0]
        assert allowed <= 10 * DOLLAR
        spent, kept, *_ = await stand(office, mine)
        assert (spent, kept) == (total, allowed - total)
        if allowed == 10 * DOLLAR:
            break
        assert allowed - total >= 40 * CENT


async def test_what_nobody_could_foresee_is_paused_with_the_last_dollar_and_goes_on_when_it_is_raised(
    office: Office,
) -> None:
    mine = await budget(office, DOLLAR, name="Tight")
    ada = await office.agent()
    task = await office.started(ada)
    (work,) = await started(office)
    await spends(work, 120 * CENT)  # one answer
    await tick()
    assert await stand(office, mine) == (120 * CENT, 0, 0, 0)
    assert await office.commands() == []  # its runner knows by itself
    await is_paused(office, work)
    run = await office.run_of(task)
    assert run.status == "paused"
    assert (await office.look(task)).status == "waiting"
    await tick()
    assert await why(office, run) == "budget Tight: all of its $1.00 in all is spent"
    assert await office.why(task) == "budget Tight: all of its $1.00 in all is spent"
    assert await stand(office, mine) == (120 * CENT, 0, 0, 1)
    assert await office.claim() == []
    await raised(office, mine, 125 * CENT)  # not enough for a slice of it
    assert await why(office, run) == "budget Tight: too little is left of its $1.25 in all for a run to go on"
    await raised(office, mine, 3 * DOLLAR)
    (again,) = await office.claim()
    assert (again.run_id, again.assignment.session_id) == (work.run_id, work.run_id)
    assert again.assignment.money is not None
    assert again.assignment.money.allowed_micros == 75 * CENT  # a quarter, though it has cost more
    await again.say(EventType.RUN_STARTED)
    await again.ends()
    assert (await office.look(task)).status == "done"


async def test_the_runners_own_stop_is_one_of_the_budget(office: Office) -> None:
    """Its purse is empty before a server has looked; there is money left, so the run goes on."""
    await budget(office, 10 * DOLLAR)
    run = await office.launch()
    (work,) = await started(office)
    usage = [Usage("1/x", "m", cost_micros=150 * CENT)]
    told = (EventType.RUN_PAUSED, {"code": "budget", "message": "It has spent what it may"})
    await office.send(work.assignment, work.n + 1, told, usage=usage)
    office.box.held = []
    assert (await office.run(run.id)).status == "paused"
    await tick()
    (again,) = await office.claim()
    assert again.assignment.money is not None
    assert again.assignment.money.allowed_micros == 150 * CENT  # as much as it has cost
    assert await why(office, run) == "claimed by box, starting"


async def test_a_person_who_paused_a_run_is_not_overruled_by_money(office: Office) -> None:
    mine = await budget(office, DOLLAR)
    run = await office.launch()
    (work,) = await started(office)
    await pausing.pause_by(office.org_id, run.id, PERSON)
    await spends(work, 2 * DOLLAR)
    await tick()
    await is_paused(office, work)
    await raised(office, mine, 100 * DOLLAR)
    assert (await office.run(run.id)).status == "paused"
    await pausing.continue_by(office.org_id, run.id, None, PERSON)
    assert len(await office.claim()) == 1


async def test_a_person_may_also_pause_what_a_budget_has_paused_and_money_does_not_let_it_go_on(office: Office) -> None:
    mine = await budget(office, DOLLAR)
    run = await office.launch()
    (work,) = await started(office)
    await spends(work, 2 * DOLLAR)
    await tick()
    await is_paused(office, work)
    await pausing.pause_by(office.org_id, run.id, PERSON)
    assert await why(office, run) == "Paused by a person"
    assert (await stand(office, mine))[3] == 0
    with pytest.raises(Conflict, match="paused already"):
        await pausing.pause_by(office.org_id, run.id, PERSON)
    await raised(office, mine, 100 * DOLLAR)
    assert (await office.run(run.id)).status == "paused"
    await pausing.continue_by(office.org_id, run.id, None, PERSON)
    assert len(await office.claim()) == 1


async def test_what_is_kept_for_a_run_that_is_continued_is_not_forgotten_with_its_end(office: Office) -> None:
    """A server saw its end, and another lets it go on before the first one cleans up."""
    mine = await budget(office, DOLLAR)
    run = await office.launch()
    (work,) = await started(office)
    await spends(work, DOLLAR)
    await work.fails()
    no = (await office.run(run.id)).no
    await pausing.continue_by(office.org_id, run.id, None, PERSON)
    assert await office.claim() == []
    await decide(partial(treasury._forget, [no]))
    await raised(office, mine, 10 * DOLLAR)
    assert len(await office.claim()) == 1


async def test_who_continues_a_run_without_money_sees_it_held(office: Office) -> None:
    mine = await budget(office, DOLLAR)
    run = await office.launch()
    (work,) = await started(office)
    await spends(work, 2 * DOLLAR)
    await tick()
    await is_paused(office, work)
    await pausing.continue_by(office.org_id, run.id, None, PERSON)
    assert await office.claim() == []
    assert await why(office, run) == "budget B: all of its $1.00 in all is spent"
    assert (await office.run(run.id)).status == "queued"
    await raised(office, mine, 100 * DOLLAR)
    assert len(await office.claim()) == 1


async def test_a_run_that_waits_for_a_person_is_left_alone(office: Office) -> None:
    await budget(office, DOLLAR)
    run = await office.launch()
    (work,) = await started(office)
    await spends(work, 2 * DOLLAR, (EventType.PERMISSION_REQUESTED, QUESTION))
    await tick()
    assert (await office.run(run.id)).status == "waiting"
    assert await office.commands() == []


async def test_runs_that_were_under_way_when_a_budget_is_set_are_under_it(office: Office) -> None:
    runs = [await office.launch(f"run {n}") for n in range(3)]
    works = await started(office, 3)
    for work in works:
        assert work.assignment.money is None
        await spends(work, 20 * CENT)
    mine = await budget(office, DOLLAR)
    await tick()
    assert await statuses(office, runs) == ["running"] * 3
    spent, kept, *_ = await stand(office, mine)
    assert spent == 60 * CENT
    assert 0 < kept <= 40 * CENT
    await spends(works[0], 40 * CENT)
    await tick()
    commands = [one for one in await office.commands() if one.kind == CommandKind.PAUSE]
    assert {one.run_id for one in commands} == {run.id for run in runs}


async def test_an_interrupted_run_goes_on_with_what_is_left_of_its_money_or_waits_for_more(office: Office) -> None:
    mine = await budget(office, DOLLAR)
    run = await office.launch()
    (work,) = await started(office)
    await spends(work, 4 * CENT)
    await work.is_cut_off()
    (again,) = await started(office)
    assert again.assignment.money is not None
    assert again.assignment.money.allowed_micros == 10 * CENT
    await spends(again, 99 * CENT)
    await again.is_cut_off()
    assert await office.claim() == []
    assert await why(office, run) == "budget B: all of its $1.00 in all is spent"
    await raised(office, mine, 2 * DOLLAR)
    (last,) = await office.claim()
    assert last.assignment.money is not None
    assert last.assignment.money.allowed_micros == 50 * CENT


async def test_an_assignment_that_was_not_heard_is_offered_with_the_same_money(office: Office) -> None:
    mine = await budget(office, DOLLAR)
    await office.launch()
    (work,) = (await office.box.poll(hold=False)).assignments
    (again,) = (await office.box.poll()).assignments
    assert (again.attempt, again.money) == (work.attempt, work.money)
    assert await stand(office, mine) == (0, 10 * CENT, 0, 0)


async def test_ends_of_every_kind_give_back_what_was_kept(office: Office) -> None:
    mine = await budget(office, 10 * DOLLAR)
    for _ in range(4):
        await office.launch()
    a, b, c, d = await started(office, 4)
    assert (await stand(office, mine))[1] == 4 * DOLLAR
    await a.ends()
    await b.fails()
    await queue.cancel(office.org_id, c.run_id, PERSON)
    await c.is_cancelled()
    await pausing.pause_by(office.org_id, d.run_id, PERSON)
    await is_paused(office, d)
    assert await stand(office, mine) == (0, 0, 0, 0)
    await tick()
    rows = await database.fetch("SELECT run_no FROM reservations")
    assert [row["run_no"] for row in rows] == [(await office.run(d.run_id)).no]


async def test_a_runner_that_does_not_stop_by_itself_is_told_to(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    await budget(office, DOLLAR)
    run = await office.launch()
    (work,) = await started(office)
    await spends(work, 2 * DOLLAR)
    await tick()
    assert await office.commands() == []
    monkeypatch.setattr(treasury, "_GRACE", 0.0)
    await tick()
    await tick()
    (command,) = await office.commands()
    assert (command.kind, command.run_id) == (CommandKind.PAUSE, run.id)
