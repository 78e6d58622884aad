"""What was spent: sums by agent, model, day and more, the ledger they are sums of, and monthly statements."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Annotated, Any, Literal

import msgspec

from corral.agents import board, epics, roster
from corral.base.errors import BadRequest
from corral.platform import database, keys, orgs
from corral.runs import reads
from corral.usage import periods, reports
from corral.usage.periods import Span
from corral.usage.reports import Only, Report
from corral.web.answers import Answer
from corral.web.api.paging import MOST, Count, Id, Limit
from corral.web.call import Call
from corral.web.present.csv import as_csv, wants_csv
from corral.web.present.usage import (
    LINE_HEADERS,
    TOTAL_HEADERS,
    Grouped,
    LineView,
    StatementView,
    UsageView,
    line_row,
    line_view,
    statement_view,
    total_row,
    usage_view,
)
from corral.web.routes import Routes

route = Routes("usage")

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Zone = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Format = Literal["json", "csv"]
GroupBy = Literal["team", "epic", "task", "user", "key", "run"]
#: Characters of a prompt that name a run.
_PROMPT = 100
_CELLS = ("date", "agent_id", "agent", "model")


class Filters(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which lines."""

    agent: Id | None = None
    team: Name | None = None
    label: Name | None = None  #: of the runs
    model: Name | None = None
    epic: Id | None = None
    task: Id | None = None
    run: Id | None = None
    key: Id | None = None
    user: Id | None = None
    first: date | None = msgspec.field(name="from", default=None)  #: the first day
    to: date | None = None  #: the last day; today, if only the first is given
    tz: Zone = "UTC"  #: whose days, as Europe/Berlin
    format: Format | None = None  #: where the header Accept cannot say it

    @property
    def only(self) -> Only:
        """The lines themselves, without their days."""
        return Only(
            agent_id=self.agent,
            team=self.team,
            model=self.model,
            epic_id=self.epic,
            task_id=self.task,
            run_id=self.run,
            key_id=self.key,
            user_id=self.user,
            label=self.label,
        )


class UsageAsked(Filters, kw_only=True):
    """Of which days, of what, and how it is summed up."""

    period: Literal["day", "week", "month"] | None = None  #: today, or the last 7 or 30 days (month, if nothing else)
    group_by: GroupBy | None = None
    limit: Limit = MOST  #: of groups; the others are summed up
    daily: bool = False  #: tell the cost of every day, of each agent, model and group


class LinesAsked(Filters, kw_only=True):
    """Which lines of the ledger."""

    limit: Limit = MOST
    before: Count | None = None  #: a line's id: those that are older


class StatementAsked(msgspec.Struct, forbid_unknown_fields=True):
    """Which month, and of whom."""

    month: Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d{2}$")] | None = None  #: as 2026-11; this one, if left out
    team: Name | None = None
    label: Name | None = None
    tz: Zone = "UTC"
    format: Format | None = None


class LineList(msgspec.Struct):
    """Lines of the ledger, newest first."""

    data: list[LineView]


@route.get("/api/usage", scope="usage:read", answer=UsageView, csv=True)
async def get_usage(call: Call, query: UsageAsked) -> UsageView | Answer:
    """Sum up tokens, costs and tasks. As text/csv: a row for each day, agent, model and group."""
    if query.agent is not None:
        await roster.get(call.org_id, query.agent, field="agent")
    report = await reports.report(call.org_id, await _span(query), query.only, query.group_by)
    if wants_csv(call.request, query.format):
        return await _cells(call, report, query.group_by)
    grouped = await _grouped(call.org_id, report, query) if query.group_by is not None else None
    tasks = await _tasks(call.org_id, report.span, query.only)
    names = await roster.names(call.org_id)
    return usage_view(report, tasks, names, tz=query.tz, daily=query.daily, grouped=grouped)


@route.get("/api/usage/ledger", scope="usage:read", answer=LineList, csv=True)
async def list_usage_lines(call: Call, query: LinesAsked) -> LineList | Answer:
    """List the lines that all sums are sums of, newest first."""
    span = await _days(query)
    size = min(query.limit, MOST)
    found = await reports.lines(call.org_id, query.only, span, limit=size + 1, before=query.before)
    if len(found) > size:
        found = found[:size]
        call.link_next(**_asked(query), limit=size, before=found[-1].id)
    if wants_csv(call.request, query.format):
        return as_csv(LINE_HEADERS, map(line_row, found), "usage-ledger.csv")
    return LineList([line_view(line) for line in found])


