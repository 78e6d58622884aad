"""Spending as files for spreadsheets: the rows that its page's tables show, exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from corral.web.console.budget_views import BudgetView
from corral.web.console.usage_views import CLASSES, Row, TopRun, UsageReport, share
from corral.web.present.csv import dollars

Sheet = tuple[list[str], list[list[object]]]


def runs(found: Sequence[TopRun]) -> Sheet:
    """Return the most expensive runs."""
    return ["run_id", "run", "agent", "total_tokens", "cache_hit_rate", "cost_usd"], [
        [one.id, one.title, one.agent, one.total.tokens, _rate(one.total.hit_rate), dollars(one.total.cost_micros)]
        for one in found
    ]


def budgets(found: Sequence[BudgetView]) -> Sheet:
    """Return the fullest budgets."""
    return ["budget", "scope", "for", "period", "limit_usd", "percent", "spent_usd", "left_usd"], [
        [
            one.told.name, one.told.scope, one.told.target_name, one.told.period, *_usd(one.told.limit_usd),
            one.told.percent, *_usd(one.told.spent_usd, one.told.left_usd),
        ]
        for one in found
    ]  # fmt: skip


def _usd(*amounts: float) -> list[str | None]:
    return [dollars(round(amount * 1_000_000)) for amount in amounts]


def _cost(report: UsageReport) -> Sheet:
    return [report.told_by, "id", "total_tokens", "share", "cost_usd"], [
        [part.name, part.key, part.total.tokens, _rate(part.share), dollars(part.total.cost_micros)]
        for part in report.parts
    ]


def _cost_by_time(report: UsageReport) -> Sheet:
    return [report.each, *(part.name for part in report.parts), "total_usd"], [
        [_when(row, report), *map(dollars, row.costs), dollars(row.total.cost_micros)] for row in report.rows
    ]


def _cache(report: UsageReport) -> Sheet:
    return [report.told_by, "id", "asked_tokens", "cache_read_tokens", "cache_hit_rate"], [
        [part.name, part.key, part.total.asked_tokens, part.total.cache_read_tokens, _rate(part.total.hit_rate)]
        for part in report.parts
    ]


def _tokens(report: UsageReport) -> Sheet:
    return ["class", "share", "tokens"], [
        [name, _rate(share(getattr(report.total, name), report.total.tokens)), getattr(report.total, name)]
        for name, _, _ in CLASSES
    ]


def _tokens_by_time(report: UsageReport) -> Sheet:
    return [report.each, *(name for name, _, _ in CLASSES), "cache_hit_rate"], [
        [_when(row, report), *(getattr(row.total, name) for name, _, _ in CLASSES), _rate(row.total.hit_rate)]
        for row in report.rows
    ]


#: By the name that the address of an export has.
SHEETS: dict[str, Callable[[UsageReport], Sheet]] = {
    "cost": _cost,
    "cost-by-time": _cost_by_time,
    "cache": _cache,
    "tokens": _tokens,
    "tokens-by-time": _tokens_by_time,
}


def _rate(rate: float | None) -> str | None:
    return None if rate is None else f"{rate:.6f}"


def _when(row: Row, report: UsageReport) -> str:
    return {"hour": f"{row.first} {row.label}", "day": row.first, "month": row.first[:7]}[report.each]
