"""A hard budget starts no more than it has money for, stops what has none left, and lets all of it go on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
import pytest

from corral.agents import board
from corral.agents.roster import Agent
from corral.base.errors import Conflict
from corral.base.ids import new_id
from corral.platform import database
from corral.runs import admission, pausing, queue, reads, treasury
from corral.runs.hints import decide
from corral.runs.models import Run
from corral.usage import budgets, meter
from corral.usage.budgets import Budget
from corral.wire.events import Drafts, EventType, Usage
from corral.wire.runner import CommandKind, Fund
from tests.agents.office import PERSON, Office, Work

DOLLAR = 1_000_000
CENT = 10_000
QUESTION = {"request_id": "r", "kind": "tool", "tool": "Bash", "input": {}, "cwd": "/code", "description": "d"}


async def budget(office: Office, limit: int, scope: str = "org", target: str = "", **fields: Any) -> Budget:
    values = {"name": "B", "limit_micros": limit, "period": "total", "tz": "UTC", "hard": True, **fields}
    made = await budgets.create(office.org_id, new_id(), PERSON, {"scope": scope, "target": target, **values})
    await meter.count(office.org_id)
    return made


async def raised(office: Office, some: Budget, limit: int) -> None:
    await budgets.update(office.org_id, some.id, {"limit_micros": limit})
    await tick()


async def tick() -> None:
    """What every server does each second, on two of them at once."""
    await asyncio.gather(treasury.run_once(0), treasury.run_once(0))


async def stand(office: Office, some: Budget) -> tuple[int, int, int, int]:
    """What is spent, reserved, held and paused."""
    (standing,) = await admission.look(office.org_id, [await budgets.get(office.org_id, some.id)])
    return standing.spent, standing.reserved, standing.held, standing.paused


async def spends(work: Work, micros: int, *types: Any) -> None:
    usage = [Usage(f"{work.assignment.attempt}/{new_id()}", "m", input_tokens=1, cost_micros=micros)]
    stored = await work.office.send(work.assignment, work.n + 1, *types, usage=usage)
    work.n = stored.n


async def why(office: Office, run: Run | str) -> str | None:
    found = await office.run(run if isinstance(run, str) else run.id)
    told: str | None = found.reason
    if told is not None:
        return str(msgspec.json.decode(told)["message"])
    return (await reads.why(office.org_id, [found])).get(found.id)


async def statuses(office: Office, runs: Sequence[Run]) -> list[str]:
    return [(await office.run(run.id)).status for run in runs]


async def funds(office: Office, work: Work) -> list[int]:
    """What the runner is told that the attempt may spend, since it was asked last."""
    found = [
        msgspec.json.decode(command.payload, type=Fund).allowed_micros
        for command in await office.commands()
        if command.kind == CommandKind.FUND and command.run_id == work.run_id
    ]
    await database.fetch("UPDATE commands SET done_at = now_ms() WHERE kind = 'fund' AND run_id = $1", work.run_id)
    return found


async def started(office: Office, count: int = 1) -> list[Work]:
    claimed = await office.claim()
    assert len(claimed) == count
    for work in claimed:
        await work.say(EventType.RUN_STARTED, (EventType.SESSION_INIT, {"session_id": work.run_id}))
        await work.say(EventType.AGENT_MESSAGE)
    return claimed


async def is_paused(office: Office, work: Work) -> None:
    """The runner ends the attempt because it is told to, or has spent what it was told."""
    told = [one for one in await office.commands() if one.kind == CommandKind.PAUSE and one.run_id == work.run_id]
    reason = msgspec.json.decode(told[0].payload) if told else {"code": "budget", "message": "It has spent all"}
    await work._let_go((EventType.RUN_PAUSED, reason))


# Admission


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


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All statements from now on."""
    heard: list[str] = []
    commit, fetch = database.commit, database.fetch

    def noted(unit: Any) -> Any:
        rows = None
        while True:
            try:
                statement = unit.send(rows)
            except StopIteration as done:
                return done.value
            heard.append(statement.sql)
            rows = yield statement

    async def committed(unit: Any) -> Any:
        return await commit(noted(unit))

    async def fetched(text: str, *args: Any) -> Any:
        heard.append(text)
        return await fetch(text, *args)

    monkeypatch.setattr(database, "commit", committed)
    monkeypatch.setattr(database, "fetch", fetched)
    return heard


