"""What was spent: tokens and tasks, by agent, model and day."""

from __future__ import annotations

from typing import Literal

import msgspec

from corral.agents import board, roster
from corral.usage import reports
from corral.web.api.paging import Id
from corral.web.call import Call
from corral.web.present.usage import UsageView, usage_view
from corral.web.routes import Routes

route = Routes("usage")


class UsageAsked(msgspec.Struct, forbid_unknown_fields=True):
    """Of which days, and of whom."""

    period: Literal["day", "week", "month"] = "month"  #: today, or the last 7 or 30 days; UTC
    agent: Id | None = None


@route.get("/api/usage", scope="usage:read")
async def get_usage(call: Call, query: UsageAsked) -> UsageView:
    """Sum up tokens, costs and tasks, of the org or of one agent."""
    if query.agent is not None:
        await roster.get(call.org_id, query.agent, field="agent")
    report = await reports.report(call.org_id, query.period, query.agent)
    tasks = await board.count(call.org_id, report.since)
    if query.agent is not None:
        tasks = {query.agent: tasks.get(query.agent, 0)}
    return usage_view(report, tasks, await roster.names(call.org_id))
