"""Spending as its page shows it: headline figures, and the tables whose pictures the charts are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from corral.usage.ledger import Totals
from corral.usage.periods import Span
from corral.usage.reports import RunSpent
from corral.usage.trends import By, Slot, Trend
from corral.web.console import words
from corral.web.console.run_views import short, title
from corral.web.console.usage_query import UsageQuery

#: What is told apart once one of these is chosen.
_BELOW: dict[By, str] = {"agent": "model", "model": "agent", "team": "agent"}
#: A chart has so many colours, and grey for all others.
TOP = 8
CLASSES = (
    ("input_tokens", "Input", "new to the model"),
    ("output_tokens", "Output", "written by it"),
    ("cache_read_tokens", "Cache read", "known from before"),
    ("cache_write_tokens", "Cache write", "kept for later"),
)


@dataclass(frozen=True, slots=True)
class Figure:
    """One headline figure, beside that of the time before."""

    label: str
    value: str
    exact: str
    change: str  #: as +12 %; empty where there is nothing to compare with
    before: str


@dataclass(frozen=True, slots=True)
class Part:
    """One of those who spent most: a row of the table, a colour of the chart."""

    key: str | None  #: None: all others
    name: str
    color: str
    path: str | None  #: this page with only its lines
    total: Totals
    share: float  #: of the whole cost


@dataclass(frozen=True, slots=True)
class Row:
    """One bar: an hour, a day or a month."""

    label: str
    short: str  #: below the bar
    first: str
    last: str
    path: str | None  #: the page of these days alone
    total: Totals
    costs: list[int]  #: of each part, in millionths


@dataclass(frozen=True, slots=True)
class TopRun:
    """One of the most expensive runs."""

    id: str | None
    short: str
    title: str
    agent: str
    total: Totals


@dataclass(frozen=True, slots=True)
class UsageReport:
    """What the page shows."""

    figures: list[Figure]
    parts: list[Part]
    rows: list[Row]
    total: Totals
    each: str  #: what a bar is of: hour, day or month
    told_by: str


def usage_report(trend: Trend, before: Totals, query: UsageQuery, names: Mapping[str, str]) -> UsageReport:
    """Show a trend; `names` are those of keys that are ids."""
    total = trend.total
    parts = [_part(trend, key, n, query, names) for n, key in enumerate(trend.top, 1)]
    if trend.others:
        parts.append(_part(trend, None, 0, query, names))
    each, rows = _rows(trend, parts, query)
    return UsageReport(_figures(total, before), parts, rows, total, each, query.told_by)


def top_runs(found: Sequence[RunSpent], prompts: Mapping[str, str], agents: Mapping[str, str]) -> list[TopRun]:
    """Show the most expensive runs."""
    return [
        TopRun(
            one.run_id,
            short(one.run_id) if one.run_id else "",
            title(prompts.get(one.run_id or "", "A run that is no longer kept")),
            agents.get(one.agent_id or "", ""),
            one.total,
        )
        for one in found
    ]


def runs_figure(now: int, before: int) -> Figure:
    """Return the headline figure that is counted last, because no index has it."""
    return _figure("Runs", now, before, words.number)


def change(now: float, before: float) -> str:
    """Return how much more or less something is, as +12 %; nothing where there was nothing."""
    if not before:
        return ""
    per_cent = round(100 * (now - before) / before)
    return f"{'+' if per_cent > 0 else '−' if per_cent < 0 else '±'}{words.number(abs(per_cent))} %"


def told_span(span: Span) -> str:
    """Return days as people say them: 24 November 2026, 1 – 30 November 2026, 26 October – 24 November 2026."""
    first, last = span.first, span.last
    end = f"{last.day} {last:%B %Y}"
    if first == last:
        return end
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day} – {end}"
    return f"{first.day} {first:%B}{f' {first.year}' if first.year != last.year else ''} – {end}"


def share(part: int, whole: int) -> float:
    """Return a part of a whole, from 0 to 1."""
    return part / whole if whole else 0.0


def _figures(now: Totals, before: Totals) -> list[Figure]:
    tokens = [_figure(label, getattr(now, name), getattr(before, name), words.tokens) for name, label, _ in CLASSES]
    rate, earlier = now.hit_rate, before.hit_rate
    cost = Figure(
        "Cost", words.money(now.cost_usd), words.exact_money(now.cost_usd),
        change(now.cost_micros, before.cost_micros), words.money(before.cost_usd),
    )  # fmt: skip
    cached = Figure(
        "Cache hit rate", words.per_cent(rate), "of what models were asked with", _points(rate, earlier),
        words.per_cent(earlier),
    )  # fmt: skip
    return [cost, *tokens, cached]


def _figure(label: str, now: int, before: int, said: Callable[[int], str]) -> Figure:
    return Figure(label, said(now), words.number(now), change(now, before), said(before))


def _points(now: float | None, before: float | None) -> str:
    """Return the difference of two rates, which is no rate of them."""
    if now is None or before is None:
        return ""
    points = round(100 * (now - before))
    return f"{'+' if points > 0 else '−' if points < 0 else '±'}{abs(points)} points"


def _part(trend: Trend, key: str | None, n: int, query: UsageQuery, names: Mapping[str, str]) -> Part:
    total = trend.of(key)
    by = query.told_by
    if key is None:
        name = f"{words.number(trend.others)} other{'s' if trend.others > 1 else ''}"
    elif not key:
        name = f"Without {'an' if by == 'agent' else 'a'} {by}"
    else:
        name = names.get(key, key)
    is_chosen = getattr(query, by) == key
    path = query.path(**{by: key, "by": _BELOW[by]}) if key and not is_chosen else None
    return Part(key, name, f"c{n}", path, total, share(total.cost_micros, trend.total.cost_micros))


def _rows(trend: Trend, parts: Sequence[Part], query: UsageQuery) -> tuple[str, list[Row]]:
    each = "hour" if trend.slots[0].at else "day"
    if any(slot.first != slot.last for slot in trend.slots):
        each = "month"
    several_years = trend.span.first.year != trend.span.last.year
    rows = []
    for n, slot in enumerate(trend.slots):
        first, last = slot.first.isoformat(), slot.last.isoformat()
        label, below = _told(slot, each, several_years=several_years)
        rows.append(
            Row(
                label, below, first, last,
                None if each == "hour" else query.path(**{"from": first, "to": last}),
                trend.at(n),
                [trend.sums.get((n, part.key), Totals()).cost_micros for part in parts],
            )
        )  # fmt: skip
    return each, rows


def _told(slot: Slot, each: str, *, several_years: bool) -> tuple[str, str]:
    """Return what a bar is of, and in a few letters."""
    if slot.at is not None:
        return f"{slot.at:%H:%M}", f"{slot.at:%H:%M}"
    if each == "month":
        return f"{slot.first:%B %Y}", f"{slot.first:%b %Y}" if several_years else f"{slot.first:%b}"
    return f"{slot.first:%a} {slot.first.day} {slot.first:%B}", f"{slot.first.day} {slot.first:%b}"
