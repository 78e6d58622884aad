"""A month's bill, to be printed."""

from __future__ import annotations

from urllib.parse import urlencode

from corral.web import answers
from corral.web.answers import Answer
from corral.web.api.usage import StatementAsked, statement
from corral.web.call import Call
from corral.web.console.page import page
from corral.web.routes import Routes

route = Routes("console", hidden=True, content=answers.HTML)


@route.get("/app/usage/statement", scope="usage:read")
async def statement_page(call: Call, query: StatementAsked) -> Answer:
    """Show what a month cost: by agent, model and day."""
    bill, _ = await statement(call, query)
    asked = {"month": bill.month, "team": bill.team, "label": bill.label, "tz": bill.tz, "format": "csv"}
    export = urlencode({name: value for name, value in asked.items() if value is not None})
    agents = [(one.name or one.agent_id or "Runs without an agent", one) for one in bill.by_agent]
    return await page(
        call, "statement.html", "usage", bill=bill, export=f"/api/usage/statement?{export}",
        by_agent=[(name, one) for name, one in agents if one.total_tokens],
        by_model=[(one.model, one) for one in bill.by_model],
        by_day=[(one.date, one) for one in bill.daily_breakdown if one.total_tokens],
    )  # fmt: skip