async def test_without_a_hard_budget_over_it_a_run_takes_todays_statements(office: Office, said: list[str]) -> None:
    ada = await office.agent(team="Core")
    await office.agent("Bob", team="Edge")

    async def story() -> list[str]:
        said.clear()
        await office.launch()
        alone = await office.work()
        await spends(alone, 5, EventType.AGENT_MESSAGE)
        await office.send(alone.assignment, alone.n + 1, drafts=Drafts(1, [Usage("d", "m")]))
        await alone.ends()
        agents = await office.at_work(ada)
        await spends(agents, 5, EventType.AGENT_MESSAGE)
        await agents.is_cut_off()
        again = await office.work()
        await again.ends()
        return [text for text in said if not any(word in text for word in ("price_lists", "AS online"))]  # remembered

    await story()  # what is remembered from then on
    without = await story()
    await budget(office, DOLLAR, "team", "Edge")
    await budget(office, DOLLAR, hard=False)
    assert await story() == without
    assert not await database.fetch("SELECT 1 FROM reservations")


async def test_ingest_takes_the_same_statements_under_budgets_as_without(office: Office, said: list[str]) -> None:
    async def story() -> list[str]:
        await office.launch()
        (work,) = await started(office)
        said.clear()
        await spends(work, 5, EventType.AGENT_MESSAGE)
        await office.send(work.assignment, work.n + 1, drafts=Drafts(1, [Usage("d", "m")]))
        await work.ends()
        return [text for text in said if "price_lists" not in text]  # remembered

    await story()
    without = await story()
    await budget(office, DOLLAR)
    await budget(office, DOLLAR, "key", "test")
    assert await story() == without


# In mid-run


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


class Killed(BaseException):
    """The end of a server."""


