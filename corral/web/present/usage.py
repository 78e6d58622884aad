"""What was spent, as Fleetrun sums it up."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from corral.usage.ledger import MS_A_DAY, Totals
from corral.usage.reports import Report


class Spent(msgspec.Struct, kw_only=True):
    """Tokens in four classes, none part of another, their sum, and what they cost."""

    total_tokens: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost_usd: float


class AgentSpent(Spent, kw_only=True):
    """What an agent spent."""

    agent_id: str | None  #: null for runs without an agent
    name: str
    task_count: int  #: tasks it was given


class ModelSpent(Spent, kw_only=True):
    """What was spent on a model."""

    model: str


class DaySpent(Spent, kw_only=True):
    """What was spent on a day."""

    date: str  #: UTC


class UsageView(Spent, kw_only=True):
    """What was spent in a period, and how many tasks were made in it."""

    task_count: int
    by_agent: list[AgentSpent]  #: most tokens first
    by_model: list[ModelSpent]  #: likewise
    daily_breakdown: list[DaySpent]  #: every day, oldest first


def usage_view(report: Report, tasks: Mapping[str, int], names: Mapping[str, str]) -> UsageView:
    """Show a report; `tasks` are counts by agent, `names` what agents are called."""
    agents: dict[str | None, Totals] = {id_: Totals() for id_ in tasks}
    agents |= report.by_agent
    by_agent = [
        AgentSpent(agent_id=id_, name=names.get(id_ or "", ""), task_count=tasks.get(id_ or "", 0), **_fields(total))
        for id_, total in agents.items()
    ]
    by_model = [ModelSpent(model=model, **_fields(total)) for model, total in report.by_model.items()]
    return UsageView(
        task_count=sum(tasks.values()),
        by_agent=sorted(by_agent, key=lambda one: (-one.total_tokens, one.name)),
        by_model=sorted(by_model, key=lambda one: (-one.total_tokens, one.model)),
        daily_breakdown=[DaySpent(date=_date(day), **_fields(total)) for day, total in report.by_day.items()],
        **_fields(report.total),
    )


def _fields(total: Totals) -> dict[str, Any]:
    return {
        "total_tokens": total.tokens,
        "input_tokens": total.input_tokens,
        "output_tokens": total.output_tokens,
        "cache_read_tokens": total.cache_read_tokens,
        "cache_write_tokens": total.cache_write_tokens,
        "cost_usd": total.cost_usd,
    }


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * MS_A_DAY // 1000, UTC).date().isoformat()
