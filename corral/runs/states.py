"""The one place where a run changes its state, and where others hear of it in the same transaction."""

from __future__ import annotations

from collections.abc import Callable

from corral.platform.database import Unit, sql
from corral.wire.runs import RunStatus

#: Called with (run_no, status) inside the transaction that moves the run; later sub-packages register here.
Hook = Callable[[int, RunStatus], Unit[None]]
_hooks: list[Hook] = []


def on_transition(hook: Hook) -> None:
    """Call `hook` in the transaction of every change of state; registered once, by the composition root."""
    _hooks.append(hook)


def advance(run_no: int, status: RunStatus) -> Unit[None]:
    """Write the new state; what else changes with it is the caller's statement in the same unit."""
    yield sql("UPDATE runs SET status = $2, updated_at = now_ms() WHERE no = $1", run_no, status.value)
    for hook in _hooks:
        yield from hook(run_no, status)