async def test_what_a_killed_server_had_not_come_to_the_next_one_finds(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await office.agent()
    commit = database.commit
    left = 0

    async def mortal(unit: Any) -> Any:
        nonlocal left
        done = await commit(unit)
        left -= 1
        if left == 0:
            raise Killed
        return done

    async def everything_waits() -> tuple[Budget, Work]:
        """A run at work that could use more, two that are paused, two that are held."""
        mine = await budget(office, DOLLAR)
        for _ in range(3):
            await office.launch()
        busy, *others = await started(office, 3)
        await spends(busy, 8 * CENT, (EventType.PERMISSION_REQUESTED, QUESTION))
        for work in others:
            await spends(work, 50 * CENT)
            await is_paused(office, work)
        assert (await office.launch()).hold is not None
        assert await office.why(await office.started(ada)) == "budget B: all of its $1.00 in all is spent"
        assert (await stand(office, mine))[2:] == (2, 2)
        await budgets.update(office.org_id, mine.id, {"limit_micros": 100 * DOLLAR})
        return mine, busy

    for kill in range(1, 100):
        mine, busy = await everything_waits()
        left = kill
        monkeypatch.setattr(database, "commit", mortal)
        is_killed = False
        try:
            await treasury.run_once(0)
        except Killed:
            is_killed = True
        monkeypatch.setattr(database, "commit", commit)
        meter.forget()
        await tick()
        assert (await funds(office, busy))[-1] == 108 * CENT
        again = await office.claim()
        assert len(again) == 4
        for work in again:
            await work.say(EventType.RUN_STARTED)
        for work in (busy, *again):
            await work.ends()
        assert (await stand(office, mine))[1:] == (0, 0, 0)
        await budgets.remove(office.org_id, mine.id)
        await database.fetch("DELETE FROM usage_lines")
        meter.forget()
        if not is_killed:
            break
    assert kill > 5


class Chance:
    """A fleet to which anything may happen. Its runners obey: they stop what has spent what it may."""

    ANSWER = 5 * CENT  #: what an answer costs at most

    def __init__(self, office: Office, seed: int, agents: Sequence[Agent]) -> None:
        self.office, self.agents = office, agents
        self.random = random.Random(seed)
        self.works: list[Work] = []
        self.allowed: dict[Work, int | None] = {}
        self.used: dict[Work, int] = {}
        self.most = 0  #: attempts at once

    async def happens(self) -> None:
        """One thing."""
        chance = self.random.random()
        if chance < 0.25:
            await (self.office.launch() if chance < 0.12 else self.office.started(self.random.choice(self.agents)))
        elif chance < 0.4:
            await self.claims()
        elif chance < 0.7 and self.works:
            await self.spends(self.random.choice(self.works), self.random.randrange(self.ANSWER))
        elif chance < 0.8 and self.works:
            work = self.works.pop(self.random.randrange(len(self.works)))
            await (work.ends if chance < 0.77 else work.is_cut_off)()
        else:
            if chance < 0.85:
                meter.forget()  # a server that has just started
            await self.ticks()

    async def claims(self) -> None:
        for work in await self.office.claim():
            await work.say(EventType.RUN_STARTED)
            self.works.append(work)
            money = work.assignment.money
            self.allowed[work], self.used[work] = money.allowed_micros if money else None, 0
        self.most = max(self.most, len(self.works))

    async def spends(self, work: Work, micros: int) -> None:
        await spends(work, micros)
        self.used[work] += micros
        allowed = self.allowed[work]
        if allowed is not None and self.used[work] >= allowed:
            await self.stops(work, {"code": "budget", "message": "It has spent what it may"})

    async def stops(self, work: Work, reason: dict[str, Any]) -> None:
        self.works.remove(work)
        await work._let_go((EventType.RUN_PAUSED, reason))

    async def ticks(self) -> None:
        await tick()
        for command in await self.office.commands():
            for work in [one for one in self.works if one.run_id == command.run_id]:
                if command.kind == CommandKind.FUND:
                    self.allowed[work] = msgspec.json.decode(command.payload, type=Fund).allowed_micros
                else:
                    await self.stops(work, msgspec.json.decode(command.payload))
        await database.fetch("UPDATE commands SET done_at = now_ms() WHERE done_at IS NULL")


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_a_budget_is_exceeded_by_one_answer_of_each_run_at_most(
    office: Office, seed: int
) -> None:
    agents = [await office.agent(name, team=team) for name, team in (("Ada", "Core"), ("Bob", "Core"), ("Cyd", "Edge"))]
    over = [
        await budget(office, 60 * CENT),
        await budget(office, 30 * CENT, "team", "Core"),
        await budget(office, 10 * CENT, "agent", agents[2].id),
    ]
    fleet = Chance(office, seed, agents)
    for _ in range(120):
        await fleet.happens()
        for standing in await admission.look(office.org_id, over):
            assert standing.spent + standing.reserved <= standing.budget.limit_micros + fleet.most * fleet.ANSWER
    spent = [standing.spent for standing in await admission.look(office.org_id, over)]
    assert spent[0] > 30 * CENT
    for one in over:
        await budgets.update(office.org_id, one.id, {"limit_micros": 1000 * DOLLAR})
    for _ in range(200):
        await fleet.ticks()
        for work in fleet.works:
            await work.ends()
        fleet.works.clear()
        await fleet.claims()
        if not fleet.works:
            break
    assert {run.status for run in await reads.page(office.org_id, limit=1000)} == {"completed"}
