"""The audit log: who did what to what, when and from where. A change and its line are one transaction, or neither is.

Lines are never changed, and deleted only by `keep` once they are older than the operator wants them; triggers of the
database see to both. What runs do in their course stands in their own logs, and who was given which secret in
`secret_uses`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any

import msgspec

from corral.base.errors import BadRequest
from corral.base.ids import is_id, new_id
from corral.platform import acting
from corral.platform.audited import Action, Kind
from corral.platform.database import Row, Unit, fetch, scan, sql
from corral.platform.statements import Rows

#: Characters that are kept of a text, and of all that a line tells.
_TEXT_MOST = 200
_DETAIL_MOST = 4000
#: Lines that one statement deletes: nobody else waits long for it.
_PIECE = 200
_DAY_MS = 24 * 3600 * 1000

_COLUMNS = ("id", "org_id", "actor", "action", "target_kind", "target_id", "address", "request_id", "detail")
#: How many arguments `values` returns.
WIDTH = len(_COLUMNS)


class Line(msgspec.Struct, frozen=True):
    """One change."""

    id: str
    at: int
    actor: str  #: as `acting` names it
    action: str  #: `<kind>.<past participle>`
    target_kind: str
    target_id: str
    address: str | None
    request_id: str | None
    detail: dict[str, Any]


class Only(msgspec.Struct, frozen=True, kw_only=True):
    """Which lines; what is None does not matter."""

    actor: str | None = None
    action: str | None = None
    target_kind: str | None = None
    target_id: str | None = None
    since: int | None = None  #: ms, inclusive
    until: int | None = None  #: ms, exclusive


def insert(first: int = 1) -> str:
    """Return the statement that writes a line, its placeholders numbered from `first`."""
    marks = ", ".join(f"${n}" for n in range(first, first + WIDTH))
    return f"INSERT INTO audit ({', '.join(_COLUMNS)}, at) VALUES ({marks}, now_ms())"  # noqa: S608 - our columns


_INSERT = insert()


def values(
    org_id: int,
    action: Action,
    target_kind: Kind,
    target_id: str,
    detail: Mapping[str, Any],
    *,
    actor: str | None = None,
) -> tuple[Any, ...]:
    """Return the arguments of `insert`."""
    who = acting.now()
    if actor is None and who.org_id not in {
        None,
        org_id,
    }:  # to this org, who is of another one is whoever looks after the server
        who = acting.OPERATOR
    told = msgspec.json.encode({name: _short(value) for name, value in detail.items() if value is not None}).decode()
    if len(told) > _DETAIL_MOST:
        told = msgspec.json.encode({"too_long": sorted(detail)}).decode()[:_DETAIL_MOST]
    return (
        new_id(), org_id, actor or who.actor, action, target_kind, target_id, who.address, who.request_id, told,
    )  # fmt: skip


def note(
    org_id: int, action: Action, target_kind: Kind, target_id: str, /, *, actor: str | None = None, **detail: Any
) -> Unit[None]:
    """Write down a change within its own unit. `actor` is who acts, where the call could not know it before.

    `detail` is for people: names, and what changed from what to what. No value of a secret, and no prompt, is in it.
    """
    yield sql(_INSERT, *values(org_id, action, target_kind, target_id, detail, actor=actor))


def note_everywhere(user_id: str, action: Action, /, **detail: Any) -> Unit[None]:
    """Write down what people change about their own account: in each org that they are in."""
    rows = yield sql("SELECT org_id FROM members WHERE user_id = $1 ORDER BY no", user_id)
    for row in rows:
        yield from note(row["org_id"], action, "user", user_id, actor=f"user:{user_id}", **detail)


def changes(
    before: Row | Mapping[str, Any], after: Mapping[str, Any], *, untold: Collection[str] = ()
) -> dict[str, Any]:
    """Return what differs, as detail of a line: `from` and `to`; of fields that are `untold` only their names.

    Empty if nothing does: then there is no change to write down.
    """
    changed = {name: value for name, value in after.items() if before[name] != value}
    told = [name for name in changed if name not in untold]
    hidden = sorted(changed.keys() - set(told))
    found: dict[str, Any] = {}
    if told:
        found |= {"from": {name: before[name] for name in told}, "to": {name: changed[name] for name in told}}
    if hidden:
        found["also"] = hidden
    return found


async def page(org_id: int, only: Only, *, limit: int, before: str | None = None) -> list[Line]:
    """Return lines, newest first; `before` is a line's id, exclusive."""
    place = await _place(org_id, before) if before is not None else None
    return [_line(row) for row in await _rows(org_id, only, limit, place)]


