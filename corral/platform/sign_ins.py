"""Sign-ins as people see them: from where, since when, and the way to end them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from corral.base.errors import BadRequest, NotFound
from corral.platform import audit, sign_in
from corral.platform.access import Principal
from corral.platform.database import Row, Unit, commit, fetch, sql


@dataclass(frozen=True, slots=True)
class SignIn:
    """A browser that somebody is signed in with."""

    id: str
    user_id: str
    user_name: str
    org_id: int  #: that it looks at now
    means: str  #: link, password or oidc
    address: str
    agent: str  #: what the browser calls itself
    created_at: int
    expires_at: int
    last_used_at: int | None  #: to the minute
    is_current: bool  #: it is the one that asks


async def own(by: Principal, *, limit: int, before: str | None = None) -> list[SignIn]:
    """Return the caller's sign-ins, newest first: of a person all, of a key those that look at its org."""
    if by.sign_in is None:
        return await of_org(by, limit=limit, before=before, user_id=by.user_id or "")
    return await _page(by, "s.user_id = $1", [by.user_id], limit, before)


async def of_org(by: Principal, *, limit: int, before: str | None = None, user_id: str | None = None) -> list[SignIn]:
    """Return sign-ins that look at the caller's org, of all its people or of one, newest first."""
    if user_id is None:
        return await _page(by, "s.org_id = $1", [by.org_id], limit, before)
    return await _page(by, "s.org_id = $1 AND s.user_id = $2", [by.org_id, user_id], limit, before)


async def is_own(by: Principal, sign_in_id: str) -> bool:
    """Tell whether this is one of the caller's own; of a key's owner, one that looks at the key's org."""
    rows = await fetch("SELECT org_id FROM sign_ins WHERE id = $1 AND user_id = $2", sign_in_id, by.user_id)
    return bool(rows) and (by.sign_in is not None or rows[0]["org_id"] == by.org_id)


async def is_current(by: Principal, sign_in_id: str) -> bool:
    """Tell whether this is the one that the caller calls with."""
    return bool(await fetch("SELECT 1 FROM sign_ins WHERE id = $1 AND hash = $2", sign_in_id, by.sign_in))


async def end_own(by: Principal, sign_in_id: str) -> None:
    """End one of the caller's own sign-ins, whichever org it looks at."""
    assert by.user_id is not None
    await commit(_end("user_id = $2", sign_in_id, by.user_id, actor=by.actor))
    sign_in.tell(by.user_id)


async def end_others(by: Principal) -> None:
    """End all of the caller's sign-ins but the one that asks."""
    assert by.user_id is not None
    await commit(_end_others(by))
    sign_in.tell(by.user_id)


async def end_in_org(org_id: int, sign_in_id: str) -> None:
    """End a sign-in that looks at this org."""
    sign_in.tell(await commit(_end("org_id = $2", sign_in_id, org_id)))


async def _page(by: Principal, where: str, args: Sequence[Any], limit: int, before: str | None) -> list[SignIn]:
    at = len(args)
    query = (
        f"SELECT {_COLUMNS} FROM sign_ins s JOIN users u ON u.id = s.user_id WHERE {where} AND s.expires_at > now_ms()"  # noqa: S608
    )
    if before is not None:
        found = await fetch(f"{query} AND s.id = ${at + 1}", *args, before)
        if not found:
            raise BadRequest(f"before: there is no sign-in {before} here", field="before")
        query += f" AND (s.created_at, s.id) < (${at + 1}, ${at + 2})"
        args = [*args, found[0]["created_at"], before]
        at += 2
    rows = await fetch(f"{query} ORDER BY s.created_at DESC, s.id DESC LIMIT ${at + 1}", *args, limit)
    return [_sign_in(row, by) for row in rows]


def _end(whose: str, sign_in_id: str, of: object, *, actor: str | None = None) -> Unit[str]:
    query = f"DELETE FROM sign_ins WHERE id = $1 AND {whose} RETURNING org_id, user_id"  # noqa: S608 - ours
    rows = yield sql(query, sign_in_id, of)
    if not rows:
        raise NotFound(f"There is no sign-in {sign_in_id}")
    yield from audit.note(rows[0]["org_id"], "sign_in.ended", "user", rows[0]["user_id"], actor=actor)
    return str(rows[0]["user_id"])


def _end_others(by: Principal) -> Unit[None]:
    query = "DELETE FROM sign_ins WHERE user_id = $1 AND hash <> $2 RETURNING org_id, user_id"
    for row in (yield sql(query, by.user_id, by.sign_in or "")):
        yield from audit.note(row["org_id"], "sign_in.ended", "user", row["user_id"], actor=by.actor)


_COLUMNS = (
    "s.hash, s.id, s.user_id, u.name AS user_name, s.org_id, s.means, s.address, s.agent, s.created_at, s.expires_at, "
    "s.last_used_at"
)


def _sign_in(row: Row, by: Principal) -> SignIn:
    return SignIn(
        id=row["id"],
        user_id=row["user_id"],
        user_name=row["user_name"],
        org_id=row["org_id"],
        means=row["means"],
        address=row["address"],
        agent=row["agent"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        last_used_at=row["last_used_at"],
        is_current=row["hash"] == by.sign_in,
    )
