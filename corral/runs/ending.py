"""How an attempt ends, whoever says so: in one terminal event, folded into the run's row in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from corral.platform import metrics
from corral.platform.database import Row, Unit, sql
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
    hints.count(metrics.ENDED.of(status.value))
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
    rows = yield sql("SELECT cancel_requested_at, cancel_by, pause_requested FROM runs WHERE no = $1", run_no)
    run = rows[0]
    if run["cancel_requested_at"] is not None:
        yield from cancel(run_no, run["cancel_by"], hints)
    elif run["pause_requested"] is not None:
        yield from rest(run_no, _asked(run), hints)
    else:
        yield from inputs.resume(run_no, hints)


def fold_paused(run_no: int, reason: Mapping[str, Any], hints: Hints) -> Unit[None]:
    """Close an attempt so that another goes on with it once somebody says so. A cancelled run ends instead."""
    run = yield from _whole(run_no)
    if run["cancel_requested_at"] is not None:
        yield from cancel(run_no, run["cancel_by"], hints)
    else:
        yield from _put_down(run, _asked(run) or reason, hints)


def pause(run_no: int, reason: Mapping[str, Any], hints: Hints) -> Unit[None]:
    """Pause a run on the server's own word; whoever still has its attempt is fenced."""
    yield from log.append(run_no, EventType.RUN_PAUSED, reason, hints)
    yield from _put_down((yield from _whole(run_no)), reason, hints)


def rest(run_no: int, reason: Mapping[str, Any], hints: Hints) -> Unit[None]:
    """Pause a run that has ended its turn: nothing was cut off, so its next attempt has nothing to make up for."""
    yield from log.append(run_no, EventType.RUN_PAUSED, reason, hints)
    yield from states.advance(run_no, RunStatus.PAUSED, hints, **_paused(reason))


def _put_down(run: Row, reason: Mapping[str, Any], hints: Hints) -> Unit[None]:
    start = yield from resuming.next_start(run, resuming.PAUSED)
    placement = yield from placements.home(run, start.get("session_id", run["session_id"]))
    also = {"attempt_open": False, "unreachable_since": None, "placement_id": placement, **start, **_paused(reason)}
    yield from states.advance(run["no"], RunStatus.PAUSED, hints, **also)
    yield from commands.close(run["no"])


def _paused(reason: Mapping[str, Any]) -> Changes:
    return {"reason": msgspec.json.encode(reason).decode(), "pause_requested": None}


def _asked(run: Row) -> dict[str, Any]:
    """Return why the run's pause was asked for; empty if it was not."""
    asked: dict[str, Any] = msgspec.json.decode(run["pause_requested"] or "{}")
    return asked


def _whole(run_no: int) -> Unit[Row]:
    rows = yield sql("SELECT * FROM runs WHERE no = $1", run_no)
    return rows[0]


def cancel(run_no: int, by: str, hints: Hints) -> Unit[None]:
    """End a run that no process works on, because a person said so."""
    reason = {"code": "cancelled", "message": CANCELLED, "by": by}
    yield from end(run_no, EventType.RUN_CANCELLED, RunStatus.CANCELLED, reason, hints)


def interrupt(run_no: int, message: str, hints: Hints) -> Unit[None]:
    """Put the run back into the queue on the server's own word."""
    yield from log.append(run_no, EventType.SESSION_INTERRUPTED, {"message": message}, hints)
    yield from fold_interrupted(run_no, hints)


def fold_interrupted(run_no: int, hints: Hints) -> Unit[None]:
    """Queue the next attempt: on the same machine if a CLI session is there to resume.

    A cancelled run ends instead, and one that was to be paused is.
    """
    run = yield from _whole(run_no)
    if run["cancel_requested_at"] is not None:
        yield from cancel(run_no, run["cancel_by"], hints)
        return
    if run["pause_requested"] is not None:
        yield from pause(run_no, _asked(run), hints)
        return
    start = yield from resuming.next_start(run)
    placement = yield from placements.home(run, start.get("session_id", run["session_id"]))
    also = {"attempt_open": False, "unreachable_since": None, "placement_id": placement, **start}
    yield from states.advance(run_no, RunStatus.QUEUED, hints, **also)
    yield from commands.close(run_no)
    hints.placement(placement)
