"""Sums of the ledger over days, by agent, model, day, and one thing more. Every sum is one of the same cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date
from typing import Any, NamedTuple

import msgspec

from corral.platform import database
from corral.usage import ledger, periods
from corral.usage.ledger import COST, MS_A_DAY, SUMS, Line, Totals
from corral.usage.periods import Part, Span, later

#: What lines may be grouped by, beside agent, model and day → its column.
GROUPS = {
    "team": "team",
    "epic": "epic_id",
    "task": "task_id",
    "user": "user_id",
    "key": "key_id",
    "run": "run_id",
}


class Only(msgspec.Struct, frozen=True):
    """Which lines are counted; None: all."""

    agent_id: str | None = None
    team: str | None = None
    model: str | None = None
    epic_id: str | None = None
    task_id: str | None = None
    run_id: str | None = None
    key_id: str | None = None
    user_id: str | None = None
    label: str | None = None

    def where(self, first: int) -> tuple[str, list[str]]:
        """Return conditions with placeholders from `first` on, and their arguments."""
        parts, args = "", list[str]()
        for column, value in msgspec.structs.asdict(self).items():
            if value is not None and column != "label":
                parts += f" AND {column} = ${first + len(args)}"
                args.append(value)
        if self.label is not None:
            # As JSON writes it in the list: a quote within a label has a backslash before it.
            quoted = msgspec.json.encode(self.label).decode()
            one, two = f"${first + len(args)}", f"${first + len(args) + 1}"
            parts += f" AND (replace(labels, {one}, '') <> labels OR replace(labels, {two}, '') <> labels)"
            args += [f"[{quoted}", f",{quoted}"]
        return parts, args


class Cell(NamedTuple):
    """What was spent on one day by one agent on one model, and in one group."""

    on: date
    agent_id: str | None
    model: str
    group: str | None
    sums: Sequence[int]  #: as Totals

    @property
    def total(self) -> Totals:
        """Its sums."""
        return Totals(*self.sums)


class Report(msgspec.Struct, frozen=True):
    """What was spent in some days."""

    span: Span
    cells: list[Cell]

    @property
    def total(self) -> Totals:
        """The sum of everything."""
        return self._by(lambda _: None).get(None, Totals())

    def by_agent(self) -> dict[str | None, Totals]:
        """Sums by agent; None: runs without one."""
        return self._by(lambda cell: cell.agent_id)

    def by_model(self) -> dict[str, Totals]:
        """Sums by model."""
        return self._by(lambda cell: cell.model)

    def by_group(self) -> dict[str | None, Totals]:
        """Sums by what was asked for; None: what belongs to none."""
        return self._by(lambda cell: cell.group)

    def by_day(self) -> dict[date, Totals]:
        """Sums of every day, oldest first."""
        return {day: Totals() for day in self.span.dates} | self._by(lambda cell: cell.on)

    def daily(self, key: Callable[[Cell], Any]) -> dict[Any, list[int]]:
        """Return the cost of every day, in millionths, by a key: what a chart stacks."""
        place = {day: n for n, day in enumerate(self.span.dates)}
        found: dict[Any, list[int]] = {}
        for cell in self.cells:
            found.setdefault(key(cell), [0] * len(place))[place[cell.on]] += cell.sums[_COST]
        return found

    def _by(self, key: Callable[[Cell], Any]) -> dict[Any, Totals]:
        found: dict[Any, list[int]] = {}
        for cell in self.cells:
            name = key(cell)
            sums = found.get(name)
            if sums is None:
                found[name] = list(cell.sums)
            else:
                for n, value in enumerate(cell.sums):
                    sums[n] += value
        return {name: Totals(*sums) for name, sums in found.items()}


class Doubts(msgspec.Struct, frozen=True):
    """What a bill should say of its own certainty."""

    estimated_lines: int  #: of answers that were cut off
    estimated_micros: int
    unpriced_tokens: int  #: of models whose price nobody knows: they cost nothing here


class Unpriced(msgspec.Struct, frozen=True):
    """A model whose price nobody knew."""

    model: str
    tokens: int
    runs: int
    last_at: int


_COST = Totals.__struct_fields__.index("cost_micros")
_UNPRICED = "cost_micros IS NULL AND computed_micros IS NULL"
#: As the index of doubtful lines has it.
_DOUBTFUL = f"AND (estimated OR ({_UNPRICED}))"
_TOKENS = "input_tokens + output_tokens + cache_read_tokens + cache_write_tokens"


async def report(org_id: int, span: Span, only: Only | None = None, group_by: str | None = None) -> Report:
    """Sum up days, of all lines or some. Without a group but the team, an index has all it takes."""
    parts = list(span.parts())
    where, args = (only or Only()).where(4)
    rows = await database.scan(
        " UNION ALL ".join(_sums(later(parts), GROUPS[group_by] if group_by else None, where)),
        org_id,
        *span.days,
        *args,
    )
    return Report(span, _cells(rows, {part.day: part for part in parts}, span))


def _sums(is_later: str | None, group: str | None, where: str) -> Iterator[str]:
    """Yield the statements, one or two, that sum up each day's halves: before the zone's midnight, and after."""
    keys = f"day, agent_id, model{f', {group}' if group else ''}"
    text = (
        f"SELECT day, {{half}} AS half, agent_id, model, {group or 'NULL'} AS grouped, {SUMS} "  # noqa: S608 - our words
        f"FROM usage_lines WHERE org_id = $1 AND day >= $2 AND day <= $3{where}{{only}} GROUP BY {keys}"
    )
    if is_later is None:
        yield text.format(half="0", only="")
    else:  # twice through the index in its order is quicker than once with twice as many sums, or out of order
        yield text.format(half="0", only=f" AND NOT {is_later}")
        yield text.format(half="1", only=f" AND {is_later}")


async def lately(org_id: int, period: str, only: Only | None = None) -> Report:
    """Sum up a period that ends today, in UTC."""
    return await report(org_id, periods.lately(period, UTC, await database.now()), only)


async def doubts(org_id: int, span: Span, only: Only | None = None) -> Doubts:
    """Return what is uncertain about these days."""
    what = (
        "count(*) FILTER (WHERE estimated) AS estimated_lines, "
        f"CAST(coalesce(sum({COST}) FILTER (WHERE estimated), 0) AS bigint) AS estimated_micros, "
        f"CAST(coalesce(sum({_TOKENS}) FILTER (WHERE {_UNPRICED}), 0) AS bigint) AS unpriced_tokens"
    )
    rows = await _within(what, org_id, (span.began, span.ended), only or Only(), _DOUBTFUL)
    return Doubts(*(rows[0][name] for name in Doubts.__struct_fields__))


async def unpriced(org_id: int, span: Span) -> list[Unpriced]:
    """Return the models that were used without anybody knowing their price, the most used first."""
    what = (
        f"model, CAST(sum({_TOKENS}) AS bigint) AS tokens, count(DISTINCT run_no) AS runs, max(created_at) AS last_at"
    )
    order = f"{_DOUBTFUL} AND {_UNPRICED} GROUP BY model HAVING sum({_TOKENS}) > 0 ORDER BY 2 DESC, 1"
    rows = await _within(what, org_id, (span.began, span.ended), Only(), order)
    return [Unpriced(*(row[name] for name in Unpriced.__struct_fields__)) for row in rows]


class RunSpent(msgspec.Struct, frozen=True):
    """What one run spent in some days."""

    run_id: str | None  #: null of a run whose lines are from before they named it
    agent_id: str | None
    total: Totals


async def spent(org_id: int, began: int, ended: int, only: Only) -> Totals:
    """Return the sum of a stretch of time."""
    rows = await _within(SUMS, org_id, (began, ended), only)
    return ledger.totals_of(rows[0])


async def count_runs(org_id: int, began: int, ended: int, only: Only) -> int:
    """Return how many runs spent something in a stretch of time."""
    return int((await _within("count(DISTINCT run_no) AS runs", org_id, (began, ended), only))[0]["runs"])


async def dearest_runs(org_id: int, span: Span, only: Only, *, limit: int) -> tuple[list[RunSpent], int]:
    """Return the runs that spent most, the most expensive first, and how many spent anything."""
    what = f"max(run_id) AS run_id, max(agent_id) AS agent_id, count(*) OVER () AS runs, {SUMS}"
    order = f"GROUP BY run_no ORDER BY sum({COST}) DESC, run_no DESC LIMIT {limit}"
    rows = await _within(what, org_id, (span.began, span.ended), only, order)
    found = [RunSpent(row["run_id"], row["agent_id"], ledger.totals_of(row)) for row in rows]
    return found, int(rows[0]["runs"]) if rows else 0


async def _within(what: str, org_id: int, when: tuple[int, int], only: Only, order: str = "") -> database.Rows:
    began, ended = when
    where, args = only.where(6)
    return await database.scan(
        f"SELECT {what} FROM usage_lines WHERE org_id = $1 AND day >= $2 AND day <= $3 "  # noqa: S608 - our own words
        f"AND created_at >= $4 AND created_at < $5{where} {order}",
        org_id, began // MS_A_DAY, (ended - 1) // MS_A_DAY, began, ended, *args,
    )  # fmt: skip


def _cells(rows: database.Rows, parts: Mapping[int, Part], span: Span) -> list[Cell]:
    cells = []
    for row in rows:
        day, half, agent_id, model, group, *sums = row
        part = parts[day]
        on = part.after if half else part.before
        if on is not None and span.first <= on <= span.last:
            cells.append(Cell(on, agent_id, model, group, sums))
    return cells


async def lines(
    org_id: int, only: Only, span: Span | None = None, *, limit: int, before: int | None = None
) -> list[Line]:
    """Return the lines themselves, newest first."""
    where, args = only.where(4)
    if span is not None:
        first, last = span.days
        where += f" AND day >= {first} AND day <= {last} AND created_at >= {span.began} AND created_at < {span.ended}"
    return await ledger.page(org_id, where, args, limit=limit, before=before)
