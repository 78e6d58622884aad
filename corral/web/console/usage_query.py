"""Which spending a page shows, as its address says it: days of a zone, whose, and what is told apart."""

from __future__ import annotations

from datetime import date
from typing import get_args
from urllib.parse import urlencode

import msgspec

from corral.agents import board, epics
from corral.base.errors import BadRequest
from corral.platform import keys, orgs
from corral.runs import reads
from corral.usage import periods
from corral.usage.periods import Span
from corral.usage.reports import Only
from corral.usage.trends import By
from corral.web.console.run_views import title

USAGE = "/app/usage"
#: What one click chooses.
PERIODS = (("day", "Today"), ("week", "7 days"), ("month", "30 days"))
#: What may be told apart, and how those are called that are told so.
BY = tuple((by, f"By {by}") for by in get_args(By))
#: What lines may be chosen by, and how a choice is named.
FILTERS = {
    "agent": "agent",
    "team": "team",
    "model": "model",
    "label": "label",
    "epic": "epic",
    "task": "task",
    "run": "run",
    "key": "key",
    "user": "by",
}


class UsageQuery(msgspec.Struct):
    """What the address says; nothing is chosen where it is empty."""

    period: str = ""
    first: str = msgspec.field(name="from", default="")
    to: str = ""
    tz: str = ""
    by: str = ""
    agent: str = ""
    team: str = ""
    model: str = ""
    label: str = ""
    epic: str = ""
    task: str = ""
    run: str = ""
    key: str = ""
    user: str = ""

    def span(self, now: int) -> Span:
        """Return the days; BadRequest names what cannot be understood."""
        zone = periods.zone(self.tz or "UTC")
        period = self.period or "month"
        if period not in periods.PERIODS:
            raise BadRequest(f"period: {period!r} is none of day, week and month", field="period")
        lately = periods.lately(period, zone, now)
        last = _date(self.to, "to") if self.to else lately.last
        if self.first:
            return periods.between(_date(self.first, "from"), last, zone)
        return periods.between(last - (lately.last - lately.first), last, zone) if self.to else lately

    @property
    def told_by(self) -> By:
        """What is told apart."""
        return next((by for by in get_args(By) if by == self.by), "agent")

    @property
    def only(self) -> Only:
        """Whose lines."""
        return Only(
            agent_id=self.agent or None,
            team=self.team or None,
            model=self.model or None,
            label=self.label or None,
            epic_id=self.epic or None,
            task_id=self.task or None,
            run_id=self.run or None,
            key_id=self.key or None,
            user_id=self.user or None,
        )

    @property
    def chosen(self) -> dict[str, str]:
        """The filters that are set."""
        return {name: value for name in FILTERS if (value := getattr(self, name))}

    def path(self, base: str = USAGE, **changes: str) -> str:
        """Return the address of this page with changes; days and a period take each other's place."""
        said = zip(UsageQuery.__struct_encode_fields__, msgspec.structs.astuple(self), strict=False)
        asked = {name: value for name, value in said if value}
        if asked.get("from") or changes.get("from"):
            asked.pop("period", None)
        if changes.get("period"):
            asked.pop("from", None)
            asked.pop("to", None)
        asked = {name: value for name, value in {**asked, **changes}.items() if value and (name, value) not in _USUAL}
        return f"{base}?{urlencode(asked)}" if asked else base


_USUAL = {("period", "month"), ("by", "agent"), ("tz", "UTC")}


async def names(org_id: int, query: UsageQuery) -> dict[str, str]:
    """Return what the chosen things are called, by filter, where their ids don't say it; unknown ones as asked for."""
    found: dict[str, str] = {}
    for name, id_ in query.chosen.items():
        called: str | None = None
        match name:
            case "epic":
                called = (await epics.titles(org_id, [id_])).get(id_)
            case "task":
                called = (await board.titles(org_id, [id_])).get(id_)
            case "run":
                prompt = (await reads.prompts(org_id, [id_])).get(id_)
                called = prompt and title(prompt)
            case "key":
                called = (await keys.names(org_id, [id_])).get(id_)
            case "user":
                called = (await orgs.people(org_id)).get(f"user:{id_}")
        found[name] = called or id_
    return found


def _date(text: str, field: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise BadRequest(f"{field}: {text!r} is no day; it looks like 2026-11-24", field=field) from error
