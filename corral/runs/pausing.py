"""Pause a run, and let it go on: the same run, in the same log and the same session of its CLI.

A pause ends the attempt (`ending`), and what the run is told meanwhile waits in `inputs`. Whoever asks for the pause of
an attempt that is open is heard when that ends: by `run.paused`, or by being cut off otherwise. A run that ends by
itself before that has ended, and one that is cancelled is cancelled.
"""

from __future__ import annotations

from typing import Any

import msgspec

from corral.base import logs
from corral.base.errors import BadRequest, Conflict
from corral.platform import audit
from corral.platform.database import Row, Unit, sql
from corral.runs import commands, ending, inputs, log, placements, places, queue, resuming, states
from corral.runs.hints import Hints, decide
from corral.runs.models import Run
from corral.runs.states import AGAIN
from corral.wire.events import EventType
from corral.wire.runner import CommandKind, Pause
from corral.wire.runs import ENDED, LIVE, RunStatus

#: What pauses a run so that nobody but a person lets it go on.
BY_HAND = "paused"
#: What pauses a run that a restored database had at work, if its attempt is cut off: its runner is not asked to.
RESTORED = "restored"


async def pause_by(org_id: int, run_id: str, by: str) -> None:
    """Pause a run because a person says so. A live one is paused when its runner has ended the processes."""

    def unit(hints: Hints) -> Unit[None]:
        run = yield from queue.locked(org_id, run_id)
        yield from pause(run, Pause(by=by), hints)
        if _code(run["pause_requested"]) != BY_HAND:
            yield from audit.note(org_id, "run.paused", "run", run_id)

    await decide(unit)


async def continue_by(org_id: int, run_id: str, message: str | None, by: str) -> None:
    """Let a run go on because a person says so, and says what with, if anything."""

    def unit(hints: Hints) -> Unit[None]:
        run = yield from queue.locked(org_id, run_id)
        if run["agent_id"] is not None and places.are_limited():  # it waits for a place when its agent is free
            yield sql("UPDATE runs SET hold = $2 WHERE no = $1", run["no"], states.NEW)
        yield from continue_(run, hints, message, by)
        told = {"was": run["status"], "with_message": message is not None}
        yield from audit.note(org_id, "run.continued", "run", run_id, **told)
        yield sql("UPDATE runs SET request_id = $2 WHERE no = $1", run["no"], logs.worked_for())
        if run["agent_id"] is None:
            yield from places.demand(org_id, run["no"])

    await decide(unit)


def pause(run: Row, reason: Pause, hints: Hints) -> Unit[None]:
    """Pause a locked run within another unit; asking twice is asking once. Conflict if it is not at work.

    One that a budget has paused can be paused by a person too, so that money does not let it go on.
    """
    told: dict[str, Any] = msgspec.to_builtins(reason)
    if run["status"] == RunStatus.PAUSED and reason.code == BY_HAND and paused_by(run) != BY_HAND:
        yield sql("UPDATE runs SET reason = $2 WHERE no = $1", run["no"], _json(told))
        return
    if run["status"] not in LIVE:
        raise Conflict(_why_not(RunStatus(run["status"])))
    if not run["attempt_open"]:  # it waits to be told more, and nobody works on it
        yield from ending.rest(run["no"], told, hints)
        return
    asked = _code(run["pause_requested"])
    if asked in {None, RESTORED} or (
        reason.code == BY_HAND and asked != BY_HAND
    ):  # a person's word stays, whoever was first
        yield sql("UPDATE runs SET pause_requested = $2 WHERE no = $1", run["no"], _json(told))
    if asked in {None, RESTORED}:
        yield from commands.issue(run, CommandKind.PAUSE, reason, hints)


def is_asked_of(run: Row | Run) -> bool:
    """Tell whether the runner of an open attempt is asked to pause it."""
    asked = run.pause_requested if isinstance(run, Run) else run["pause_requested"]
    return asked is not None and not is_restored(asked)


