"""The one place where a run changes its state, and where others hear of it in the same transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from corral.platform.database import Unit, sql
from corral.wire.runs import RunStatus

#: Called with (run_no, status) inside the transaction that moves the run; later sub-packages register here.
Hook = Callable[[int, RunStatus], Unit[None]]
_hooks: list[Hook] = []


def on_transition(hook: Hook) -> None:
    """Call `hook` in the transaction of every change of state; registered once, by the composition root."""
    _hooks.append(hook)


def advance(run_no: int, status: RunStatus, also: str = "", *args: Any) -> Unit[None]:
    """Write the new state, and what else of the row changes with it: ` , column = $3`, with its arguments."""
    yield sql(
        f"UPDATE runs SET status = $2, updated_at = now_ms(){also} WHERE no = $1",  # noqa: S608 - ours, in this package
        run_no,
        status.value,
        *args,
    )
    for hook in _hooks:
        yield from hook(run_no, status)
