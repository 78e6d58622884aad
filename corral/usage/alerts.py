"""Warnings: so much of a budget is spent. Each is told once in a period, for as long as the limit stays."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from corral.platform.database import Unit, commit, fetch, sql
from corral.usage import budgets
from corral.usage.budgets import Budget

#: Percent of a budget.
LEVELS = (50, 80, 100)


class Alert(msgspec.Struct, frozen=True):
    """A budget's level was reached."""

    id: int
    budget_no: int
    period_start: int
    percent: int
    limit_micros: int
    created_at: int


_COLUMNS = ", ".join(Alert.__struct_fields__)
#: What this process knows to be told: budget → beginning of the period, limit, percent.
_told: dict[int, tuple[int, int, int]] = {}


def forget() -> None:
    """Drop what this process knows, because the database behind it is another one now."""
    _told.clear()


def reached(budget: Budget, spent: int) -> int:
    """Return the highest level that is reached; 0 if none is."""
    top = 0
    for level in LEVELS:
        if spent * 100 >= budget.limit_micros * level:
            top = level
    return top


async def tell(budget: Budget, spent: int, now: int) -> None:
    """Tell of the levels that are reached, unless that was told; take back what a higher limit has made untrue."""
    state = budget.began(now), budget.limit_micros, reached(budget, spent)
    if _told.get(budget.no) != state:
        await commit(_tell(budget, spent, now))
        _told[budget.no] = state


def _tell(budget: Budget, spent: int, now: int) -> Unit[None]:
    """Do so within a unit, which takes the budget first, as its removal does.

    Nothing happens if the budget is gone, or has another limit by now: whoever knows that will tell.
    """
    there, _ = yield from budgets.lock([budget])
    if [one.limit_micros for one in there] != [budget.limit_micros]:
        return
    start, top = budget.began(now), reached(budget, spent)
    yield sql(
        "DELETE FROM budget_alerts WHERE budget_no = $1 AND period_start = $2 AND limit_micros <> $3 AND percent > $4",
        budget.no, start, budget.limit_micros, top,
    )  # fmt: skip
    for level in LEVELS:
        if level <= top:
            yield sql(
                "INSERT INTO budget_alerts (org_id, budget_no, period_start, percent, limit_micros, created_at) "
                "VALUES ($1, $2, $3, $4, $5, now_ms()) ON CONFLICT (budget_no, period_start, percent) DO NOTHING",
                budget.org_id, budget.no, start, level, budget.limit_micros,
            )  # fmt: skip


async def present(some: Sequence[Budget], now: int) -> dict[int, list[Alert]]:
    """Return what was told in each budget's present period, lowest level first, by its number."""
    if not some:
        return {}
    starts = {budget.no: budget.began(now) for budget in some}
    numbers = ",".join(map(str, starts))
    rows = await fetch(
        f"SELECT {_COLUMNS} FROM budget_alerts WHERE budget_no IN ({numbers}) AND period_start >= $1 "  # noqa: S608 - integers
        "ORDER BY percent",
        min(starts.values()),
    )
    found: dict[int, list[Alert]] = {}
    for row in rows:
        alert = Alert(*(row[name] for name in Alert.__struct_fields__))
        if alert.period_start == starts[alert.budget_no]:
            found.setdefault(alert.budget_no, []).append(alert)
    return found
