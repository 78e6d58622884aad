"""Budgets as pages show them: how full they are, of whom, and what they have stopped."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from corral.platform.access import Principal
from corral.runs import admission, reads
from corral.runs.models import Run
from corral.usage import budgets
from corral.usage.budgets import Budget
from corral.web.api import budgets as api
from corral.web.present.budgets import BudgetView as Told

#: How far a budget is: the class that colours it, and its word.
LEVELS = {
    "ok": ("completed", "Fine"),
    "50": ("waiting", "Over 50 %"),
    "80": ("waiting", "Over 80 %"),
    "100": ("failed", "Used up"),
}
MARKS = (50, 80, 100)
#: What periods are called: after an amount, and as a choice.
PERIODS = (("day", "a day", "Each day"), ("week", "a week", "Each week"), ("month", "a month", "Each month"),
           ("total", "in all", "Once, in all"))  # fmt: skip
_WIDTH = 1000
#: Seconds for which half of a budget is news.
_LATELY = 86_400.0
_RUNS = 20


@dataclass(frozen=True, slots=True)
class Bar:
    """Where things stand in a bar that is 1000 wide; one that is overdrawn is drawn smaller."""

    spent: int
    reserved: int  #: beside it
    marks: list[tuple[int, int]]  #: percent, and where


@dataclass(frozen=True, slots=True)
class BudgetView:
    """One budget: a row of the list, or the head of its page."""

    told: Told
    status: str  #: the class that colours it
    word: str
    whose: str
    path: str | None  #: of whom it is for
    every: str  #: after an amount: `a day`
    bar: Bar
    ends_at: int | None
    alerts: list[tuple[int, int]]  #: percent, and when


def budget_view(told: Told) -> BudgetView:
    """Return a budget's view."""
    status, word = LEVELS[told.level]
    return BudgetView(
        told=told,
        status=status,
        word=word if told.hard or told.level != "100" else "Overspent",
        whose=_whose(told),
        path=_path(told),
        every=next(every for period, every, _ in PERIODS if period == told.period),
        bar=_bar(told),
        ends_at=_ms(told.period_end) if told.period_end else None,
        alerts=[(alert.percent, _ms(alert.at)) for alert in reversed(told.alerts)],
    )


async def stopped(budget: Budget) -> list[Run]:
    """Return runs that a budget keeps from going on, those that are paused first."""
    wanted = await admission.stopped(budget)
    runs = {run.id: run for run in await reads.some(budget.org_id, wanted[:_RUNS])}
    return [runs[one] for one in wanted if one in runs]


async def alarming(caller: Principal) -> list[BudgetView]:
    """Return the budgets that somebody should know of: nearly used up, or far enough for a word since lately."""
    if not caller.has("usage:read"):
        return []
    since = (time.time() - _LATELY) * 1000
    found = [budget_view(told) for told in await api.views(caller.org_id, await budgets.page(caller.org_id))]
    telling = [one for one in found if one.told.level in {"80", "100"} or any(at >= since for _, at in one.alerts)]
    return sorted(telling, key=lambda one: -one.told.percent)


async def count_stopping(caller: Principal) -> int:
    """Return how many of these budgets keep runs from going on, which they do until somebody raises them."""
    hard = [budget for budget in await budgets.page(caller.org_id) if budget.hard] if caller.has("usage:read") else []
    if not hard:
        return 0
    return sum(
        standing.spent * 100 >= standing.budget.limit_micros * 80 and standing.held + standing.paused > 0
        for standing in await admission.look(caller.org_id, hard)
    )


def _whose(told: Told) -> str:
    name = told.target_name or "something that is gone"
    kinds = {"team": "team", "task": "tree of", "key": "API key"}
    return "the whole org" if told.scope == "org" else f"{kinds.get(told.scope, '')} {name}".strip()


def _path(told: Told) -> str | None:
    if not told.target_name or told.target is None:
        return None
    pages = {"agent": f"/app/agents/{quote(told.target)}", "task": f"/app/tasks/{quote(told.target)}"}
    return pages.get(told.scope, "/app/keys" if told.scope == "key" else "/app/agents")


def _bar(told: Told) -> Bar:
    whole = max(told.limit_usd, told.spent_usd)
    spent = round(_WIDTH * told.spent_usd / whole)
    reserved = min(_WIDTH - spent, round(_WIDTH * told.reserved_usd / whole))
    marks = [(mark, round(_WIDTH * told.limit_usd * mark / 100 / whole)) for mark in MARKS]
    return Bar(spent, reserved, marks)


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)
