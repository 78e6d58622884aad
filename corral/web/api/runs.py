"""Runs as Abbado has them: their canonical events, watched live, and what can be done to a run."""

from __future__ import annotations

from typing import Any

import msgspec

from corral.runs import deleting, feed, pausing, queue, reads
from corral.runs.frames import event_json
from corral.web import answers, sse
from corral.web.answers import Answer
from corral.web.api.launches import Prompt
from corral.web.api.paging import MOST, Count, Limit
from corral.web.call import Call
from corral.web.present.logs import pages
from corral.web.present.project_runs import ProjectRun, view
from corral.web.routes import Routes
from corral.wire.runs import ENDED

route = Routes("runs")


class Done(msgspec.Struct):
    """It was done."""

    ok: bool = True


class EventView(msgspec.Struct):
    """One event of a run's log."""

    id: int  #: the sequence
    run_id: str
    sequence: int
    event_type: str
    payload: dict[str, Any]
    created_at: str


class EventsAsked(msgspec.Struct, forbid_unknown_fields=True):
    """Which part of a log."""

    after: Count = 0  #: only events with a higher sequence
    before: Count | None = None  #: the last ones, at most 1,000, with a lower sequence
    limit: Limit | None = None


class StreamAsked(msgspec.Struct, forbid_unknown_fields=True):
    """Where a stream goes on; the header Last-Event-ID wins."""

    last_event_id: Count | None = None
    after: Count | None = None


class GoOn(msgspec.Struct, forbid_unknown_fields=True):
    """What a run is to go on with."""

    message: Prompt | None = None  #: may be left out by a run that was stopped before it was done


class Say(msgspec.Struct, forbid_unknown_fields=True):
    """What to tell a live run."""

    text: Prompt


@route.get("/api/runs/<id>/events", scope="runs:read", answer=list[EventView])
async def list_run_events(call: Call, id: str, query: EventsAsked) -> bytes:
    """List a run's events by sequence: all of them, unless a limit is given."""
    run = await reads.get(call.org_id, id)
    if query.before is not None:
        log = await feed.events(run.no, after=query.after, before=query.before, limit=min(query.limit or MOST, MOST))
        shown = [event_json(run.id, event) for event in log]
    else:
        log_pages = pages(run.no, after=query.after, limit=query.limit)
        shown = [event_json(run.id, event) async for page in log_pages for event in page]
    return f"[{','.join(shown)}]".encode()  # their payloads are JSON already


@route.get("/api/runs/<id>/events/stream", scope="runs:read", counted=False, content=answers.EVENTS, also=(204,))
async def stream_run_events(call: Call, id: str, query: StreamAsked) -> Answer | None:
    """Watch a run: its events from where the client stopped, live ones as they come, until it ends."""
    cursor = sse.cursor(call, query.last_event_id if query.last_event_id is not None else query.after) or 0
    run = await reads.get(call.org_id, id)
    if run.status in ENDED and cursor >= run.last_seq:
        return answers.empty(204)
    # A server that lost its last commits numbers anew from there: the client may have seen more than there is.
    return await sse.stream(call, run.no, run.id, min(cursor, run.last_seq))


@route.post("/api/runs/<id>/cancel", scope="runs:write", also=(409,))
async def cancel_run(call: Call, id: str) -> Done:
    """End a run that has not ended. A live one ends when its runner has ended the processes."""
    await queue.cancel(call.org_id, id, call.actor)
    return Done()


@route.post("/api/runs/<id>/pause", scope="runs:write", also=(409,))
async def pause_run(call: Call, id: str) -> Done:
    """Pause a run that is at work or waits. A live one is paused when its runner has ended the processes."""
    await pausing.pause_by(call.org_id, id, call.actor)
    return Done()


@route.post("/api/runs/<id>/continue", scope="runs:write", also=(409,))
async def continue_run(call: Call, id: str, body: GoOn) -> ProjectRun:
    """Let a run go on that is paused or has ended: in its log, and in the session of its CLI."""
    await pausing.continue_by(call.org_id, id, body.message, call.actor)
    return await view(await reads.get(call.org_id, id))


@route.delete("/api/runs/<id>", scope="runs:write", status=204, also=(409,))
async def delete_run(call: Call, id: str) -> None:
    """Delete a run with its log, and the transcript that its CLI keeps, unless another run goes on with that.

    A live one is to be cancelled first. What it cost stays.
    """
    await deleting.delete(call.org_id, id, call.actor)


@route.post("/api/runs/<id>/message", scope="runs:write", also=(409,))
async def message_run(call: Call, id: str, body: Say) -> Done:
    """Tell a live run something."""
    await queue.say(call.org_id, id, body.text, call.actor)
    return Done()