@route.get("/api/usage/statement", scope="usage:read", answer=StatementView, csv=True)
async def get_usage_statement(call: Call, query: StatementAsked) -> StatementView | Answer:
    """Bill a month, of the org or of a team or label. As text/csv: a row for each day, agent and model."""
    view, report = await statement(call, query)
    if wants_csv(call.request, query.format):
        return await _cells(call, report, None, f"usage-{view.month}.csv")
    return view


async def statement(call: Call, query: StatementAsked) -> tuple[StatementView, Report]:
    """Return a month's bill, and the report it shows."""
    zone = periods.zone(query.tz)
    month = query.month or f"{periods.lately('day', zone, await database.now()).last:%Y-%m}"
    span = periods.month(month, zone)
    only = Only(team=query.team, label=query.label)
    report = await reports.report(call.org_id, span, only)
    tasks = await _tasks(call.org_id, span, only)
    usage = usage_view(report, tasks, await roster.names(call.org_id), tz=query.tz)
    doubts = await reports.doubts(call.org_id, span, only)
    org, _ = await orgs.names(call.org_id, None)
    view = statement_view(usage, doubts, month=month, org=org, team=query.team, label=query.label)
    return view, report


async def _span(query: UsageAsked) -> Span:
    days = await _days(query)
    if days is None:
        return periods.lately(query.period or "month", periods.zone(query.tz), await database.now())
    if query.period is not None:
        raise BadRequest("period and from are two ways to say which days; send one of them", field="period")
    return days


async def _days(query: Filters) -> Span | None:
    """Return the days from one to another; None if none are named."""
    zone = periods.zone(query.tz)
    if query.first is None:
        if query.to is not None:
            raise BadRequest("to needs from: the first day", field="from")
        return None
    last = query.to or periods.lately("day", zone, await database.now()).last
    return periods.between(query.first, last, zone)


async def _tasks(org_id: int, span: Span, only: Only) -> dict[str, int]:
    """Return how many tasks were made, by agent: all, or an agent's. Of narrower questions there is no count."""
    if msgspec.structs.replace(only, agent_id=None) != Only():
        return {}
    tasks = await board.count(org_id, span.began, span.ended)
    return tasks if only.agent_id is None else {only.agent_id: tasks.get(only.agent_id, 0)}


async def _grouped(org_id: int, report: Report, query: UsageAsked) -> Grouped:
    assert query.group_by is not None
    totals = report.by_group()
    ordered = sorted(totals, key=lambda id_: (-totals[id_].cost_micros, -totals[id_].tokens, id_ or ""))
    shown = ordered[: min(query.limit, MOST)]
    return Grouped(shown, totals, await _names(org_id, query.group_by, shown))


async def _names(org_id: int, group_by: str, ids: Iterable[str | None]) -> dict[str, str]:
    """Return what groups are called."""
    wanted = [id_ for id_ in ids if id_ is not None]
    match group_by:
        case "epic":
            return await epics.titles(org_id, wanted)
        case "task":
            return await board.titles(org_id, wanted)
        case "user":
            return {id_.removeprefix("user:"): name for id_, name in (await orgs.people(org_id)).items()}
        case "key":
            return await keys.names(org_id, wanted)
        case "run":
            return {id_: prompt[:_PROMPT] for id_, prompt in (await reads.prompts(org_id, wanted)).items()}
    return {team: team for team in wanted}


async def _cells(call: Call, report: Report, group_by: str | None, name: str = "usage.csv") -> Answer:
    """Answer the cells that the report's sums are made of."""
    agents = await roster.names(call.org_id)
    headers = [*_CELLS, *([group_by] if group_by else []), *TOTAL_HEADERS]
    rows = [
        [
            cell.on.isoformat(),
            cell.agent_id,
            agents.get(cell.agent_id or ""),
            cell.model,
            *([cell.group] if group_by else []),
            *total_row(cell.total),
        ]
        for cell in sorted(report.cells, key=lambda cell: cell.on)
    ]
    return as_csv(headers, rows, name)


def _asked(query: Filters) -> dict[str, Any]:
    """Return what was asked for, as the next page asks for it."""
    asked: dict[str, Any] = msgspec.to_builtins(query)
    return {name: value for name, value in asked.items() if name not in {"limit", "before"}}
