"""Idempotency-Key: a POST that is sent again is answered again, not done again.

A row per org, path and key holds a digest of the body and an id minted for the thing the request makes. A body may be
little more than a password, so its digest is keyed with the Idempotency-Key, of which only the hash is stored: who has
a copy of the table cannot try what the body may have been.

Only successes are kept: a request that failed did nothing, so its key is free again. A server that died in flight left
its row unfinished; after a while the repeat takes it over and, making the thing under the same minted id, finds what
the first has made.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import sha256

from corral.base.errors import Conflict
from corral.base.ids import new_id
from corral.platform.database import Row, Unit, commit, fetch, sql

_KEPT_MS = 24 * 3600 * 1000
#: After so long in flight, the server that worked on a request is taken for dead.
_STALE_MS = 60 * 1000


@dataclass(frozen=True, slots=True)
class Begun:
    """This request is the one that does it: the thing it makes gets `minted_id`."""

    row_id: int
    minted_id: str
    at: int  #: another moment, once a repeat has taken it over


@dataclass(frozen=True, slots=True)
class Answered:
    """This request was answered before, so."""

    status: int
    content_type: str | None
    answer: str


async def begin(org_id: int, path: str, key: str, body: bytes) -> Begun | Answered:
    """Start a request under its key. Raises Conflict for another body, one in flight, and an answer not kept."""
    return await commit(_begin(org_id, path, _hashed(key), _digest(key, body)))


async def join(org_id: int, path: str, key: str, body: bytes) -> Begun:
    """Start a request that is answered by a stream, or find the one that was: both make, and watch, the same thing."""
    return await commit(_join(org_id, path, _hashed(key), _digest(key, body)))


async def finish(begun: Begun, *, status: int, answer: str | None, content_type: str | None) -> None:
    """Keep what was answered; None for an answer that holds a secret, which is never given twice."""
    await fetch(
        "UPDATE repeatable_requests SET status = $2, answer = $3, content_type = $4 WHERE id = $1",
        begun.row_id,
        status,
        answer,
        content_type,
    )


async def release(begun: Begun) -> None:
    """Free the key of a request that failed, unless a repeat has taken it over and is still at it."""
    await fetch(
        "DELETE FROM repeatable_requests WHERE id = $1 AND status IS NULL AND created_at = $2", begun.row_id, begun.at
    )


async def sweep() -> None:
    """Delete what is older than a day."""
    await fetch("DELETE FROM repeatable_requests WHERE created_at < now_ms() - $1", _KEPT_MS)


def _begin(org_id: int, path: str, key: str, body_hash: str) -> Unit[Begun | Answered]:
    row, is_new = yield from _row(org_id, path, key, body_hash)
    if is_new:
        return _begun(row)
    if row["status"] is None:
        taken = yield sql(
            "UPDATE repeatable_requests SET created_at = now_ms() "
            "WHERE id = $1 AND status IS NULL AND created_at < now_ms() - $2 RETURNING id, minted_id, created_at",
            row["id"],
            _STALE_MS,
        )
        if taken:
            return _begun(taken[0])
        raise Conflict("A request with this Idempotency-Key is still in flight; wait for its answer")
    if row["answer"] is None:
        raise Conflict("This request was answered already, with a secret that is shown only once")
    return Answered(row["status"], row["content_type"], row["answer"])


def _join(org_id: int, path: str, key: str, body_hash: str) -> Unit[Begun]:
    row, _ = yield from _row(org_id, path, key, body_hash)
    return _begun(row)


def _row(org_id: int, path: str, key: str, body_hash: str) -> Unit[tuple[Row, bool]]:
    """Return the row of this key, and whether it was made just now; Conflict if that was with another body."""
    yield sql(
        "DELETE FROM repeatable_requests WHERE org_id = $1 AND path = $2 AND key = $3 AND created_at < now_ms() - $4",
        org_id,
        path,
        key,
        _KEPT_MS,
    )
    rows = yield sql(
        "INSERT INTO repeatable_requests (org_id, path, key, body_hash, minted_id, created_at) "
        "VALUES ($1, $2, $3, $4, $5, now_ms()) ON CONFLICT (org_id, path, key) DO NOTHING RETURNING *",
        org_id,
        path,
        key,
        body_hash,
        new_id(),
    )
    if rows:
        return rows[0], True
    rows = yield sql(
        "SELECT * FROM repeatable_requests WHERE org_id = $1 AND path = $2 AND key = $3",
        org_id,
        path,
        key,
    )
    if not rows:  # released between the two statements
        raise Conflict("A request with this Idempotency-Key has just failed; send it again")
    if rows[0]["body_hash"] != body_hash:
        raise Conflict("This Idempotency-Key was used with another body; use a new key for a new request")
    return rows[0], False


def _begun(row: Row) -> Begun:
    return Begun(row["id"], row["minted_id"], row["created_at"])


def _hashed(key: str) -> str:
    return sha256(key.encode()).hexdigest()


def _digest(key: str, body: bytes) -> str:
    return hmac.digest(key.encode(), body, "sha256").hex()
