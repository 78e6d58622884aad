"""How many requests a minute each key of an org may send, where the key itself doesn't say."""

from __future__ import annotations

from corral.base.errors import NotFound
from corral.platform import audit, orgs
from corral.platform.database import Rows, Unit, commit, sql


async def get(org_id: int) -> int | None:
    """Return the org's own limit, 0 for none; None: the server's."""
    return await commit(_get(org_id))


async def change(org_id: int, limit: int | None) -> None:
    """Set it. Servers go by it within a second, which is how long they trust what they know of a key."""
    await commit(_change(org_id, limit))


def _get(org_id: int) -> Unit[int | None]:
    rows = yield sql("SELECT rate_limit FROM orgs WHERE id = $1", org_id)
    return _found(rows, org_id)


def _change(org_id: int, limit: int | None) -> Unit[None]:
    yield from orgs.lock(org_id)
    before = yield from _get(org_id)
    yield sql("UPDATE orgs SET rate_limit = $2 WHERE id = $1", org_id, limit)
    if changed := audit.changes({"rate_limit": before}, {"rate_limit": limit}):
        yield from audit.note(org_id, "limits.changed", "limits", str(org_id), **changed)


def _found(rows: Rows, org_id: int) -> int | None:
    if not rows:
        raise NotFound(f"There is no org {org_id}")
    limit: int | None = rows[0]["rate_limit"]
    return limit
