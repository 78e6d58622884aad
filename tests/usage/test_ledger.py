"""Lines say whom they are for, are there once whatever is sent twice, and every sum is the sum of them."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from corral.agents import epics
from corral.base.errors import LeaseLost
from corral.base.ids import new_id
from corral.platform import database, keys
from corral.platform.database import Unit, sql
from corral.runs import queue
from corral.runs.queue import Launch
from corral.usage import periods, reports
from corral.usage.ledger import MS_A_DAY, Line, Totals
from corral.usage.periods import Span
from corral.usage.reports import GROUPS, Only
from corral.wire.events import EventType, Usage
from corral.wire.runner import Assignment
from corral.wire.runs import RunStatus
from tests.agents.office import Office, Work

MESSAGE = EventType.AGENT_MESSAGE


async def spends(work: Work, source: str, **usage: Any) -> None:
    await work.office.send(work.assignment, work.n + 1, MESSAGE, usage=[Usage(source, **{"model": "m", **usage})])
    work.n += 1


async def lines(office: Office, **only: str) -> list[Line]:
    """Lines, oldest first."""
    return (await reports.lines(office.org_id, Only(**only), limit=10_000))[::-1]


# Whom a line is for


async def test_a_line_says_for_whom_it_was_and_who_pays(office: Office) -> None:
    join = "INSERT INTO members (org_id, user_id, role, created_at) VALUES ($1, 'boss', 'owner', 0)"
    await database.fetch(join, office.org_id)
    key, _ = await keys.create(office.org_id, name="k", scopes=["*"], user_id="boss")
    epic = await epics.create(office.org_id, new_id(), "Rewrite")
    ada = await office.agent(team="Core")
    task = await office.task(ada, epic_id=epic.id)
    await office.begin(task.id)
    by_person = await office.work()
    await spends(by_person, "1")
    await by_person.ends()
    run = await queue.launch(
        office.org_id,
        Launch(prompt="x", cwd="/code", created_by=f"key:{key.id}", labels=[]),
    )
    by_key = await office.work()
    await spends(by_key, "1")
    first, second = await lines(office)
    assert (first.agent_id, first.team, first.task_id, first.epic_id) == (ada.id, "Core", task.id, epic.id)
    assert (first.user_id, first.key_id, first.run_id) == ("boss", None, by_person.run_id)
    assert (second.agent_id, second.team, second.task_id, second.epic_id) == (None, None, None, None)
    assert (second.user_id, second.key_id, second.run_id) == ("boss", key.id, run.id)


async def test_who_gave_the_first_task_pays_for_what_is_delegated(office: Office) -> None:
    epic = await epics.create(office.org_id, new_id(), "Rewrite")
    ada, bob = await office.agent("Ada", team="Core"), await office.agent("Bob", team="Edge")
    lead = await office.at_work(ada, epic_id=epic.id)
    await lead.hands(bob, wait=False)
    await office.post()
    work = await office.work()
    await spends(work, "1")
    (line,) = await lines(office)
    assert (line.agent_id, line.team, line.epic_id, line.user_id) == (bob.id, "Edge", epic.id, "boss")
    assert line.task_id not in {None, (await lead.office.run(lead.run_id)).task_id}


async def test_a_follow_up_is_for_the_same_task_and_paid_by_who_asks(office: Office) -> None:
    ada = await office.agent(team="Core")
    work = await office.at_work(ada)
    await work.say((EventType.SESSION_INIT, {"session_id": "s"}))
    await work.ends()
    await queue.follow_up(office.org_id, work.run_id, "And now?", "user:other")
    again = await office.work()
    await spends(again, "1")
    (line,) = await lines(office)
    assert (line.team, line.task_id, line.user_id) == (
        "Core",
        (await office.run(work.run_id)).task_id,
        "other",
    )


async def test_what_an_agent_becomes_later_changes_no_line(office: Office) -> None:
    ada = await office.agent(team="Core")
    work = await office.at_work(ada)
    await spends(work, "1")
    await database.fetch("UPDATE agents SET team = 'Edge' WHERE id = $1", ada.id)
    await spends(work, "2")
    assert [line.team for line in await lines(office)] == ["Core", "Core"]


async def test_a_run_from_before_there_were_accounts_is_its_agents(office: Office) -> None:
    ada = await office.agent(team="Core")
    work = await office.at_work(ada)
    await database.fetch("UPDATE runs SET account = NULL")
    await spends(work, "1")
    (line,) = await lines(office)
    assert (line.agent_id, line.team, line.run_id) == (ada.id, None, work.run_id)


# Once


async def test_everything_sent_twice_counts_once(office: Office) -> None:
    """Replays, resumed attempts, fenced ones, and an end whose answer was lost."""
    work = await office.at_work(await office.agent())
    first = Usage("1/turn-1/m", "m", 100, 10, 1000, 50, cost_micros=7)
    cut = Usage("1/message-x", "m", 3, estimated=True)
    resumed = Usage("2/turn-1/m", "m", 200, 20, cost_micros=9)
    late = Usage("1/turn-2/m", "m", 5, 5, cost_micros=1)

    async def twice(assignment: Assignment, n: int, *types: Any, usage: list[Usage]) -> None:
        for _ in range(2):
            await office.send(assignment, n, *types, usage=usage)

    init = (EventType.SESSION_INIT, {"session_id": "s"})
    await twice(work.assignment, 2, init, MESSAGE, usage=[first, first])
    await twice(work.assignment, 4, EventType.SESSION_INTERRUPTED, usage=[cut])
    office.box.held = []
    (again,) = await office.claim()
    await twice(again.assignment, 1, EventType.RUN_STARTED, MESSAGE, usage=[resumed])
    for _ in range(2):  # the attempt that was cut off speaks up once more
        with pytest.raises(LeaseLost):
            await office.send(work.assignment, 5, MESSAGE, usage=[late, first])
    await twice(again.assignment, 3, (EventType.RUN_COMPLETED, {"text": "done"}), usage=[resumed, first, cut])
    assert (await office.run(work.run_id)).status == RunStatus.COMPLETED
    found = await lines(office)
    assert {line.source: line.estimated for line in found} == {
        one.source: one.estimated for one in (first, cut, resumed, late)
    }
    total = (await reports.lately(office.org_id, "day")).total
    assert total == Totals(308, 35, 1000, 50, 17, 17)
    doubts = await reports.doubts(office.org_id, today())
    assert (doubts.estimated_lines, doubts.unpriced_tokens) == (1, 3)


# Sums


def today(zone: str = "UTC", days: int = 1) -> Span:
    there = periods.zone(zone)
    last = datetime.now(there).date()
    return Span(last - timedelta(days=days - 1), last, there)


async def many(office: Office, count: int = 400) -> None:
    """Lines of two months, of several agents, models, tasks, persons and labels."""
    chance = random.Random(count)
    epic = await epics.create(office.org_id, new_id(), "Rewrite")
    works = []
    for name, team in (("Ada", "Core"), ("Bob", "Core"), ("Cyd", None)):
        work = await office.at_work(await office.agent(name, team=team), epic_id=epic.id if name == "Ada" else None)
        works.append(work)
    await office.launch("alone")
    works.append(await office.work())
    await database.fetch("UPDATE runs SET account = replace(account, '}', ',\"labels\":[\"a\",\"b,\\\"c\"]}') "
                         "WHERE id = $1", works[1].run_id)  # fmt: skip
    for n in range(count):
        micros = chance.choice((None, chance.randrange(100_000)))
        tokens = (chance.randrange(1000), chance.randrange(1000), chance.randrange(1000), chance.randrange(1000))
        usage = Usage(f"{n}", chance.choice(("claude-haiku-4-5", "gpt-5", "x")), *tokens)
        usage.cost_micros, usage.estimated = micros, chance.random() < 0.1
        work = chance.choice(works)
        await office.send(work.assignment, work.n + 1, usage=[usage])
    began = 1_790_000_000_000  # in September 2026
    rows = await database.fetch("SELECT id FROM usage_lines")
    for row in rows:
        at = began + chance.randrange(60 * MS_A_DAY)
        await database.fetch(
            "UPDATE usage_lines SET created_at = $2, day = $3 WHERE id = $1", row["id"], at, at // MS_A_DAY
        )


def summed(some: list[Line]) -> Totals:
    return Totals(
        sum(line.input_tokens for line in some),
        sum(line.output_tokens for line in some),
        sum(line.cache_read_tokens for line in some),
        sum(line.cache_write_tokens for line in some),
        sum(line.counted_micros for line in some),
        sum(line.cost_micros or 0 for line in some),
    )


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/Los_Angeles"])
async def test_every_sum_is_the_sum_of_its_lines(office: Office, zone: str) -> None:
    await many(office)
    there = periods.zone(zone)
    span = Span(date(2026, 10, 2), date(2026, 11, 3), there)  # clocks leap within it
    everything = await lines(office)
    assert len(everything) == 400
    within = [one for one in everything if span.began <= one.created_at < span.ended]
    assert 0 < len(within) < 400
    listed = await reports.lines(office.org_id, Only(), span, limit=1000)
    assert sorted(listed, key=lambda one: one.id) == within
    for group_by in (None, *GROUPS):
        report = await reports.report(office.org_id, span, group_by=group_by)
        assert report.total == summed(within)
        for sums, name in (
            (report.by_agent(), "agent_id"),
            (report.by_model(), "model"),
            *([(report.by_group(), GROUPS[group_by])] if group_by else []),
        ):
            of = {getattr(one, name) for one in within}
            assert sums == {one: summed([line for line in within if getattr(line, name) == one]) for one in of}
        by_day = report.by_day()
        assert list(by_day) == span.dates
        for day, sums_of_day in by_day.items():
            assert sums_of_day == summed([one for one in within if on(one, there) == day])
        daily = report.daily(lambda cell: cell.model)
        assert {model: sum(costs) for model, costs in daily.items()} == {
            model: sums.cost_micros for model, sums in report.by_model().items()
        }


def on(line: Line, zone: Any) -> date:
    return datetime.fromtimestamp(line.created_at / 1000, zone).date()


async def test_a_report_of_some_lines_is_the_sum_of_those(office: Office) -> None:
    await many(office, 60)
    span = Span(date(2026, 9, 1), date(2026, 12, 1), UTC)
    everything = await lines(office)
    some = next(line for line in everything if line.team == "Core" and line.labels)
    for only in (
        Only(agent_id=some.agent_id),
        Only(team="Core"),
        Only(model="x"),
        Only(run_id=some.run_id),
        Only(task_id=some.task_id, model="x"),
        Only(user_id="boss"),
        Only(label="a"),
        Only(label='b,"c'),
    ):
        listed = await reports.lines(office.org_id, only, limit=1000)
        assert 0 < len(listed) < 60
        assert (await reports.report(office.org_id, span, only)).total == summed(listed)
    for label in ("A", "b", "c", 'c"', "a%", "_", ",", "["):
        assert await lines(office, label=label) == []


async def test_what_is_doubtful_is_said(office: Office) -> None:
    await many(office, 100)
    span = Span(date(2026, 10, 1), date(2026, 10, 31), periods.zone("Europe/Berlin"))
    within = await reports.lines(office.org_id, Only(), span, limit=1000)
    estimated = [line for line in within if line.estimated]
    unpriced = [line for line in within if line.cost_micros is None and line.computed_micros is None]
    doubts = await reports.doubts(office.org_id, span)
    assert (doubts.estimated_lines, doubts.estimated_micros) == (len(estimated), summed(estimated).cost_micros)
    assert doubts.unpriced_tokens > 0
    assert doubts.unpriced_tokens == sum(
        one.input_tokens + one.output_tokens + one.cache_read_tokens + one.cache_write_tokens for one in unpriced
    )


async def test_lines_are_read_in_pages_and_no_other_org_reads_them(office: Office) -> None:
    await many(office, 20)
    seen: list[Line] = []
    before = None
    while page := await reports.lines(office.org_id, Only(), limit=7, before=before):
        seen += page
        before = page[-1].id
    assert [line.id for line in seen] == sorted({line.id for line in seen}, reverse=True)
    assert len(seen) == 20
    assert await reports.lines(office.org_id + 1, Only(), limit=7) == []
    assert (await reports.report(office.org_id + 1, today(days=90))).total == Totals()


async def test_a_report_reads_its_index_alone(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, tuple[Any, ...]]] = []

    async def scan(text: str, *args: Any) -> list[Any]:
        asked.append((text, args))
        return []

    monkeypatch.setattr(database, "scan", scan)
    await reports.report(office.org_id, today("Europe/Berlin", 30), group_by="team")
    ((text, args),) = asked
    steps = await database.commit(plan(text, args))
    assert any("COVERING INDEX usage_report" in step or "Index Only Scan using usage_report" in step for step in steps)
    assert not any("TEMP B-TREE" in step for step in steps), steps


def plan(text: str, args: tuple[Any, ...]) -> Unit[list[str]]:
    """Return how the database would carry a statement out."""
    if database.dialect() == "postgres":
        for other in ("seqscan", "bitmapscan"):  # which an empty table would invite
            yield sql(f"SET LOCAL enable_{other} = off")
        return [row[0] for row in (yield sql(f"EXPLAIN {text}", *args))]
    return [row["detail"] for row in (yield sql(f"EXPLAIN QUERY PLAN {text}", *args))]
