"""How a run's time went: which state it was in, from when to when. The events that change the state tell it."""

from __future__ import annotations

import msgspec

from corral.platform import database
from corral.runs.models import Run
from corral.wire.events import ENDS_RUN, EventType
from corral.wire.runs import RunStatus

#: A run with more changes of state than this shows the first of them.
_MOST = 2000
_ASKED = frozenset({EventType.PERMISSION_REQUESTED})
_ANSWERED = frozenset({EventType.PERMISSION_RESOLVED, EventType.PERMISSION_WITHDRAWN})
_ENTERS = {
    EventType.RUN_CREATED: RunStatus.QUEUED.value,
    EventType.RUN_STARTED: RunStatus.RUNNING.value,
    EventType.RUN_PAUSED: RunStatus.PAUSED.value,
    EventType.SESSION_INTERRUPTED: RunStatus.QUEUED.value,
    EventType.SESSION_UNREACHABLE: "unreachable",
}
_TYPES = ", ".join(
    f"'{type_}'" for type_ in sorted({*_ENTERS, *_ASKED, *_ANSWERED, *ENDS_RUN, EventType.SESSION_REACHABLE})
)


class Span(msgspec.Struct, frozen=True, array_like=True):
    """One state and its time, in ms since 1970; the last one of a run that goes on has no end."""

    state: str
    since: int
    until: int | None


async def spans(run: Run) -> list[Span]:
    """Return the states a run was in, in order."""
    rows = await database.fetch(
        f"SELECT type, created_at FROM events WHERE run_no = $1 AND type IN ({_TYPES}) ORDER BY seq LIMIT {_MOST}",  # noqa: S608 - constants
        run.no,
    )
    return _spans([(EventType(row["type"]), row["created_at"]) for row in rows])


def _spans(changes: list[tuple[EventType, int]]) -> list[Span]:
    found: list[Span] = []
    state: str | None = None
    since = 0
    open_questions = 0
    for type_, at in changes:
        open_questions = _questions(open_questions, type_)
        entered = _entered(type_, state, open_questions)
        if entered == state:
            continue
        if state is not None:
            found.append(Span(state, since, at))
        state, since = entered, at
    if state is not None:
        found.append(Span(state, since, None))
    return found


def _questions(count: int, type_: EventType) -> int:
    if type_ in _ASKED:
        return count + 1
    if type_ in _ANSWERED:
        return max(0, count - 1)
    return 0 if type_ in {EventType.RUN_STARTED, EventType.SESSION_INTERRUPTED} else count


def _entered(type_: EventType, state: str | None, open_questions: int) -> str | None:
    if type_ in ENDS_RUN:
        return None
    if type_ in _ENTERS:
        return _ENTERS[type_]
    if type_ in _ASKED:
        return RunStatus.WAITING.value
    if state in {RunStatus.WAITING, "unreachable"}:
        return RunStatus.WAITING.value if open_questions else RunStatus.RUNNING.value
    return state
