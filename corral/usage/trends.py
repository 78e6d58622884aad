"""How spending went: sums by hour, day or month, of the few who spent most and of all others together.

One pass over the index that reports read. The database sums its cells up further, so that of ten thousand agents no
more rows come out than a chart has room for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Literal

import msgspec

from corral.platform import database
from corral.usage import ledger
from corral.usage.ledger import MS_A_DAY, SUMS, Totals
from corral.usage.periods import Span, later
from corral.usage.reports import Only

By = Literal["agent", "model", "team"]
#: What is told apart → its column.
COLUMNS: dict[By, str] = {"agent": "agent_id", "model": "model", "team": "team"}
#: Days that are told one by one; what is longer is told by the month.
DAYS_MOST = 184
_MS_AN_HOUR = 3_600_000
#: Of each column, how many are offered to choose from.
_CHOICES = 200


class Slot(msgspec.Struct, frozen=True):
    """What one bar of a chart is of."""

    first: date
    last: date
    at: datetime | None = None  #: the beginning of an hour, in the span's zone


class Trend(msgspec.Struct, frozen=True):
    """What was spent in each slot, by each of those who spent most; an empty key is what belongs to none."""

    span: Span
    slots: list[Slot]
    top: list[str]  #: the most expensive first
    others: int  #: how many there are beside them
    sums: Mapping[tuple[int, str | None], Totals]  #: by slot and key; None: the others
    known: Mapping[By, list[str]]  #: who spent anything, the most expensive first, as far as there is room to choose

    @property
    def total(self) -> Totals:
        """The sum of everything."""
        return ledger.sum_of(self.sums.values())

    def of(self, key: str | None) -> Totals:
        """Return the sum of one of them, or of the others."""
        return ledger.sum_of(sums for (_, whose), sums in self.sums.items() if whose == key)

    def at(self, slot: int) -> Totals:
        """Return the sum of a slot."""
        return ledger.sum_of(self.sums.get((slot, key), Totals()) for key in (*self.top, None))


async def trend(org_id: int, span: Span, only: Only, by: By, *, top: int) -> Trend:
    """Sum up days by slot and by the most expensive of a column."""
    where, args = only.where(4)
    if span.began % MS_A_DAY or span.ended % MS_A_DAY:
        where += f" AND created_at >= {span.began} AND created_at < {span.ended}"
    slots, place, cells = _hours(span, where) if span.first == span.last else _days(span, where)
    known: dict[By, list[str]] = {one: [] for one in COLUMNS}
    counts: dict[By, int] = dict.fromkeys(COLUMNS, 0)
    found: dict[tuple[int, str | None], list[Totals]] = {}
    for facet, slot, key, count, *sums in await database.scan(
        _statement(" UNION ALL ".join(cells), COLUMNS[by], top), org_id, *span.days, *args
    ):
        if facet is None:
            found.setdefault((place(slot), key), []).append(Totals(*sums))
        else:
            known[facet].append(key)
            counts[facet] = count
    return Trend(
        span, slots, known[by][:top], max(0, counts[by] - top),
        {at: ledger.sum_of(parts) for at, parts in found.items()}, known,
    )  # fmt: skip


#: Sums of cells, and who has the greatest.
_AGAIN = ", ".join(f"CAST(sum({name}) AS bigint) AS {name}" for name in Totals.__struct_fields__)
_GREATEST = "sum(cost_micros) DESC, sum(input_tokens + output_tokens + cache_read_tokens + cache_write_tokens) DESC"


def _statement(cells: str, column: str, top: int) -> str:
    """Return the statement whose rows are sums of a slot and a key, and then what there is to choose from."""
    key = f"coalesce({column}, '')"
    known = " UNION ALL ".join(
        f"SELECT * FROM (SELECT '{by}' AS facet, 0 AS slot, coalesce({one}, '') AS key, count(*) OVER () AS count, "  # noqa: S608 - our own words
        f"{_AGAIN} FROM whole GROUP BY 3 ORDER BY {_GREATEST}, 3 LIMIT {_CHOICES}) AS {by}s"
        for by, one in COLUMNS.items()
    )
    return (
        f"WITH cells AS MATERIALIZED ({cells}), whole AS MATERIALIZED (SELECT agent_id, model, team, {_AGAIN} "  # noqa: S608
        f"FROM cells GROUP BY agent_id, model, team), top AS MATERIALIZED (SELECT {key} AS key FROM whole GROUP BY 1 "
        f"ORDER BY {_GREATEST}, 1 LIMIT {top}) SELECT NULL AS facet, slot, CASE WHEN {key} IN (SELECT key FROM top) "
        f"THEN {key} END AS key, 0 AS count, {_AGAIN} FROM cells GROUP BY 2, 3 UNION ALL {known}"
    )


def _cells(slot: str, keys: str, where: str) -> str:
    return (
        f"SELECT {slot} AS slot, agent_id, model, team, {SUMS} FROM usage_lines "  # noqa: S608 - our own words
        f"WHERE org_id = $1 AND day >= $2 AND day <= $3{where} GROUP BY {keys}, agent_id, model, team"
    )


def _hours(span: Span, where: str) -> tuple[list[Slot], Callable[[int], int], list[str]]:
    """Return the hours of a day, 23 to 25 of them, how a row's is found, and the statement that tells them apart."""
    slots = [
        Slot(span.first, span.first, datetime.fromtimestamp(at / 1000, span.zone))
        for at in range(span.began, span.ended, _MS_AN_HOUR)
    ]
    return slots, int, [_cells(f"(created_at - {span.began}) / {_MS_AN_HOUR}", "1", where)]


def _days(span: Span, where: str) -> tuple[list[Slot], Callable[[int], int], list[str]]:
    """Return the days, or the months they are of, how a row's is found, and what tells days of UTC and halves apart."""
    dates = span.dates
    if len(dates) <= DAYS_MOST:
        slots = [Slot(day, day) for day in dates]
    else:
        months = sorted({day.replace(day=1) for day in dates})
        slots = [Slot(max(first, span.first), min(_end(first), span.last)) for first in months]
    places = {day: n for n, slot in enumerate(slots) for day in _between(slot)}
    parts = list(span.parts())
    halves = {part.day * 2: part.before for part in parts} | {part.day * 2 + 1: part.after for part in parts}
    is_later = later(parts)
    # Day by day as the index has them, so that nothing is sorted.
    cells = (
        [_cells("day * 2", "day", where)]
        if is_later is None
        else [
            _cells("day * 2", "day", f"{where} AND NOT {is_later}"),
            _cells("day * 2 + 1", "day", f"{where} AND {is_later}"),
        ]
    )
    # What lies outside of the zone's days is not among the rows.
    return slots, lambda half: places[halves[half] or span.first], cells


def _end(first: date) -> date:
    """Return a month's last day."""
    return (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)


def _between(slot: Slot) -> Iterator[date]:
    return (slot.first + timedelta(days=n) for n in range((slot.last - slot.first).days + 1))
