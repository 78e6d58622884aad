"""Fleetrun's way to execute a task: a POST that is answered by a stream of what its agent does."""

from __future__ import annotations

import msgspec

from corral.agents import starting
from corral.runs import feed, reads
from corral.runs.hints import log_topic
from corral.web import answers, sse
from corral.web.answers import Answer
from corral.web.api.paging import Id
from corral.web.call import Call
from corral.web.present.telling import Teller
from corral.web.routes import Routes
from corral.wire.events import ENDS_RUN

route = Routes("tasks")

_PAGE = 500
#: What a hint of live tokens begins with: nothing of it is stored.
_TOKENS = b"0 0 0\n"


class RunTask(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The task to execute."""

    task_id: Id


@route.post("/api/run", scope="tasks:write", content=answers.EVENTS, also=(404, 409))
async def run_task(call: Call, body: RunTask) -> Answer | None:
    """Execute a task and watch it to its end: `{type, text}`. One that runs is joined; leaving does not stop it."""
    run = await starting.start(call.org_id, body.task_id, call.actor, call.new_id())
    teller, after = Teller(), 0

    async def read() -> tuple[bytes, bool]:
        nonlocal after
        while page := await feed.events(run.no, after=after, limit=_PAGE):
            after = page[-1].seq
            told = [(event.seq, told) for event in page if (told := teller.tell(event))]
            frames = [f"id: {seq}\ndata: {msgspec.json.encode(one._asdict()).decode()}\n\n" for seq, one in told]
            # One that was continued has such an event in its middle.
            is_over = page[-1].type in ENDS_RUN and not await feed.events(run.no, after=after, limit=1)
            if frames or is_over:
                return "".join(frames).encode(), is_over
        return b"", not await reads.some(call.org_id, [run.id])  # of one that was deleted nothing more comes

    return await sse.follow(call, log_topic(run.no), read, ignore=_TOKENS)
