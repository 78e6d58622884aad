"""What was spent: figures, charts with their tables, the most expensive runs, and all of it as files."""

from __future__ import annotations

from collections.abc import Mapping

from corral.agents import roster
from corral.base.errors import BadRequest, NotFound
from corral.platform import database
from corral.runs import reads
from corral.usage import budgets, drafts, ledger, periods, reports
from corral.usage.periods import Span
from corral.usage.trends import COLUMNS, By, Trend, trend
from corral.web import answers
from corral.web.answers import Answer, empty
from corral.web.api import budgets as budget_api
from corral.web.call import Call
from corral.web.console import usage_sheets
from corral.web.console.budget_views import BudgetView, budget_view
from corral.web.console.page import is_htmx, page
from corral.web.console.runs import said
from corral.web.console.usage_query import BY, FILTERS, PERIODS, UsageQuery, names
from corral.web.console.usage_views import (
    CLASSES,
    TOP,
    TopRun,
    UsageReport,
    runs_figure,
    share,
    told_span,
    top_runs,
    usage_report,
)
from corral.web.present.csv import as_csv
from corral.web.routes import Routes

route = Routes("console", hidden=True, content=answers.HTML)

_RUNS = 10
_BUDGETS = 5
#: Agents that a menu lists by name; of more, those that spent most.
_AGENTS = 300
#: Lines younger than this may still be followed by some with a lower number, whose transaction took longer.
_SETTLED_MS = 60_000


class Shown(UsageQuery):
    """What a region asks that refreshes itself: which lines it has seen."""

    since: str = ""


class Export(UsageQuery):
    """Which table."""

    table: str = ""


@route.get("/app/usage", scope="usage:read")
async def usage_page(call: Call, query: Shown) -> Answer:
    """Show what was spent in some days, and how that went."""
    now = await database.now()
    problem = None
    try:
        span = query.span(now)
    except BadRequest as error:
        problem, span = said(error), periods.lately("month", periods.zone("UTC"), now)
    seen, is_settled = await _seen(call, span, now)
    if _has_seen(call, query, seen, is_settled=is_settled):
        return empty()
    found, report = await _report(call, query, span, now) if problem is None else (None, None)
    doubts = await reports.doubts(call.org_id, span, query.only)
    return await page(
        call, "usage.html", "usage", status=400 if problem else 200, path=query.path(),
        query=query, problem=problem, span=span, told=told_span(span), days=len(span.dates), report=report,
        doubts=doubts, spending=await _spending(call, query, span, now),
        any_lines=seen is not None, refresh=query.path(since=seen or ""), classes=CLASSES, share=share,
        budgets=await _budgets(call, query), periods=PERIODS, choices=BY,
        menus=await _menus(call.org_id, query, found), others=await _others(call, query),
    )  # fmt: skip


@route.get("/app/usage/runs", scope="usage:read")
async def usage_runs_region(call: Call, query: Shown) -> Answer:
    """Return the region of the most expensive runs, which takes longer to find than everything else."""
    now = await database.now()
    span = query.span(now)
    seen, is_settled = await _seen(call, span, now)
    if _has_seen(call, query, seen, is_settled=is_settled):
        return empty()
    runs, count = await _top_runs(call, query, span)
    earlier = await reports.count_runs(call.org_id, *_before(span, now), query.only)
    return await page(
        call, "usage_runs.html", "usage", query=query, runs=runs, count=count, figure=runs_figure(count, earlier),
        days=len(span.dates), refresh=query.path("/app/usage/runs", since=seen or ""),
    )  # fmt: skip


@route.get("/app/usage/export", scope="usage:read", content=answers.CSV)
async def usage_export(call: Call, query: Export) -> Answer:
    """Send one of the page's tables as a file: the rows that it shows."""
    now = await database.now()
    span = query.span(now)
    if query.table == "runs":
        runs, _ = await _top_runs(call, query, span)
        headers, rows = usage_sheets.runs(runs)
    elif query.table == "budgets":
        headers, rows = usage_sheets.budgets(await _budgets(call, query))
    elif query.table in usage_sheets.SHEETS:
        _, report = await _report(call, query, span, now)
        headers, rows = usage_sheets.SHEETS[query.table](report)
    else:
        known = ", ".join([*usage_sheets.SHEETS, "budgets", "runs"])
        raise NotFound(f"There is no table {query.table!r} here; there are {known}")
    return as_csv(headers, rows, f"usage-{query.table}-{span.first}-{span.last}.csv")


