"""The audit log: who did what to what, when and from where; filtered, and exported as it is filtered."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from urllib.parse import urlencode

import msgspec

from corral.base.errors import BadRequest
from corral.platform import acting, audit, orgs, plans
from corral.platform.access import Role
from corral.platform.audit import Only
from corral.web import answers
from corral.web.answers import Answer
from corral.web.call import Call
from corral.web.console import audit_views
from corral.web.console.page import page
from corral.web.routes import Routes

route = Routes("console", hidden=True, content=answers.HTML)

_PAGE = 100
_AUDIT = "/app/audit"
#: Who acts without being a person or a key of the org.
_SYSTEM = {acting.OPERATOR.actor: "The operator", acting.CORRAL.actor: "Corral itself"}


class AuditQuery(msgspec.Struct):
    """Which lines. Days are those of UTC."""

    actor: str = ""
    action: str = ""
    kind: str = ""
    target: str = ""
    first: str = ""
    last: str = ""
    before: str = ""


@route.get(_AUDIT, scope="audit:read", role=Role.ADMIN)
async def audit_page(call: Call, query: AuditQuery) -> Answer:
    """List lines, newest first."""
    since, until = _day(query.first, "first"), _day(query.last, "last")
    until = until and until + timedelta(days=1)
    only = Only(
        actor=query.actor or None, action=query.action or None, target_kind=query.kind or None,
        target_id=query.target or None, since=_ms(since), until=_ms(until),
    )  # fmt: skip
    found = await audit.page(call.org_id, only, limit=_PAGE + 1, before=query.before or None)
    shown = await audit_views.views(call.org_id, found[:_PAGE])
    asked = {name: value for name, value in msgspec.structs.asdict(query).items() if value and name != "before"}
    return await page(
        call, "audit.html", "audit", lines=shown, query=query, filtered=bool(asked),
        path=_path({**asked, "before": query.before}),
        people=await _people(call.org_id, query.actor, shown), actions=audit_views.ACTIONS, known=audit_views.KNOWN,
        export=_export(only, since, until), days=call.settings.audit_days,
        may_export=plans.current().of(call.caller.plan).has("audit_export"),
        same_actor=lambda line: _path({**asked, "actor": line.actor}),
        same_thing=lambda line: _path({"target": line.target_id}),
        newest=_path(asked) if query.before else None,
        older=_path({**asked, "before": shown[-1].id}) if len(found) > _PAGE else None,
    )  # fmt: skip


async def _people(org_id: int, chosen: str, shown: list[audit_views.LineView]) -> dict[str, str]:
    """Return who may be chosen: the org's people and the system, and whoever is chosen now."""
    people = {**await orgs.people(org_id), **_SYSTEM}
    if chosen and chosen not in people:
        people[chosen] = shown[0].who if shown else audit_views.called(chosen, {})
    return people


def _export(only: Only, since: datetime | None, until: datetime | None) -> str:
    """Return where the same lines are a table, all of them."""
    asked = {"actor": only.actor, "action": only.action, "target_kind": only.target_kind, "target_id": only.target_id}
    times = {"since": since and since.isoformat(), "until": until and until.isoformat()}
    return f"/api/audit?{urlencode({n: v for n, v in {**asked, **times, 'format': 'csv'}.items() if v})}"


def _path(asked: Mapping[str, str]) -> str:
    given = {name: value for name, value in asked.items() if value}
    return f"{_AUDIT}?{urlencode(given)}" if given else _AUDIT


def _day(text: str, field: str) -> datetime | None:
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise BadRequest(f"{field} must be a day, as 2026-11-01, not {text[:50]!r}", field=field) from None
    if not 1970 <= day.year < 2200:
        raise BadRequest(f"{field}: {day} is not between 1970 and 2200", field=field)
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)
