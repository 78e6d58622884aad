"""How a run's time went: which state it was in, from when to when.

Told by the run's row, its approvals and its calls, never by its log: that may be long, and this is asked with every
look at a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from corral.platform import database
from corral.runs.models import Run
from corral.wire.runs import RunStatus

#: A run that waited more often than this shows the first of its waits.
_MOST = 1000
#: A call that was answered within this time, in ms, was answered by us: nobody else was waited for.
_AT_ONCE = 50
#: What a run waits for: people, and the calls of Corral's tools that others answer.
_WAITS = (
    "SELECT created_at AS since, answered_at AS until FROM approvals WHERE run_no = $1 UNION ALL "  # noqa: S608 - constants
    "SELECT created_at, done_at FROM calls WHERE run_no = $1 AND "
    f"(done_at > created_at + {_AT_ONCE} OR done_at IS NULL AND attempt = $2) ORDER BY since LIMIT {_MOST}"
)
#: The time before the present attempt began, if there were others: their own states are in the log.
EARLIER = "earlier attempts"
UNREACHABLE = "unreachable"


class Span(msgspec.Struct, frozen=True, array_like=True):
    """One state and its time, in ms since 1970; the last one of a run that goes on has no end."""

    state: str
    since: int
    until: int | None


async def spans(run: Run) -> list[Span]:
    """Return the states a run was in, in order, without gaps."""
    rows = await database.fetch(_WAITS, run.no, run.attempt)
    return _spans(run, [(row["since"], row["until"]) for row in rows])


def _spans(run: Run, waits: Iterable[tuple[int, int | None]]) -> list[Span]:
    if run.status == RunStatus.QUEUED and run.attempt > 0 and not run.attempt_open:  # cut off, and waits to go on
        return [Span(EARLIER, run.created_at, run.updated_at), Span(RunStatus.QUEUED.value, run.updated_at, None)]
    before = EARLIER if run.attempt > 1 else RunStatus.QUEUED.value
    if run.started_at is None:
        return [Span(before, run.created_at, run.ended_at)]
    found = [Span(before, run.created_at, run.started_at), *_working(run.started_at, waits)]
    if run.ended_at is not None:
        return _ended(found, run.ended_at)
    if run.status == RunStatus.PAUSED or (run.status == RunStatus.WAITING and not run.attempt_open):
        return _turned(found, RunStatus(run.status).value, run.updated_at)
    if run.unreachable_since is not None:
        return _turned(found, UNREACHABLE, run.unreachable_since)
    return found


def _working(started: int, waits: Iterable[tuple[int, int | None]]) -> Iterator[Span]:
    """Yield running and waiting in turn, the last without an end; questions that overlap are one wait."""
    at = started
    for asked, answered in waits:
        if answered is not None and answered <= at:
            continue
        if asked > at:
            yield Span(RunStatus.RUNNING.value, at, asked)
        yield Span(RunStatus.WAITING.value, max(at, asked), answered)
        if answered is None:
            return
        at = answered
    yield Span(RunStatus.RUNNING.value, at, None)


def _turned(found: list[Span], state: str, since: int) -> list[Span]:
    """Let the open end turn into another state."""
    *others, last = found
    since = max(last.since, since)
    return [*others, Span(last.state, last.since, since), Span(state, since, None)]


def _ended(found: list[Span], end: int) -> list[Span]:
    """Close the open end."""
    *others, last = [span for span in found if span.since <= end]
    return [*others, Span(last.state, last.since, end)]
