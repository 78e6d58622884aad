"""The audit log: read, filtered and exported. No route writes or changes it: that is done by every change itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from corral.platform import audit, keys, orgs, plans
from corral.platform.access import Role
from corral.platform.audit import Line, Only
from corral.platform.audited import Action, Kind
from corral.web.answers import Answer
from corral.web.api.paging import MOST, Id, Limit
from corral.web.call import Call
from corral.web.present.audit import HEADERS, LineView, line_row, line_view, target
from corral.web.present.csv import as_csv, stream_csv, wants_csv
from corral.web.routes import Routes

route = Routes("audit")

_FILE = "audit.csv"
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=300)]


class AuditAsked(msgspec.Struct, forbid_unknown_fields=True):
    """Which lines."""

    limit: Limit | None = None  #: 1,000, which is the most; of a table, all there are
    before: Id | None = None  #: a line's id: what comes after it in the list, without it

    actor: Name | None = None  #: key:<id>, user:<id>, run:<id>, runner:<id>, operator or corral
    action: Action | None = None  #: as key.created
    target_kind: Kind | None = None  #: as key
    target_id: Name | None = None
    since: Moment | None = None  #: of this moment or later
    until: Moment | None = None  #: before this moment
    format: Literal["json", "csv"] | None = None  #: where the header Accept cannot say it

    @property
    def size(self) -> int:
        """How many are answered at most."""
        return min(self.limit or MOST, MOST)

    @property
    def only(self) -> Only:
        """The lines, as the log is asked for them."""
        return Only(
            actor=self.actor,
            action=self.action,
            target_kind=self.target_kind,
            target_id=self.target_id,
            since=_ms(self.since),
            until=_ms(self.until),
        )


class LineList(msgspec.Struct):
    """Lines of the audit log, newest first."""

    data: list[LineView]


@route.get("/api/audit", scope="audit:read", role=Role.ADMIN, answer=LineList, csv=True)
async def list_audit(call: Call, query: AuditAsked) -> LineList | Answer | None:
    """List who did what to what, when and from where, newest first. As text/csv without a limit: all of them."""
    is_csv = wants_csv(call.request, query.format)
    if is_csv:
        plans.require(call.caller.plan, "audit_export")
    if is_csv and query.limit is None:
        return await stream_csv(call.request, HEADERS, _all(call, query), _FILE)
    found = await audit.page(call.org_id, query.only, limit=query.size + 1, before=query.before)
    if len(found) > query.size:
        found = found[: query.size]
        call.link_next(**_asked(query), limit=query.size, before=found[-1].id)
    views = await _views(call, found)
    if is_csv:
        return as_csv(HEADERS, map(line_row, views), _FILE)
    return LineList(views)


async def actors(org_id: int, some: Iterable[str]) -> dict[str, str]:
    """Return what the people and keys among these actors are called."""
    wanted = set(some)
    key_ids = [one.removeprefix("key:") for one in wanted if one.startswith("key:")]
    found = {f"key:{id_}": name for id_, name in (await keys.names(org_id, key_ids)).items()} if key_ids else {}
    if any(one.startswith("user:") for one in wanted):
        found |= await orgs.people(org_id)
    return found


async def _all(call: Call, query: AuditAsked) -> AsyncIterator[list[list[object]]]:
    """Yield all lines that are asked for, a page of rows at a time."""
    async for found in audit.pages(call.org_id, query.only, size=MOST, before=query.before):
        yield [line_row(view) for view in await _views(call, found)]


async def _views(call: Call, some: Sequence[Line]) -> list[LineView]:
    names = await actors(call.org_id, (who for line in some for who in (line.actor, target(line))))
    return [line_view(line, names) for line in some]


def _asked(query: AuditAsked) -> dict[str, Any]:
    """Return what was asked for, as the next page asks for it."""
    asked: dict[str, Any] = msgspec.to_builtins(query)
    return {name: value for name, value in asked.items() if name not in {"limit", "before"}}


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)
