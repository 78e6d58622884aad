"""How an attempt ends, whoever says so: in one terminal event, folded into the run's row in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from corral.platform.database import Unit, sql
from corral.runs import commands, inputs, log, placements, resuming, states
from corral.runs.hints import Hints
from corral.wire.events import EventType
from corral.wire.runner import Resume
from corral.wire.runs import RunStatus

ENDS = {
    EventType.RUN_COMPLETED: RunStatus.COMPLETED,
    EventType.RUN_FAILED: RunStatus.FAILED,
    EventType.RUN_CANCELLED: RunStatus.CANCELLED,
}
CANCELLED = "Cancelled by a person"


def end(run_no: int, event: EventType, status: RunStatus, reason: Mapping[str, Any], hints: Hints) -> Unit[None]:
    """End the run on the server's own word: append the event and fold it."""
    yield from log.append(run_no, event, reason, hints)
    yield from fold_end(run_no, status, reason, hints)


def fold_end(run_no: int, status: RunStatus, told: Mapping[str, Any], hints: Hints) -> Unit[None]:
    """Close the run: no attempt is open, nothing is asked or commanded any more."""
    awaits = yield from states.advance(
        run_no,
        status,
        hints,
        ", attempt_open = FALSE, ended_at = now_ms(), unreachable_since = NULL, reason = $3, tries = tries + $4",
        msgspec.json.encode(told).decode() if status != RunStatus.COMPLETED else None,
        int(status == RunStatus.FAILED),
        told=told,
    )
    if awaits:
        yield from inputs.drop(run_no)
    yield from _close(run_no)


def fold_waiting(run_no: int, hints: Hints) -> Unit[None]:
    """Close the attempt of a turn that has ended before its run may: it goes on with what the run will be told."""
    yield from states.advance(run_no, RunStatus.WAITING, hints, ", attempt_open = FALSE, unreachable_since = NULL")
    yield from _close(run_no)
    yield from inputs.resume(run_no, hints)


def _close(run_no: int) -> Unit[None]:
    """Nobody is there any more for what was commanded and asked."""
    yield from commands.close(run_no)
    yield sql(
        "UPDATE approvals SET status = 'withdrawn', answered_at = now_ms() WHERE run_no = $1 AND status = 'pending'",
        run_no,
    )


def cancel(run_no: int, by: str, hints: Hints) -> Unit[None]:
    """End a run that no process works on, because a person said so."""
    reason = {"code": "cancelled", "message": CANCELLED, "by": by}
    yield from end(run_no, EventType.RUN_CANCELLED, RunStatus.CANCELLED, reason, hints)


def interrupt(run_no: int, message: str, hints: Hints) -> Unit[None]:
    """Put the run back into the queue on the server's own word."""
    yield from log.append(run_no, EventType.SESSION_INTERRUPTED, {"message": message}, hints)
    yield from fold_interrupted(run_no, hints)


def fold_interrupted(run_no: int, hints: Hints) -> Unit[None]:
    """Queue the next attempt: on the same machine if a CLI session is there to resume. A cancelled run ends instead."""
    rows = yield sql("SELECT * FROM runs WHERE no = $1", run_no)
    run = rows[0]
    if run["cancel_requested_at"] is not None:
        yield from cancel(run_no, run["cancel_by"], hints)
        return
    start = yield from resuming.next_start(run)
    placement = yield from placements.home(run, start.get("session_id", run["session_id"]))
    columns = {"attempt_open": False, "unreachable_since": None, "placement_id": placement, **start}
    also = "".join(f", {name} = ${number}" for number, name in enumerate(columns, 3))
    yield from states.advance(run_no, RunStatus.QUEUED, hints, also, *columns.values())
    yield from commands.close(run_no)
    hints.placement(placement)


def session_began(run_no: int, session_id: str) -> Unit[None]:
    """Keep the CLI's session id: a next attempt goes on with it."""
    yield sql(
        "UPDATE runs SET session_id = $2, resume = $3, fork = FALSE WHERE no = $1",
        run_no,
        session_id,
        Resume.INTERRUPTED.value,
    )
