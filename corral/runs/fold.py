"""What a runner's event changes beside the log: the run's row, its approvals, its end."""

from __future__ import annotations

from typing import Any

import msgspec

from corral.platform.database import Unit
from corral.runs import approvals, ending, inputs, states
from corral.runs.frames import Logged
from corral.runs.hints import Hints
from corral.wire.events import EventType
from corral.wire.runs import RunStatus


def fold(run_no: int, type_: EventType, event: Logged, hints: Hints) -> Unit[None]:
    """Apply one event of FOLDED in the transaction that stores it."""
    payload: dict[str, Any] = msgspec.json.decode(event.payload)
    if type_ == EventType.RUN_STARTED:
        awaits = yield from states.advance(run_no, RunStatus.RUNNING, hints, ", started_at = $3", event.created_at)
        if awaits:
            yield from inputs.give(run_no, hints)
    elif type_ == EventType.SESSION_INIT:
        if session_id := payload.get("session_id"):
            yield from ending.session_began(run_no, str(session_id).replace("\0", "")[:100])
    elif type_ == EventType.PERMISSION_REQUESTED:
        yield from approvals.request(run_no, event, hints)
    elif type_ == EventType.PERMISSION_WITHDRAWN:
        yield from approvals.withdraw(run_no, event.attempt, str(payload.get("request_id", "")), hints)
    elif type_ == EventType.SESSION_WAITING:
        yield from ending.fold_waiting(run_no, hints)
    elif type_ == EventType.SESSION_INTERRUPTED:
        yield from ending.fold_interrupted(run_no, hints)
    else:
        yield from ending.fold_end(run_no, ending.ENDS[type_], payload, hints)
