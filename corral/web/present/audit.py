"""Lines of the audit log, as JSON and as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from corral.platform.audit import Line
from corral.runs.frames import moment


class LineView(msgspec.Struct, kw_only=True):
    """Who did what to what, when and from where."""

    id: str
    at: str
    actor: str  #: key:<id>, user:<id>, run:<id> or runner:<id>; operator, or corral itself
    actor_name: str | None  #: what that is called; null for runs, and for what is gone
    action: str  #: as key.created
    target_kind: str
    target_id: str
    target_name: str | None  #: what that is called, or was then; null for what has no name
    address: str | None  #: of the caller; null for what the server does by itself
    request_id: str | None
    detail: dict[str, Any]  #: names, and what changed `from` what `to` what


def line_view(line: Line, names: Mapping[str, str]) -> LineView:
    """Show a line."""
    return LineView(
        id=line.id,
        at=moment(line.at),
        actor=line.actor,
        actor_name=names.get(line.actor),
        action=line.action,
        target_kind=line.target_kind,
        target_id=line.target_id,
        target_name=_called(line, names),
        address=line.address,
        request_id=line.request_id,
        detail=line.detail,
    )


HEADERS = LineView.__struct_fields__


def line_row(view: LineView) -> list[object]:
    """Return a line's cells; its detail is JSON in one of them."""
    cells = msgspec.structs.asdict(view)
    return [*list(cells.values())[:-1], msgspec.json.encode(view.detail).decode()]


def target(line: Line) -> str:
    """Return what was changed, by the name that `names` have for people and keys."""
    return f"{line.target_kind}:{line.target_id}"


def _called(line: Line, names: Mapping[str, str]) -> str | None:
    told = (line.detail.get(name) for name in ("name", "title", "email"))
    return next((str(one) for one in told if one), None) or names.get(target(line))
