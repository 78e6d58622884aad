"""Stored events, wherever they are: in rows of their own, or packed by `sealing` with others of their run.

Nobody else can tell: numbers, order and text are the same. One statement reads both, so that who reads while events are
being packed misses none.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from corral.platform import database
from corral.platform.database import Row, Rows
from corral.runs.frames import Logged

#: Packs that are opened in one go.
_AT_ONCE = 4
_ALL = 1 << 40

#: An event as it is packed: seq, attempt, n, type, payload, created_at.
Packed = tuple[int, int, int | None, str, str, int]

_decode = msgspec.msgpack.Decoder(list[Packed]).decode


class _Part(NamedTuple):
    """What one statement found, and how far that is all there is; no end: there is no more."""

    events: list[Logged]
    end: int | None


def pack(rows: Rows) -> bytes:
    """Return rows of `events` as one value."""
    found = [(r["seq"], r["attempt"], r["n"], r["type"], r["payload"], r["created_at"]) for r in rows]
    return zlib.compress(msgspec.msgpack.encode(found), 6)


async def after(run_no: int, seq: int, limit: int | None) -> list[Logged]:
    """Return the first events after a sequence, in ascending order."""
    found: list[Logged] = []
    most = limit if limit is not None else _ALL
    while len(found) < most:
        left = most - len(found)
        part = await _part(await database.scan(_AFTER, run_no, seq, left, _AT_ONCE), left, backwards=False)
        found += [event for event in part.events if event.seq > seq][:left]
        if part.end is None:
            break
        seq = part.end
    return found


async def before(run_no: int, seq: int, *, after: int, limit: int) -> list[Logged]:
    """Return the last events before a sequence and after another, in ascending order."""
    found: list[Logged] = []
    while len(found) < limit:
        left = limit - len(found)
        part = await _part(await database.scan(_BEFORE, run_no, seq, after, left, _AT_ONCE), left, backwards=True)
        found += [event for event in part.events if after < event.seq < seq][:left]
        if part.end is None:
            break
        seq = part.end
    return found[::-1]


async def _part(rows: Rows, wanted: int, *, backwards: bool) -> _Part:
    """Bring together what was found in both places, as far as neither may hold more in between."""
    loose = [_logged(row) for row in rows if row["data"] is None]
    packs = [row for row in rows if row["data"] is not None]
    if not packs:
        return _Part(loose, None)
    near = "first_seq" if backwards else "last_seq"
    ends = [loose[-1].seq] if len(loose) == wanted else []
    ends += [packs[-1][near]] if len(packs) == _AT_ONCE else []
    end = (max(ends) if backwards else min(ends)) if ends else None
    opened = await asyncio.to_thread(_opened, packs)
    events = sorted([*loose, *opened], key=lambda event: event.seq, reverse=backwards)
    if end is not None:
        events = [event for event in events if (event.seq >= end if backwards else event.seq <= end)]
    return _Part(events, end)


def _opened(packs: Sequence[Row]) -> list[Logged]:
    return [
        Logged(seq, attempt, type_, payload, created_at)
        for pack in packs
        for seq, attempt, _, type_, payload, created_at in _decode(zlib.decompress(pack["data"]))
    ]


def _logged(row: Row) -> Logged:
    return Logged(row["seq"], row["attempt"], row["type"], row["payload"], row["created_at"])


#: Both as one answer: rows in their order, then packs in theirs.
_BOTH = (
    "SELECT * FROM (SELECT seq, attempt, type, payload, created_at, CAST(NULL AS BYTEA) AS data, 0 AS first_seq, "
    "0 AS last_seq FROM events WHERE run_no = $1 AND {rows}) AS loose UNION ALL "
    "SELECT * FROM (SELECT 0, 0, '', '', 0, data, first_seq, last_seq FROM event_packs WHERE run_no = $1 AND {packs}) "
    "AS packs"
)
_AFTER = _BOTH.format(
    rows="seq > $2 ORDER BY seq LIMIT $3",
    packs="last_seq > $2 ORDER BY first_seq LIMIT $4",
)
_BEFORE = _BOTH.format(
    rows="seq < $2 AND seq > $3 ORDER BY seq DESC LIMIT $4",
    packs="first_seq < $2 AND last_seq > $3 ORDER BY first_seq DESC LIMIT $5",
)
