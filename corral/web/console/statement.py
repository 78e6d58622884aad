"""A month's bill, to be printed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from urllib.parse import urlencode

from corral.platform import database
from corral.usage import periods
from corral.web import answers
from corral.web.answers import Answer
from corral.web.api.usage import StatementAsked, statement
from corral.web.call import Call
from corral.web.console.page import page
from corral.web.console.usage_views import told_span
from corral.web.present.usage import Spent
from corral.web.routes import Routes

route = Routes("console", hidden=True, content=answers.HTML)


@route.get("/app/usage/statement", scope="usage:read")
async def statement_page(call: Call, query: StatementAsked) -> Answer:
    """Show what a month cost: by agent, model and day."""
    bill, report = await statement(call, query)
    asked = {"month": bill.month, "team": bill.team, "label": bill.label, "tz": bill.tz}
    month, now = report.span.first, periods.lately("day", periods.zone(bill.tz), await database.now()).last
    others = [(month - timedelta(days=1)).replace(day=1), report.span.last + timedelta(days=1)]
    agents = [(one.name or one.agent_id or "Runs without an agent", one) for one in bill.by_agent]
    return await page(
        call, "statement.html", "usage", bill=bill, month=f"{month:%B %Y}", days=told_span(report.span),
        export=_address("/api/usage/statement", asked, format="csv"),
        others=[(_address("/app/usage/statement", asked, month=f"{one:%Y-%m}"), f"{one:%B %Y}")
                for one in others if one <= now],
        by_agent=_dearest((name, one) for name, one in agents if one.total_tokens),
        by_model=_dearest((one.model, one) for one in bill.by_model),
        by_day=[(one.date, one) for one in bill.daily_breakdown if one.total_tokens],
    )  # fmt: skip


def _address(path: str, asked: Mapping[str, str | None], **also: str) -> str:
    """Return where a statement of the same is, with changes."""
    return f"{path}?{urlencode({name: value for name, value in {**asked, **also}.items() if value is not None})}"


def _dearest(rows: Iterable[tuple[str, Spent]]) -> list[tuple[str, Spent]]:
    """Return what cost most first, as the usage page has it."""
    return sorted(rows, key=lambda row: (-row[1].cost_usd, row[0]))