async def _report(call: Call, query: UsageQuery, span: Span, now: int) -> tuple[Trend, UsageReport]:
    by = query.told_by
    found = await trend(call.org_id, span, query.only, by, top=TOP)
    before = await reports.spent(call.org_id, *_before(span, now), query.only)
    called = await roster.names(call.org_id) if by == "agent" else {}
    return found, usage_report(found, before, query, called)


async def _spending(call: Call, query: UsageQuery, span: Span, now: int) -> int:
    """Return what budgets and runs count already and lines do not; only of everything, up to now."""
    return await drafts.spending(call.org_id) if not query.chosen and span.began <= now < span.ended else 0


def _before(span: Span, now: int) -> tuple[int, int]:
    """Return the stretch that a span is compared with: as many days before it, as far as it has come itself."""
    before = span.before
    return before.began, min(before.ended, before.began + max(1, now - span.began))


async def _top_runs(call: Call, query: UsageQuery, span: Span) -> tuple[list[TopRun], int]:
    found, count = await reports.dearest_runs(call.org_id, span, query.only, limit=_RUNS)
    prompts = await reads.prompts(call.org_id, [one.run_id for one in found if one.run_id])
    return top_runs(found, prompts, await roster.names(call.org_id)), count


async def _budgets(call: Call, query: UsageQuery) -> list[BudgetView]:
    """Return the budgets over what is shown, the fullest first."""
    mine = {scope: getattr(query, scope) for scope in (budgets.TEAM, budgets.AGENT, budgets.TASK, budgets.KEY)}
    some = [
        one
        for one in await budgets.page(call.org_id)
        if one.scope == budgets.ORG or not any(mine.values()) or mine[one.scope] == one.target
    ]
    told = sorted(await budget_api.views(call.org_id, some), key=lambda one: -one.percent)
    return [budget_view(one) for one in told[:_BUDGETS]]


async def _seen(call: Call, span: Span, now: int) -> tuple[str | None, bool]:
    """Return a mark that changes when there is more to show, and whether no more can come below it."""
    newest = await ledger.newest(call.org_id)
    if newest is None:
        return None, True
    line, at = newest
    return f"{line}.{span.last}", now - at > _SETTLED_MS


def _has_seen(call: Call, query: Shown, seen: str | None, *, is_settled: bool) -> bool:
    return is_htmx(call.request) and is_settled and query.since != "" and query.since == seen


async def _menus(org_id: int, query: UsageQuery, found: Trend | None) -> dict[str, list[tuple[str, str]]]:
    """Return what may be chosen in each menu: what it stands for, and its name."""
    known: Mapping[By, list[str]] = found.known if found else {}
    agents = await roster.names(org_id)
    if len(agents) > _AGENTS:
        agents = {id_: agents[id_] for id_ in known.get("agent", ()) if id_ in agents}
    menus = {
        "agent": sorted(agents.items(), key=lambda one: one[1].casefold()),
        **{by: [(one, one) for one in sorted(known.get(by, ())) if one] for by in ("team", "model")},
    }
    for name, menu in menus.items():
        chosen = getattr(query, name)
        if chosen and chosen not in dict(menu):
            menu.append((chosen, agents.get(chosen, chosen)))
    return menus


async def _others(call: Call, query: UsageQuery) -> list[tuple[str, str, str, str]]:
    """Return the filters without a menu that are set: their word, value, what that is called, the page without them."""
    return [
        (FILTERS[name], query.chosen[name], called, query.path(**{name: ""}))
        for name, called in (await names(call.org_id, query)).items()
        if name not in COLUMNS
    ]
