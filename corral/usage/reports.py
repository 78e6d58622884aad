"""Sums of the ledger over the last days, by agent, model and day."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import msgspec

from corral.platform import database
from corral.usage.ledger import MS_A_DAY, SUMS, Totals, totals_of

K = TypeVar("K", bound=Hashable)

#: Days of each period: today, and those before it.
PERIODS = {"day": 1, "week": 7, "month": 30}


class Report(msgspec.Struct, frozen=True):
    """What was spent in a period."""

    since: int  #: the beginning of its first day, ms
    total: Totals
    by_agent: dict[str | None, Totals]  #: None: runs without an agent
    by_model: dict[str, Totals]
    by_day: dict[int, Totals]  #: every day of the period, in days since 1970


async def report(org_id: int, period: str, agent_id: str | None = None) -> Report:
    """Sum up the days of a period, of all agents or one."""
    only = "AND agent_id = $3 " if agent_id is not None else ""
    now = int((await database.fetch("SELECT now_ms() AS now"))[0]["now"])
    today = now // MS_A_DAY
    first = today - PERIODS[period] + 1
    rows = await database.scan(
        f"SELECT day, agent_id, model, {SUMS} FROM usage_lines WHERE org_id = $1 AND day >= $2 {only}"  # noqa: S608
        "GROUP BY day, agent_id, model ORDER BY day",
        *([org_id, first] if agent_id is None else [org_id, first, agent_id]),
    )
    days: dict[int, Totals] = {day: Totals() for day in range(first, today + 1)}
    return Report(
        since=first * MS_A_DAY,
        total=sum((totals_of(row) for row in rows), Totals()),
        by_agent=_by(rows, lambda row: row["agent_id"]),
        by_model=_by(rows, lambda row: row["model"]),
        by_day=days | _by(rows, lambda row: int(row["day"])),
    )


def _by(rows: database.Rows, key: Callable[[database.Row], Any]) -> dict[Any, Totals]:
    found: dict[Any, Totals] = {}
    for row in rows:
        found[key(row)] = found.get(key(row), Totals()) + totals_of(row)
    return found
