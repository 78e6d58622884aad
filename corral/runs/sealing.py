"""What becomes of the logs of runs that ended long ago: they are packed, and later let go if the operator says so.

Both happen piece by piece, each in a transaction that holds the run's row: whoever is killed meanwhile, another server
goes on, and a run that is continued is left alone. A few events stay rows, for the rest of the platform asks for them:
what a run needs to go on with its session, and how it ended. Neither touches what a run cost.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

import msgspec

from corral.base.errors import CorralError
from corral.platform import database
from corral.platform.database import Row, Rows, Unit, sql
from corral.runs import packs
from corral.wire.events import ENDS_RUN, SPOKE, EventType

#: What is done to a run, until it is done or it is so late by the monotonic clock.
Do = Callable[[Row, float], Awaitable[None]]

_DAY_MS = 86_400_000
#: Seconds of work in one round, and runs that are looked for at a time.
_SECONDS = 20.0
_RUNS = 50
#: What one pack holds at most: events, and characters of their payloads.
_EVENTS = 1000
_CHARACTERS = 1_000_000
#: Packs that one statement deletes.
_PACKS = 50


def _listed(types: frozenset[EventType]) -> str:
    return ", ".join(f"'{kind}'" for kind in sorted(types))


_SPOKE = _listed(SPOKE)
#: Of any attempt; beside the last word of each.
_STAY = _listed(
    ENDS_RUN | {EventType.RUN_STARTED, EventType.SESSION_INIT, EventType.SESSION_WAITING, EventType.LOG_LET_GO}
)


class Sealing:
    """One server's part of it."""

    def __init__(self, seal_days: float, keep_days: float) -> None:
        """Take after how many days a log is packed, and after how many it is let go; 0: never."""
        self._keep_ms = int(keep_days * _DAY_MS)
        self._seal_ms = min((int(days * _DAY_MS) for days in (seal_days, keep_days) if days), default=0)

    async def run_once(self, _now: float) -> None:
        """Work at what is due, for a while."""
        until = time.monotonic() + _SECONDS
        if self._seal_ms:
            await _work(_UNSEALED, self._seal_ms, seal, until)
        if self._keep_ms:
            await _work(_SEALED, self._keep_ms, let_go, until)


async def seal(run: Row, until: float) -> None:
    """Pack the log of a run that has ended, unless that was continued meanwhile; the next round goes on."""
    last = await database.scan(
        f"SELECT max(seq) AS seq FROM events WHERE run_no = $1 AND type IN ({_SPOKE}) GROUP BY attempt",  # noqa: S608 - constants
        run["no"],
    )
    kept = ", ".join(str(row["seq"]) for row in last) or "0"
    goes = f"type NOT IN ({_STAY}) AND seq NOT IN ({kept})"
    while time.monotonic() < until:
        rows = await database.scan(
            "SELECT seq, org_id, attempt, n, type, payload, created_at FROM events "  # noqa: S608 - constants and integers
            f"WHERE run_no = $1 AND {goes} ORDER BY seq LIMIT {_EVENTS}",
            run["no"],
        )
        if not rows:
            await database.fetch(_DONE, run["no"], run["ended_at"])
            return
        piece = _piece(rows)
        data = await asyncio.to_thread(packs.pack, piece)
        try:
            if not await database.commit(_store(run, piece, goes, data)):
                return
        except _AnotherWasQuicker:
            continue


async def let_go(run: Row, until: float) -> None:
    """Delete the packed log of a run, and say so where it begins."""
    more = True
    while more and time.monotonic() < until:
        more = await database.commit(_let_go(run["no"], run["before"]))
        await asyncio.sleep(0)


async def _work(due: str, age_ms: int, do: Do, until: float) -> None:
    """Do it to the runs that are due, in no order: other servers are at it too."""
    while time.monotonic() < until:
        runs = list(await database.fetch(due, age_ms, _RUNS))
        random.shuffle(runs)
        for run in runs:
            await do(run, until)
            await asyncio.sleep(0)
            if time.monotonic() >= until:
                return
        if len(runs) < _RUNS:
            return