def is_restored(asked: str | None) -> bool:
    """Tell by a run's `pause_requested` whether its open attempt was restored, and is paused only if it is cut off."""
    return _code(asked) == RESTORED


def paused_by(run: Row) -> str | None:
    """Return what a paused run's reason says who paused it: `BY_HAND`, a budget, or that it was restored."""
    return _code(run["reason"])


def continue_(run: Row, hints: Hints, message: str | None = None, by: str | None = None) -> Unit[None]:
    """Let a locked run that is paused or has ended go on within another unit. Conflict if it cannot, or is live."""
    status = RunStatus(run["status"])
    if status not in {RunStatus.PAUSED, *ENDED}:
        raise Conflict(f"The run is {status}; only one that is paused or has ended can be continued")
    if status in ENDED and (run["session_id"] is None or run["runner_no"] is None):
        raise Conflict("The run ended before its CLI session began, so nothing can be resumed; launch a new one")
    if message is None and status in ENDED:
        if status == RunStatus.COMPLETED:
            raise BadRequest("message: the run is completed, so say what to do next", field="message")
        message = resuming.GO_ON
    if message is not None:
        yield from log.append(run["no"], EventType.USER_MESSAGE, {"text": message, "by": by}, hints)
    if message is not None and status in ENDED:
        yield from _begin_again(run, message, hints)
    elif (yield from _was_at_work(run["no"])):
        yield from _take_up(run, message, hints)
    else:
        yield from _wait_on(run, message, hints)


def _begin_again(run: Row, message: str, hints: Hints) -> Unit[None]:
    """Queue another turn of a run that had ended."""
    start = yield from resuming.next_turn(run, message)
    placement = yield from placements.home(run, start.get("session_id", run["session_id"]))
    # Who follows the run says what it can still hear.
    also = {**_CLEARED, **start, "awaits": 0, "placement_id": placement}
    yield from states.change(run["no"], states.moved(RunStatus.QUEUED, **also), hints, AGAIN)
    hints.placement(placement)


def _take_up(run: Row, message: str | None, hints: Hints) -> Unit[None]:
    """Queue the next attempt of a turn that was cut off, as the pause has left it."""
    also = dict(_CLEARED)
    if message is not None:
        also["next_prompt"] = resuming.also_said(run["next_prompt"] or run["prompt"], message)
    yield from states.advance(run["no"], RunStatus.QUEUED, hints, **also)
    hints.placement(run["placement_id"])


def _wait_on(run: Row, message: str | None, hints: Hints) -> Unit[None]:
    """Let a run that had ended its turn wait for what it awaits, unless there is something to tell it already."""
    yield from states.advance(run["no"], RunStatus.WAITING, hints, **_CLEARED)
    if message is not None:
        yield from inputs.keep(run["org_id"], run["no"], message)
        yield from inputs.expect(run["no"])
    yield from inputs.resume(run["no"], hints)


_CLEARED: dict[str, Any] = {
    "reason": None,
    "ended_at": None,
    "is_sealed": False,
    "cancel_requested_at": None,
    "cancel_by": None,
    "pause_requested": None,
}


def _was_at_work(run_no: int) -> Unit[bool]:
    """Tell whether a turn was cut off: an attempt began after the last turn that ended, if one did."""
    rows = yield sql(
        "SELECT type FROM events WHERE run_no = $1 AND type IN ('run.started', 'session.waiting') "
        "ORDER BY seq DESC LIMIT 1",
        run_no,
    )
    return not rows or rows[0]["type"] != EventType.SESSION_WAITING


def _why_not(status: RunStatus) -> str:
    if status == RunStatus.PAUSED:
        return "The run is paused already"
    if status == RunStatus.QUEUED:
        return "The run is queued, so there is nothing to pause yet; cancel it, or pause its agent"
    return f"The run has already ended: it is {status}"


def _code(reason: str | None) -> str | None:
    """Return what a stored reason says who paused."""
    return msgspec.json.decode(reason).get("code") if reason is not None else None


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
