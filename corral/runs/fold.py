"""What a runner's event changes beside the log: the run's row, its approvals, its end."""

from __future__ import annotations

from typing import Any

import msgspec

from corral.platform.database import Unit
from corral.runs import approvals, ending, inputs, states
from corral.runs.frames import Logged
from corral.runs.hints import Hints
from corral.runs.states import Changes, Expression
from corral.wire.events import EventType
from corral.wire.runner import Resume
from corral.wire.runs import RunStatus


def changes(type_: EventType, payload: str, at: int | Expression) -> Changes:
    """Return what an event of FOLDED changes in its run's own row without a look at it; nothing if it does more."""
    if type_ == EventType.RUN_STARTED:
        return states.moved(RunStatus.RUNNING, started_at=at)
    if type_ == EventType.SESSION_INIT and (session_id := _object(payload).get("session_id")):
        # A next attempt goes on with it.
        return {
            "session_id": str(session_id).replace("\0", "")[:100],
            "resume": Resume.INTERRUPTED.value,
            "fork": False,
        }
    if type_ in ending.ENDS:
        return ending.ended(ending.ENDS[type_], _object(payload))
    return {}


def fold(run_no: int, type_: EventType, event: Logged, hints: Hints) -> Unit[None]:
    """Apply one event of FOLDED in the transaction that stores it."""
    if own := changes(type_, event.payload, event.created_at):
        yield from states.change(run_no, own, hints, _object(event.payload))
        yield from _began(run_no, own, hints)
    elif type_ == EventType.PERMISSION_REQUESTED:
        yield from approvals.request(run_no, event, hints)
    elif type_ == EventType.PERMISSION_WITHDRAWN:
        yield from approvals.withdraw(run_no, event.attempt, str(_object(event.payload).get("request_id", "")), hints)
    elif type_ == EventType.SESSION_WAITING:
        yield from ending.fold_waiting(run_no, hints)
    elif type_ == EventType.RUN_PAUSED:
        yield from ending.fold_paused(run_no, _object(event.payload), hints)
    elif type_ == EventType.SESSION_INTERRUPTED:
        yield from ending.fold_interrupted(run_no, hints)


def tell(run_no: int, own: Changes, last: Logged, hints: Hints) -> Unit[None]:
    """Let others hear of changes that the statement that numbered the events has made; `last` is the last of those."""
    yield from states.tell(run_no, own, hints, _object(last.payload))
    yield from _began(run_no, own, hints)


def _began(run_no: int, own: Changes, hints: Hints) -> Unit[None]:
    """Give an attempt that has just started what came while there was none."""
    if own.get("status") == RunStatus.RUNNING:
        yield from inputs.give(run_no, hints)


def _object(payload: str) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(payload)
    return found