def _piece(rows: Rows) -> Rows:
    """Return the first of these rows that fit into a pack: at least one."""
    size = 0
    for index, row in enumerate(rows):
        size += len(row["payload"])
        if index and size > _CHARACTERS:
            return rows[:index]
    return rows


class _AnotherWasQuicker(CorralError):
    """Another server has packed these events."""


def _store(run: Row, piece: Rows, goes: str, data: bytes) -> Unit[bool]:
    """Put a pack in the place of its rows; False if the run has gone on, or is gone."""
    there = yield sql(
        "UPDATE runs SET followups = followups WHERE no = $1 AND ended_at = $2 AND NOT is_sealed RETURNING no",
        run["no"], run["ended_at"],
    )  # fmt: skip
    if not there:
        return False
    first, last = piece[0]["seq"], piece[-1]["seq"]
    gone = yield sql(
        f"DELETE FROM events WHERE run_no = $1 AND seq BETWEEN $2 AND $3 AND {goes} RETURNING seq",  # noqa: S608 - constants and integers
        run["no"], first, last,
    )  # fmt: skip
    if len(gone) != len(piece):
        raise _AnotherWasQuicker
    yield sql(
        "INSERT INTO event_packs (run_no, first_seq, last_seq, org_id, ended_at, data) VALUES ($1, $2, $3, $4, $5, $6)",
        run["no"], first, last, piece[0]["org_id"], run["ended_at"], data,
    )  # fmt: skip
    return True


def _let_go(run_no: int, before: int) -> Unit[bool]:
    """Delete some packs of a run that ended long enough ago; False if none is left to delete."""
    runs = yield sql(
        "UPDATE runs SET followups = followups WHERE no = $1 AND ended_at < $2 RETURNING attempt, org_id",
        run_no,
        before,
    )
    if not runs:  # it was continued, and counts anew from its next end; or it is being deleted
        yield sql("UPDATE event_packs SET ended_at = now_ms() WHERE run_no = $1", run_no)
        return False
    gone = yield sql(
        "DELETE FROM event_packs WHERE run_no = $1 AND first_seq IN (SELECT first_seq FROM event_packs "
        "WHERE run_no = $1 ORDER BY first_seq LIMIT $2) RETURNING first_seq, last_seq",
        run_no, _PACKS,
    )  # fmt: skip
    if not gone:
        return False
    first, last = min(row["first_seq"] for row in gone), max(row["last_seq"] for row in gone)
    payload = msgspec.json.encode({"message": f"The log up to line {last} was let go: it had been kept for its time"})
    told = yield sql(
        "UPDATE events SET payload = $3 WHERE run_no = $1 AND type = $2 RETURNING seq",
        run_no, EventType.LOG_LET_GO.value, payload.decode(),
    )  # fmt: skip
    if not told:
        yield sql(
            "INSERT INTO events (run_no, seq, org_id, attempt, n, type, payload, created_at) "
            "VALUES ($1, $2, $3, $4, NULL, $5, $6, now_ms())",
            run_no, first, runs[0]["org_id"], 0, EventType.LOG_LET_GO.value, payload.decode(),
        )  # fmt: skip
    yield sql(
        "UPDATE events SET payload = '{}' WHERE run_no = $1 AND type IN ('agent.thinking', 'agent.tool_call')", run_no
    )
    return True


_DONE = "UPDATE runs SET is_sealed = TRUE WHERE no = $1 AND ended_at = $2"
#: The first so many that ended longer ago than so many ms.
_UNSEALED = (
    "SELECT no, ended_at FROM runs WHERE ended_at IS NOT NULL AND ended_at < now_ms() - $1 AND NOT is_sealed "
    "ORDER BY ended_at LIMIT $2"
)
_SEALED = (
    "SELECT run_no AS no, now_ms() - $1 AS before FROM (SELECT DISTINCT run_no FROM (SELECT run_no FROM event_packs "
    "WHERE ended_at < now_ms() - $1 ORDER BY ended_at LIMIT 1000) AS packs) AS runs LIMIT $2"
)
