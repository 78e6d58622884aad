"""Budgets, and how they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from corral.runs.admission import Standing
from corral.usage import alerts
from corral.usage.alerts import Alert
from corral.usage.budgets import Whose
from corral.web.present.times import shown


class AlertView(msgspec.Struct):
    """So much of a budget was spent."""

    percent: int  #: 50, 80 or 100
    at: str


class BudgetView(msgspec.Struct, kw_only=True):
    """A budget, and how it stands in its present period."""

    id: str
    name: str
    scope: str  #: org, team, agent, task or key
    target: str | None  #: a team's name, or an id; of a tree of tasks, its root's; null of the org
    target_name: str  #: what that is called; empty if it is gone
    limit_usd: float
    period: str  #: day, week, month or total
    tz: str  #: whose days
    hard: bool  #: stops runs; else it only warns
    spent_usd: float
    reserved_usd: float  #: kept for runs that are under way
    left_usd: float  #: neither spent nor kept
    percent: float  #: of the limit that is spent; more than 100 if the last answers cost more than was left
    level: str  #: ok, 50, 80 or 100
    period_start: str | None  #: null of one that has no periods
    period_end: str | None
    alerts: list[AlertView]  #: told in this period
    paused_runs: int  #: that go on once there is money again
    held_runs: int  #: that begin then
    created_at: str
    updated_at: str


def budget_view(standing: Standing, told: Sequence[Alert], names: Mapping[Whose, str]) -> BudgetView:
    """Show a budget."""
    budget, spent = standing.budget, standing.spent
    span, top = budget.span(standing.now), alerts.reached(budget, spent)
    return BudgetView(
        id=budget.id,
        name=budget.name,
        scope=budget.scope,
        target=budget.target or None,
        target_name=names.get(budget.whose, ""),
        limit_usd=_dollars(budget.limit_micros),
        period=budget.period,
        tz=budget.tz,
        hard=budget.hard,
        spent_usd=_dollars(spent),
        reserved_usd=_dollars(standing.reserved),
        left_usd=_dollars(max(0, standing.room)),
        percent=round(spent * 100 / budget.limit_micros, 2),
        level=str(top) if top else "ok",
        period_start=shown(span.began) if span else None,
        period_end=shown(span.ended) if span else None,
        alerts=[AlertView(alert.percent, shown(alert.created_at) or "") for alert in told],
        paused_runs=standing.paused,
        held_runs=standing.held,
        created_at=shown(budget.created_at) or "",
        updated_at=shown(budget.updated_at) or "",
    )


def _dollars(micros: int) -> float:
    return micros / 1_000_000
