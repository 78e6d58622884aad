"""What a chart shows is every line once: by hour, day or month, of the most expensive and of all others together."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from corral.platform import database
from corral.usage import periods, reports
from corral.usage.ledger import MS_A_DAY, Line, Totals
from corral.usage.periods import Span
from corral.usage.reports import Only
from corral.usage.trends import COLUMNS, By, Slot, trend
from tests.agents.office import Office
from tests.usage.test_ledger import lines, many, on, plan, summed

AUTUMN = (date(2026, 10, 2), date(2026, 11, 3))  # clocks leap within it


@pytest.mark.parametrize("by", list(COLUMNS))
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kathmandu"])
async def test_every_bar_is_the_sum_of_its_lines(office: Office, zone: str, by: By) -> None:
    await many(office)
    there = periods.zone(zone)
    span = Span(*AUTUMN, there)
    within = await reports.lines(office.org_id, Only(), span, limit=1000)
    found = await trend(office.org_id, span, Only(), by, top=2)
    of = {getattr(line, COLUMNS[by]) or "" for line in within}
    dear = sorted(of, key=lambda key: -summed(whose(within, by, key)).cost_micros)
    assert (found.top, found.others, found.total) == (dear[:2], len(of) - 2, summed(within))
    assert found.slots == [Slot(day, day) for day in span.dates]
    for n, slot in enumerate(found.slots):
        here = [line for line in within if on(line, there) == slot.first]
        assert found.at(n) == summed(here)
        for key in found.top:
            assert found.sums.get((n, key), Totals()) == summed(whose(here, by, key))
    assert [found.of(key) for key in found.top] == [summed(whose(within, by, key)) for key in found.top]
    assert {one: set(keys) for one, keys in found.known.items()} == {
        one: {getattr(line, column) or "" for line in within} for one, column in COLUMNS.items()
    }


def whose(some: list[Line], by: By, key: str) -> list[Line]:
    return [line for line in some if (getattr(line, COLUMNS[by]) or "") == key]


async def test_a_long_time_is_told_by_the_month_and_a_day_by_its_hours(office: Office) -> None:
    await many(office)
    span = Span(date(2026, 8, 15), date(2027, 4, 10), periods.zone("America/Los_Angeles"))
    year = await trend(office.org_id, span, Only(), "model", top=8)
    first, second, *_, last = [f"{slot.first} – {slot.last}" for slot in year.slots]
    assert (first, second) == ("2026-08-15 – 2026-08-31", "2026-09-01 – 2026-09-30")
    assert last == "2027-04-01 – 2027-04-10"
    assert [year.at(n) for n, _ in enumerate(year.slots)] == [
        (await reports.report(office.org_id, Span(slot.first, slot.last, span.zone))).total for slot in year.slots
    ]
    leap = Span(date(2026, 10, 25), date(2026, 10, 25), periods.zone("Europe/Berlin"))
    for n, line in enumerate(await lines(office)):
        at = leap.began + n * (leap.ended - leap.began) // 400
        await database.fetch(
            "UPDATE usage_lines SET created_at = $2, day = $3 WHERE id = $1", line.id, at, at // MS_A_DAY
        )
    day = await trend(office.org_id, leap, Only(), "model", top=8)
    assert [slot.at.hour for slot in day.slots if slot.at] == [0, 1, 2, 2, *range(3, 24)]
    assert day.total == summed(await lines(office))
    for n, slot in enumerate(day.slots):
        assert slot.at is not None
        began = round(slot.at.timestamp() * 1000)
        here = [line for line in await lines(office) if began <= line.created_at < began + 3_600_000]
        assert day.at(n) == summed(here)


async def test_a_trend_of_some_lines_is_of_those_and_of_none_there_is_none(office: Office) -> None:
    await many(office, 60)
    span = Span(date(2026, 9, 1), date(2026, 12, 1), UTC)
    for only in (Only(team="Core", model="x"), Only(label="a"), Only(user_id="boss")):
        some = await reports.lines(office.org_id, only, limit=1000)
        assert (await trend(office.org_id, span, only, "agent", top=8)).total == summed(some)
    for org_id, only in ((office.org_id, Only(team="nobody")), (office.org_id + 1, Only())):
        none = await trend(org_id, span, only, "team", top=8)
        assert (none.top, none.others, none.total, len(none.slots)) == ([], 0, Totals(), 92)


async def test_the_dearest_runs_and_the_time_before_are_sums_of_lines(office: Office) -> None:
    await many(office, 200)
    span = Span(*AUTUMN, periods.zone("Europe/Berlin"))
    within = await reports.lines(office.org_id, Only(), span, limit=1000)
    runs = {line.run_id: summed([one for one in within if one.run_id == line.run_id]) for line in within}
    found, count = await reports.dearest_runs(office.org_id, span, Only(), limit=2)
    assert count == await reports.count_runs(office.org_id, span.began, span.ended, Only()) == len(runs) == 4
    dear = sorted(runs, key=lambda run: -runs[run].cost_micros)
    assert [(one.run_id, one.total) for one in found] == [(run, runs[run]) for run in dear[:2]]
    assert await reports.spent(office.org_id, span.began, span.ended, Only()) == summed(within)
    assert await reports.dearest_runs(office.org_id + 1, span, Only(), limit=2) == ([], 0)
    assert (span.before.first, span.before.last, span.before.ended) == (
        date(2026, 8, 30),
        date(2026, 10, 1),
        span.began,
    )


async def test_models_without_a_price_are_named_with_what_they_were_used_for(office: Office) -> None:
    await many(office, 100)
    span = Span(date(2026, 9, 1), date(2026, 12, 1), UTC)
    lost = [line for line in await lines(office) if line.cost_micros is None and line.computed_micros is None]
    (found,) = await reports.unpriced(office.org_id, span)
    assert (found.model, found.tokens, found.runs) == ("x", summed(lost).tokens, len({line.run_id for line in lost}))
    assert found.last_at == max(line.created_at for line in lost)


async def test_a_trend_reads_its_index_alone(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, tuple[Any, ...]]] = []

    async def scan(text: str, *args: Any) -> list[Any]:
        asked.append((text, args))
        return []

    monkeypatch.setattr(database, "scan", scan)
    for days in (1, 30):
        await trend(office.org_id, today(days), Only(), "team", top=8)
    for text, args in asked:
        steps = await database.commit(plan(text, args))
        assert any(
            "COVERING INDEX usage_report" in step or "Index Only Scan using usage_report" in step for step in steps
        )


def today(days: int) -> Span:
    last = datetime.now(UTC).date()
    return Span(last.fromordinal(last.toordinal() - days + 1), last, UTC)
