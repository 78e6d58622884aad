"""The one place where a run changes its state, and where others hear of it in the same transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from corral.platform.database import Row, Unit, sql
from corral.runs.hints import Hints
from corral.wire.runs import RunStatus


class Change(msgspec.Struct, frozen=True):
    """A run of an agent has entered another state."""

    run_no: int
    run_id: str
    org_id: int
    agent_id: str
    task_id: str | None
    status: RunStatus
    told: Mapping[str, Any]  #: what the event that ended it says: its final text, or code and message


#: Called inside the transaction that moves the run; later sub-packages register here.
Hook = Callable[[Change, Hints], Unit[None]]
_hooks: list[Hook] = []

_NOTHING: Mapping[str, Any] = {}


#: Why a new run of an agent may not be claimed yet: until a hook, in the same transaction, has decided on it.
NEW = "starting"


def on_transition(hook: Hook) -> None:
    """Call `hook` in the transaction of every change of state of an agent's run; the composition root registers it."""
    if hook not in _hooks:
        _hooks.append(hook)


def advance(
    run_no: int, status: RunStatus, hints: Hints, also: str = "", *args: Any, told: Mapping[str, Any] = _NOTHING
) -> Unit[int]:
    """Write the new state, and what else of the row changes with it: ` , column = $3`, with its arguments.

    Returns how much the run must still hear: rows of `inputs`, and results it expects.
    """
    rows = yield sql(
        f"UPDATE runs SET status = $2, updated_at = now_ms(){also} WHERE no = $1 "  # noqa: S608 - ours, in this package
        "RETURNING id, org_id, agent_id, task_id, awaits",
        run_no,
        status.value,
        *args,
    )
    run = rows[0]
    if run["agent_id"] is not None:
        yield from _tell(_change(run_no, run, status, told), hints)
    return int(run["awaits"])


def entered(run: Row, hints: Hints) -> Unit[None]:
    """Tell of an agent's run that has just been made; `run` is its row."""
    yield from _tell(_change(run["no"], run, RunStatus.QUEUED, _NOTHING), hints)


def go_on(run_no: int, hints: Hints) -> Unit[None]:
    """Let a waiting run go on, if its attempt asks nobody anything any more."""
    rows = yield sql(
        "SELECT 1 FROM runs r WHERE r.no = $1 AND r.status = 'waiting' AND r.attempt_open AND NOT EXISTS "
        "(SELECT 1 FROM approvals a WHERE a.run_no = r.no AND a.attempt = r.attempt AND a.status = 'pending') "
        "AND NOT EXISTS "
        "(SELECT 1 FROM calls c WHERE c.run_no = r.no AND c.attempt = r.attempt AND c.done_at IS NULL)",
        run_no,
    )
    if rows:
        yield from advance(run_no, RunStatus.RUNNING, hints)


def _change(run_no: int, run: Row, status: RunStatus, told: Mapping[str, Any]) -> Change:
    return Change(run_no, run["id"], run["org_id"], run["agent_id"], run["task_id"], status, told)


def _tell(change: Change, hints: Hints) -> Unit[None]:
    for hook in _hooks:
        yield from hook(change, hints)
