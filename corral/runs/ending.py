"""How an attempt ends, whoever says so: in one terminal event, folded into the run's row in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from corral.platform.database import Unit, sql
from corral.runs import commands, inputs, log, placements, resuming, states
from corral.runs.hints import Hints
from corral.runs.states import NOW, Changes, Expression
from corral.wire.events import EventType
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
    yield from states.change(run_no, ended(status, reason), hints, reason)


def ended(status: RunStatus, reason: Mapping[str, Any]) -> Changes:
    """Return what closes the run: no attempt is open. What was asked and commanded is closed by the database."""
    told = msgspec.json.encode(reason).decode() if status != RunStatus.COMPLETED else None
    changes = states.moved(status, attempt_open=False, ended_at=NOW, unreachable_since=None, reason=told)
    return {**changes, "tries": Expression("tries + 1")} if status == RunStatus.FAILED else changes


def fold_waiting(run_no: int, hints: Hints) -> Unit[None]:
    """Close the attempt of a turn that has ended before its run may: it goes on with what the run will be told."""
    yield from states.advance(run_no, RunStatus.WAITING, hints, attempt_open=False, unreachable_since=None)
    yield from commands.close(run_no)
    yield sql(
        "UPDATE approvals SET status = 'withdrawn', answered_at = now_ms() WHERE run_no = $1 AND status = 'pending'",
        run_no,
    )
    yield from inputs.resume(run_no, hints)


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
    also = {"attempt_open": False, "unreachable_since": None, "placement_id": placement, **start}
    yield from states.advance(run_no, RunStatus.QUEUED, hints, **also)
    yield from commands.close(run_no)
    hints.placement(placement)
