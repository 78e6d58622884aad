"""What is spent of a budget is exact: the sum of its lines since its period began, in its own time zone."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import pytest

from corral.base.errors import BadRequest, Conflict
from corral.base.ids import new_id
from corral.platform import database
from corral.runs import admission
from corral.usage import alerts, budgets, meter, periods, reports
from corral.usage.accounts import Account
from corral.usage.budgets import Budget
from corral.usage.ledger import MS_A_DAY, Line
from corral.usage.reports import Only
from corral.wire.events import Drafts, Usage
from tests.agents.office import PERSON, Office
from tests.support.waiting import until_after_midnight

ZONES = ("UTC", "Europe/Berlin", "Asia/Kathmandu", "America/Los_Angeles", "Pacific/Kiritimati")


async def budget(office: Office, scope: str = "org", target: str = "", **fields: Any) -> Budget:
    values = {"name": scope, "limit_micros": 10_000_000, "period": "total", "tz": "UTC", "hard": False, **fields}
    return await budgets.create(office.org_id, new_id(), PERSON, {"scope": scope, "target": target, **values})


async def spent(office: Office, *some: Budget) -> list[int]:
    """What is spent of these, or of all there are, in the order they were set."""
    wanted = list(some) or budgets.known(office.org_id)
    return [standing.spent for standing in await admission.look(office.org_id, wanted)]


async def line(office: Office, cost: int, *, ago: int = 0, **account: Any) -> None:
    """A line of the ledger that was recorded so long ago, in ms."""
    values = {"cost_micros": cost, **account}
    names = ", ".join(values)
    marks = ", ".join(f"${n}" for n in range(5, len(values) + 5))
    await database.fetch(
        "INSERT INTO usage_lines (org_id, run_no, source, day, created_at, model, input_tokens, output_tokens, "
        f"cache_read_tokens, cache_write_tokens, estimated, {names}) VALUES "
        f"($1, 1, $2, $3, $4, 'm', 0, 0, 0, 0, FALSE, {marks})",
        office.org_id, new_id(), (at := await database.now() - ago) // MS_A_DAY, at, *values.values(),
    )  # fmt: skip


def whose(one: Line, trees: dict[str | None, str]) -> set[tuple[str, str]]:
    account = Account(agent_id=one.agent_id, team=one.team, tree_id=trees.get(one.task_id), key_id=one.key_id)
    return set(budgets.whose(account))


async def test_every_scope_and_period_in_every_zone_is_the_sum_of_its_lines(office: Office) -> None:
    until_after_midnight(of_any_zone=True)
    chance = random.Random(4)
    now = await database.now()
    choices: dict[str, list[Any]] = {
        "agent_id": ["ada", "bob", None],
        "team": ["Core", "Edge", None],
        "task_id": ["t1", "t2", "t3", None],
        "key_id": ["k1", "k2", None],
    }
    trees: dict[str | None, str] = {"t1": "t1", "t2": "t1", "t3": "t3"}
    for _ in range(300):
        account = {name: chance.choice(some) for name, some in choices.items()}
        account["tree_id"] = trees.get(account["task_id"])
        ago = chance.choice((3_000, 30_000, MS_A_DAY, 8 * MS_A_DAY, 40 * MS_A_DAY))
        await line(office, chance.randrange(1_000_000), ago=chance.randrange(ago), **account)
    targets = (("org", ""), ("team", "Core"), ("agent", "bob"), ("task", "t1"), ("key", "k2"))
    made = [
        await budget(office, scope, target, period=period, tz=chance.choice(ZONES))
        for scope, target in targets
        for period in ("day", "week", "month", "total")
    ]
    everything = await reports.lines(office.org_id, Only(), limit=1000)

    def expected(one: Budget) -> int:
        began, ended = bounds(one, now)
        return sum(
            found.counted_micros
            for found in everything
            if one.whose in whose(found, trees) and began <= found.created_at < ended
        )

    for _ in range(2):  # from scratch, and from what is remembered
        assert await spent(office) == [expected(one) for one in made]
        await line(office, 7, agent_id="bob", team="Core", task_id="t2", tree_id="t1", key_id="k2")
        everything = await reports.lines(office.org_id, Only(), limit=1000)
        assert await spent(office) == [expected(one) for one in made]


def bounds(budget: Budget, now: int) -> tuple[int, int]:
    """The present period, reckoned by the calendar's own means."""
    zone = periods.zone(budget.tz)
    today = datetime.fromtimestamp(now / 1000, zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    match budget.period:
        case "day":
            first, after = today, today + timedelta(days=1)
        case "week":
            first = today - timedelta(days=today.weekday())
            after = first + timedelta(days=7)
        case "month":
            first = today.replace(day=1)
            after = (first + timedelta(days=31)).replace(day=1)
        case _:
            return 0, 2**60
    return round(first.timestamp() * 1000), round(after.timestamp() * 1000)


@pytest.mark.parametrize(
    ("period", "tz", "now", "first", "last"),
    [
        ("day", "UTC", "2026-11-24T23:59:59+00:00", "2026-11-24", "2026-11-24"),
        ("day", "Europe/Berlin", "2026-11-24T23:30:00+00:00", "2026-11-25", "2026-11-25"),
        ("week", "UTC", "2026-11-22T12:00:00+00:00", "2026-11-16", "2026-11-22"),
        ("week", "America/Los_Angeles", "2026-11-23T07:59:00+00:00", "2026-11-16", "2026-11-22"),
        ("month", "Pacific/Kiritimati", "2026-01-31T10:00:00+00:00", "2026-02-01", "2026-02-28"),
        ("month", "UTC", "2028-02-29T10:00:00+00:00", "2028-02-01", "2028-02-29"),
    ],
)
def test_a_period_is_of_whole_days_of_its_zone(period: str, tz: str, now: str, first: str, last: str) -> None:
    ms = round(datetime.fromisoformat(now).timestamp() * 1000)
    span = periods.present(period, periods.zone(tz), ms)
    assert span is not None
    assert (str(span.first), str(span.last)) == (first, last)
    assert span.began <= ms < span.ended


async def test_lines_are_counted_once_while_the_sum_goes_on_past_them(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old and new lines, the order of their ids against that of their times, and a new server at every step."""
    mine = await budget(office)
    total = 0
    for n in range(30):
        await line(office, 1 << n, ago=(n * 7919) % 25_000)
        total += 1 << n
        if n % 3 == 0:
            meter.forget()
        if n % 4 == 0:
            monkeypatch.setitem(meter._SETTLED, database.dialect(), (n * 1_000) % 20_000)
        assert await spent(office, mine) == [total]


async def test_what_a_turn_in_progress_has_used_counts_and_becomes_its_line(office: Office) -> None:
    ada = await office.agent(team="Core")
    work = await office.at_work(ada)
    task = await office.look((await work.run()).task_id or "")
    made = [
        await budget(office, *one)
        for one in (("org", ""), ("team", "Core"), ("agent", ada.id), ("task", task.root_id), ("key", "k"))
    ]
    draft = Usage("1/message-1", "claude-haiku-4-5", input_tokens=1_000_000)
    await office.send(work.assignment, work.n + 1, drafts=Drafts(1, [draft]))
    assert await spent(office, *made) == [1_000_000] * 4 + [0]
    done = Usage("1/turn-1", "claude-haiku-4-5", input_tokens=1_000_000, cost_micros=1_100_000)
    await office.send(work.assignment, work.n + 1, usage=[done], drafts=Drafts(2))
    assert await spent(office, *made) == [1_100_000] * 4 + [0]


async def test_what_is_delegated_counts_for_its_tree_and_for_the_key_that_gave_the_first_task(office: Office) -> None:
    ada, bob = await office.agent("Ada", team="Core"), await office.agent("Bob", team="Edge")
    lead = await office.at_work(ada)
    await database.fetch('UPDATE runs SET account = replace(account, \'"user_id":"boss"\', \'"key_id":"k"\')')
    root = (await lead.run()).task_id or ""
    await lead.hands(bob, wait=False)
    await office.post()
    work = await office.work()
    await office.send(work.assignment, work.n + 1, usage=[Usage("1", "m", cost_micros=5)])
    wanted = [("task", root), ("key", "k"), ("team", "Edge"), ("team", "Core"), ("agent", ada.id)]
    made = [await budget(office, *one) for one in wanted]
    assert await spent(office, *made) == [5, 5, 5, 0, 0]


async def test_a_new_period_begins_with_nothing_and_the_old_ones_lines_stay_its_own(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = await budget(office, period="day")
    real = await database.now()
    midnight = mine.began(real) + MS_A_DAY
    clock = midnight - 2_000

    async def now() -> int:
        return clock

    monkeypatch.setattr(database, "now", now)
    await line(office, 5)
    assert await spent(office, mine) == [5]
    clock = midnight + 500
    assert await spent(office, mine) == [0]
    await line(office, 7)
    assert await spent(office, mine) == [7]
    clock = midnight + 60_000
    await line(office, 1)
    assert await spent(office, mine) == [8]
    meter.forget()
    assert await spent(office, mine) == [8]


async def test_no_other_org_counts(office: Office) -> None:
    mine = await budget(office)
    await database.fetch("INSERT INTO orgs (id, name, created_at) VALUES (77, 'other', 0)")
    other = Office(77)
    theirs = await budget(other)
    await line(office, 5)
    await line(other, 7)
    assert await spent(office, mine) == [5]
    assert await spent(other, theirs) == [7]
    assert budgets.over(77, Account()) == []


# Warnings


async def levels(office: Office, mine: Budget) -> list[int]:
    (standing,) = await admission.look(office.org_id, [mine])
    await alerts.tell(mine, standing.spent, standing.now)
    return [alert.percent for alert in (await alerts.present([mine], standing.now)).get(mine.no, [])]


async def test_a_level_is_told_once_and_again_only_if_a_higher_limit_made_it_untrue(office: Office) -> None:
    mine = await budget(office, limit_micros=100)
    assert await levels(office, mine) == []
    for cost, told in ((49, []), (1, [50]), (29, [50]), (1, [50, 80]), (25, [50, 80, 100])):
        await line(office, cost)
        alerts.forget()  # another server
        assert await levels(office, mine) == told
        assert await levels(office, mine) == told
    rows = await database.fetch("SELECT count(*) AS n FROM budget_alerts")
    assert rows[0]["n"] == 3
    raised = await budgets.update(office.org_id, mine.id, {"limit_micros": 200})
    assert await levels(office, mine) == [50, 80, 100]  # by a server that has not heard of it yet
    assert await levels(office, raised) == [50]
    alerts.forget()
    assert await levels(office, mine) == [50]
    await line(office, 60)
    assert await levels(office, raised) == [50, 80]
    await budgets.remove(office.org_id, mine.id)
    assert not await database.fetch("SELECT 1 FROM budget_alerts")


# Rows


async def test_there_is_one_budget_of_a_kind(office: Office) -> None:
    first = await budget(office, "team", "Core", period="day")
    await budget(office, "team", "Core", period="week")
    with pytest.raises(Conflict):
        await budget(office, "team", "Core", period="day")
    with pytest.raises(Conflict):
        await budgets.update(office.org_id, first.id, {"period": "week"})
    with pytest.raises(BadRequest):
        await budget(office, "team", "Edge", tz="Mars/Olympus")
    same = {"scope": "team", "target": "Core", "name": "n", "limit_micros": 1, "period": "day", "tz": "UTC"}
    again = await budgets.create(office.org_id, first.id, PERSON, {**same, "hard": True})
    assert again == first


async def test_what_is_spent_is_read_from_an_index_alone(office: Office) -> None:
    """However long the ledger is."""
    for query, args, index in (
        (meter._BY_AGENT_AND_TEAM, (1, 20_000, 2**31 - 1, 0, 5), "usage_report"),
        (meter._OF_ONE.format(column="tree_id"), (1, "t", 0, 5), "usage_tree"),
        (meter._OF_ONE.format(column="key_id"), (1, "k", 0, 5), "usage_key"),
    ):

        def unit(query: str = query, args: tuple[Any, ...] = args) -> Any:
            if database.dialect() == "postgres":
                for other in ("seqscan", "bitmapscan"):  # which an empty table would invite
                    yield database.sql(f"SET LOCAL enable_{other} = off")
                return [row[0] for row in (yield database.sql(f"EXPLAIN {query}", *args))]
            return [row["detail"] for row in (yield database.sql(f"EXPLAIN QUERY PLAN {query}", *args))]

        plan = await database.commit(unit())
        assert any(f"COVERING INDEX {index}" in step or f"Index Only Scan using {index}" in step for step in plan), plan