async def pages(org_id: int, only: Only, *, size: int, before: str | None = None) -> AsyncIterator[list[Line]]:
    """Yield all lines in pages, newest first. What retention deletes meanwhile is not among them, and stops nobody."""
    place = await _place(org_id, before) if before is not None else None
    while rows := await _rows(org_id, only, size, place):
        yield [_line(row) for row in rows]
        place = rows[-1]["at"], rows[-1]["no"]


async def _rows(org_id: int, only: Only, limit: int, place: tuple[int, int] | None) -> Rows:
    where, args = ["org_id = $1"], list[Any]([org_id])

    def also(condition: str, *more: Any) -> None:
        where.append(condition.format(*(f"${len(args) + n}" for n in range(1, len(more) + 1))))
        args.extend(more)

    for column in ("actor", "action", "target_kind", "target_id"):
        if (wanted := getattr(only, column)) is not None:
            also(f"{column} = {{0}}", wanted)
    if only.since is not None:
        also("at >= {0}", only.since)
    if only.until is not None:
        also("at < {0}", only.until)
    if place is not None:
        also("(at, no) < ({0}, {1})", *place)
    return await scan(  # of what no index is for, such as a kind, it may read far back
        f"SELECT * FROM audit WHERE {' AND '.join(where)} ORDER BY at DESC, no DESC LIMIT {int(limit)}",  # noqa: S608
        *args,
    )


async def floor() -> int:
    """Return before when lines may have been deleted, in ms; 0 if none were."""
    rows = await fetch("SELECT at FROM audit_floor WHERE id = 1")
    return int(rows[0]["at"]) if rows else 0


async def keep(days: int) -> int:
    """Delete lines that are older than so many days, 0 for none; returns how many. A loop of every server."""
    if not days:
        return 0
    # The floor is what the database lets lines be deleted below. It only rises, and stays below thirty days ago.
    rows = await fetch(
        "INSERT INTO audit_floor (id, at) VALUES (1, now_ms() - $1) ON CONFLICT (id) DO UPDATE "
        "SET at = CASE WHEN audit_floor.at < excluded.at THEN excluded.at ELSE audit_floor.at END RETURNING at",
        days * _DAY_MS,
    )
    floor_at, after, deleted = rows[0]["at"], 0, 0
    while old := await _oldest(after, floor_at):
        after = old[-1]["no"]
        gone = await fetch("DELETE FROM audit WHERE no <= $1 AND at < $2 RETURNING no", after, floor_at)
        deleted += len(gone)
        await asyncio.sleep(0)
    return deleted


async def _oldest(after: int, floor_at: int) -> Rows:
    """Return the next lines in the order they were written; none once there is nothing old among them."""
    rows = await fetch("SELECT no, at FROM audit WHERE no > $1 ORDER BY no LIMIT $2", after, _PIECE)
    return rows if any(row["at"] < floor_at for row in rows) else ()


async def _place(org_id: int, line_id: str) -> tuple[int, int]:
    rows = (
        await fetch("SELECT at, no FROM audit WHERE org_id = $1 AND id = $2", org_id, line_id) if is_id(line_id) else ()
    )
    if not rows:
        raise BadRequest(f"before: there is no line {line_id} here", field="before")
    return rows[0]["at"], rows[0]["no"]


def _line(row: Row) -> Line:
    values = {name: row[name] for name in Line.__struct_fields__}
    return Line(**{**values, "detail": msgspec.json.decode(row["detail"])})


def _short(value: Any) -> Any:
    """Return a value as it is told: long texts are cut."""
    if isinstance(value, str):
        return value if len(value) <= _TEXT_MOST else value[: _TEXT_MOST - 1] + "…"
    if isinstance(value, Mapping):
        return {name: _short(one) for name, one in value.items()}
    return [_short(one) for one in value] if isinstance(value, list | tuple) else value
