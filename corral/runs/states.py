"""The one place where a run changes its state, and where others hear of it in the same transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

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
    told: Mapping[str, Any]  #: what the event that ended it says: its final text, or code and message; or AGAIN


#: Called inside the transaction that moves the run; later sub-packages register here.
Hook = Callable[[Change, Hints], Unit[None]]
_hooks: list[Hook] = []
#: Decides anew which of an agent's queued runs may be claimed.
Choice = Callable[[str, Hints], Unit[None]]
_choices: list[Choice] = []

_NOTHING: Mapping[str, Any] = {}
#: What is told of a run that is queued after its end.
AGAIN: Mapping[str, Any] = {"again": True}
#: What tells whether anybody follows a run, and whether there is something it must still be told.
_FOLLOWED = "id, org_id, agent_id, task_id, awaits"

#: Columns of a run's row, and what they become: a value, or an `Expression`.
Changes = Mapping[str, Any]


class Expression(NamedTuple):
    """What a column becomes, in SQL; `{}` stands for the argument."""

    text: str
    arg: Any = None


NOW = Expression("now_ms()")


#: Why a new run of an agent may not be claimed yet: until a hook, in the same transaction, has decided on it.
NEW = "starting"


def on_transition(hook: Hook) -> None:
    """Call `hook` in the transaction of every change of state of an agent's run; the composition root registers it."""
    if hook not in _hooks:
        _hooks.append(hook)


def on_choice(choice: Choice) -> None:
    """Have `choice` asked whenever an agent's held runs may go; the composition root registers it."""
    if choice not in _choices:
        _choices.append(choice)


def choose(agent_id: str, hints: Hints) -> Unit[None]:
    """Decide anew which of an agent's queued runs may be claimed. The caller has locked none of them."""
    for choice in _choices:
        yield from choice(agent_id, hints)


def moved(status: RunStatus, **columns: Any) -> Changes:
    """Return the new state, and what else of the row changes with it."""
    return {"status": status.value, "updated_at": NOW, **columns}


def advance(run_no: int, status: RunStatus, hints: Hints, **columns: Any) -> Unit[None]:
    """Write the new state, and what else of the row changes with it."""
    yield from change(run_no, moved(status, **columns), hints)


def change(run_no: int, changes: Changes, hints: Hints, told: Mapping[str, Any] = _NOTHING) -> Unit[None]:
    """Write these changes of the row, and let others hear of the new state if they hold one."""
    text, args = assigned(changes, first=2)
    rows = yield sql(f"UPDATE runs SET {text} WHERE no = $1 RETURNING {_FOLLOWED}", run_no, *args)  # noqa: S608 - ours
    yield from _tell(run_no, rows[0], changes, hints, told)


def tell(run_no: int, changes: Changes, hints: Hints, told: Mapping[str, Any] = _NOTHING) -> Unit[None]:
    """Let others hear of the new state that another statement has written."""
    rows = yield sql(f"SELECT {_FOLLOWED} FROM runs WHERE no = $1", run_no)  # noqa: S608 - a constant
    yield from _tell(run_no, rows[0], changes, hints, told)


def entered(run: Row, hints: Hints) -> Unit[None]:
    """Tell of an agent's run that has just been made; `run` is its row."""
    yield from _tell(run["no"], run, moved(RunStatus.QUEUED), hints, _NOTHING)


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


def _tell(run_no: int, run: Row, changes: Changes, hints: Hints, told: Mapping[str, Any]) -> Unit[None]:
    if "status" not in changes or run["agent_id"] is None:
        return
    status = RunStatus(changes["status"])
    change = Change(run_no, run["id"], run["org_id"], run["agent_id"], run["task_id"], status, told)
    for hook in _hooks:
        yield from hook(change, hints)


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
