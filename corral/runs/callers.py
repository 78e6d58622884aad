"""A run's own token: it calls Corral's tools for the attempt that is open, and nothing else."""

from __future__ import annotations

import hmac

import msgspec

from corral.base.ids import is_id
from corral.platform import database
from corral.wire.tools import RUN_TOKEN


class Caller(msgspec.Struct, frozen=True):
    """A run that calls."""

    run_id: str
    org_id: int


async def authenticate(token: str) -> Caller | None:
    """Return whose token this is, while that attempt is open."""
    run_id, _, lease = token.removeprefix(RUN_TOKEN).partition("_")
    if not is_id(run_id):
        return None
    rows = await database.fetch("SELECT org_id, lease FROM runs WHERE id = $1 AND attempt_open", run_id)
    shown = lease.encode(errors="surrogateescape")  # as it came, should it be no text
    if not rows or not hmac.compare_digest(str(rows[0]["lease"]).encode(), shown):
        return None
    return Caller(run_id, rows[0]["org_id"])
