"""The one place where a run changes its state, and where others hear of it in the same transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from corral.platform.database import Unit, sql
from corral.wire.runs import RunStatus

#: Called with (run_no, status) inside the transaction that moves the run; later sub-packages register here.
Hook = Callable[[int, RunStatus], Unit[None]]
_hooks: list[Hook] = []

#: Columns of a run's row, and what they become: a value, or an `Expression`.
Changes = Mapping[str, Any]


class Expression(NamedTuple):
    """What a column becomes, in SQL; `{}` stands for the argument."""

    text: str
    arg: Any = None


NOW = Expression("now_ms()")


def on_transition(hook: Hook) -> None:
    """Call `hook` in the transaction of every change of state; registered once, by the composition root."""
    _hooks.append(hook)


def moved(status: RunStatus, **columns: Any) -> Changes:
    """Return the new state, and what else of the row changes with it."""
    return {"status": status.value, "updated_at": NOW, **columns}


def advance(run_no: int, status: RunStatus, **columns: Any) -> Unit[None]:
    """Write the new state, and what else of the row changes with it."""
    yield from change(run_no, moved(status, **columns))


def change(run_no: int, changes: Changes) -> Unit[None]:
    """Write these changes of the row."""
    text, args = assigned(changes, first=2)
    yield sql(f"UPDATE runs SET {text} WHERE no = $1", run_no, *args)  # noqa: S608 - ours, in this package
    yield from tell(run_no, changes)


def tell(run_no: int, changes: Changes) -> Unit[None]:
    """Let others hear of the new state if these changes, which another statement has written, hold one."""
    if "status" in changes:
        for hook in _hooks:
            yield from hook(run_no, RunStatus(changes["status"]))


def is_heard(changes: Changes) -> bool:
    """Tell whether others have statements of their own to add to these changes."""
    return bool(_hooks) and "status" in changes


def assigned(changes: Changes, first: int) -> tuple[str, list[Any]]:
    """Return `column = $n, …` for an UPDATE, and the arguments, of which the first is `$first`."""
    parts: list[str] = []
    args: list[Any] = []
    for column, value in changes.items():
        text, arg = value if isinstance(value, Expression) else ("{}", value)
        if "{}" in text:
            text = text.format(f"${first + len(args)}")
            args.append(arg)
        parts.append(f"{column} = {text}")
    return ", ".join(parts), args
