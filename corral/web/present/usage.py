"""What was spent, as Fleetrun sums it up, and what goes beyond that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from corral.usage.ledger import Line, Totals, sum_of
from corral.usage.reports import Cell, Doubts, Report
from corral.web.present.csv import dollars
from corral.web.present.times import shown


class Spent(msgspec.Struct, kw_only=True):
    """Tokens in four classes, none part of another, their sum, and what they cost."""

    total_tokens: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost_usd: float  #: what counts: what the CLI reported, and where it reported nothing, what the prices say
    reported_cost_usd: float  #: the part of it that was reported


class Series(Spent, kw_only=True):
    """What was spent, and on which days."""

    daily_cost_usd: list[float] | None = None  #: as daily_breakdown; only if `daily` was asked for


class AgentSpent(Series, kw_only=True):
    """What an agent spent."""

    agent_id: str | None  #: null for runs without an agent
    name: str
    task_count: int  #: tasks it was given


class ModelSpent(Series, kw_only=True):
    """What was spent on a model."""

    model: str


class DaySpent(Spent, kw_only=True):
    """What was spent on a day."""

    date: str  #: in the report's time zone


class GroupSpent(Series, kw_only=True):
    """What was spent on a team, an epic, a task or a run, or by a person or a key."""

    id: str | None  #: null for what belongs to none
    name: str


class UsageView(Spent, kw_only=True):
    """What was spent in some days, and how many tasks were made in them."""

    first: str = msgspec.field(name="from")
    to: str  #: the last day
    tz: str
    cache_hit_rate: float | None  #: of what models were asked with, the part that came from their cache
    task_count: int
    by_agent: list[AgentSpent]  #: most tokens first
    by_model: list[ModelSpent]  #: likewise
    daily_breakdown: list[DaySpent]  #: every day, oldest first
    groups: list[GroupSpent] | None = None  #: by what group_by says, the most expensive first
    other_groups: Spent | None = None  #: the sum of those beyond the limit


class LineView(msgspec.Struct, kw_only=True):
    """One line of the ledger."""

    id: int
    created_at: str
    run_id: str | None
    source: str  #: unique in its run
    model: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost_usd: float  #: what counts
    reported_cost_usd: float | None
    computed_cost_usd: float | None
    price_version: int | None  #: of the prices that computed it
    estimated: bool  #: counted from an answer that was cut off
    agent_id: str | None
    team: str | None
    task_id: str | None
    epic_id: str | None
    key_id: str | None
    user_id: str | None
    labels: list[str]


class Grouped(msgspec.Struct):
    """Groups as they are shown, and the sum of the others."""

    shown: list[str | None]
    totals: Mapping[str | None, Totals]
    names: Mapping[str, str]


def usage_view(
    report: Report,
    tasks: Mapping[str, int],
    names: Mapping[str, str],
    *,
    tz: str,
    daily: bool = False,
    grouped: Grouped | None = None,
) -> UsageView:
    """Show a report; `tasks` are counts by agent, `names` what agents are called."""
    agents: dict[str | None, Totals] = {id_: Totals() for id_ in tasks}
    agents |= report.by_agent()
    series = _series(report, daily=daily)
    of_agents, of_models = series(lambda cell: cell.agent_id), series(lambda cell: cell.model)
    by_agent = [
        AgentSpent(
            agent_id=id_,
            name=names.get(id_ or "", ""),
            task_count=tasks.get(id_ or "", 0),
            daily_cost_usd=of_agents(id_),
            **fields(total),
        )
        for id_, total in agents.items()
    ]
    by_model = [
        ModelSpent(model=model, daily_cost_usd=of_models(model), **fields(total))
        for model, total in report.by_model().items()
    ]
    total = report.total
    view = UsageView(
        first=report.span.first.isoformat(),
        to=report.span.last.isoformat(),
        tz=tz,
        cache_hit_rate=total.hit_rate,
        task_count=sum(tasks.values()),
        by_agent=sorted(by_agent, key=lambda one: (-one.total_tokens, one.name)),
        by_model=sorted(by_model, key=lambda one: (-one.total_tokens, one.model)),
        daily_breakdown=[DaySpent(date=day.isoformat(), **fields(sums)) for day, sums in report.by_day().items()],
        **fields(total),
    )
    if grouped is not None:
        of_groups = series(lambda cell: cell.group)
        view.groups = [
            GroupSpent(
                id=id_,
                name=grouped.names.get(id_ or "", ""),
                daily_cost_usd=of_groups(id_),
                **fields(grouped.totals[id_]),
            )
            for id_ in grouped.shown
        ]
        shown = set(grouped.shown)
        if others := [sums for id_, sums in grouped.totals.items() if id_ not in shown]:
            view.other_groups = Spent(**fields(sum_of(others)))
    return view


def line_view(line: Line) -> LineView:
    """Show a line."""
    same = {name: getattr(line, name) for name in Line.__struct_fields__ if name not in _TOLD_OTHERWISE}
    return LineView(
        created_at=shown(line.created_at) or "",
        cost_usd=line.counted_micros / 1_000_000,
        reported_cost_usd=None if line.cost_micros is None else line.cost_micros / 1_000_000,
        computed_cost_usd=None if line.computed_micros is None else line.computed_micros / 1_000_000,
        labels=msgspec.json.decode(line.labels or "[]"),
        **same,
    )


LINE_HEADERS = LineView.__struct_fields__


def line_row(line: Line) -> list[object]:
    """Return a line as cells, its money to the millionth."""
    view = msgspec.structs.asdict(line_view(line))
    view["cost_usd"] = dollars(line.counted_micros)
    view["reported_cost_usd"] = dollars(line.cost_micros)
    view["computed_cost_usd"] = dollars(line.computed_micros)
    view["labels"] = " ".join(view["labels"])
    view["estimated"] = "true" if line.estimated else "false"
    return list(view.values())


TOTAL_HEADERS = (
    "total_tokens", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cost_usd",
    "reported_cost_usd",
)  # fmt: skip


def total_row(total: Totals) -> list[object]:
    """Return sums as cells under TOTAL_HEADERS."""
    return [
        total.tokens,
        total.input_tokens,
        total.output_tokens,
        total.cache_read_tokens,
        total.cache_write_tokens,
        *map(dollars, (total.cost_micros, total.reported_micros)),
    ]


def fields(total: Totals) -> dict[str, Any]:
    """Return the fields of Spent."""
    return {
        "total_tokens": total.tokens,
        "input_tokens": total.input_tokens,
        "output_tokens": total.output_tokens,
        "cache_read_tokens": total.cache_read_tokens,
        "cache_write_tokens": total.cache_write_tokens,
        "cost_usd": total.cost_usd,
        "reported_cost_usd": total.reported_micros / 1_000_000,
    }


_TOLD_OTHERWISE = {"created_at", "cost_micros", "computed_micros", "labels"}


def _series(report: Report, *, daily: bool) -> Callable[[Callable[[Cell], Any]], Callable[[Any], list[float] | None]]:
    """Return what finds each one's cost of every day, if that is wanted."""

    def of(key: Callable[[Cell], Any]) -> Callable[[Any], list[float] | None]:
        if not daily:
            return lambda _: None
        found, none = report.daily(key), [0] * len(report.span.dates)
        return lambda id_: [micros / 1_000_000 for micros in found.get(id_, none)]

    return of


class StatementView(UsageView, kw_only=True):
    """A month's bill, of an org, or of one team or label of it."""

    month: str
    org: str
    team: str | None
    label: str | None
    estimated_lines: int  #: lines of answers that were cut off
    estimated_cost_usd: float  #: what those cost, which is part of the cost
    unpriced_tokens: int  #: of models whose price nobody knows: they cost nothing here


def statement_view(
    usage: UsageView, doubts: Doubts, *, month: str, org: str, team: str | None, label: str | None
) -> StatementView:
    """Show a month's report as a bill."""
    return StatementView(
        month=month,
        org=org,
        team=team,
        label=label,
        estimated_lines=doubts.estimated_lines,
        estimated_cost_usd=doubts.estimated_micros / 1_000_000,
        unpriced_tokens=doubts.unpriced_tokens,
        **msgspec.structs.asdict(usage),
    )
