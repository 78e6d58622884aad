"""The runner protocol: register, poll, events, command results. Its shapes are `corral.wire.runner`'s."""

from __future__ import annotations

import msgspec

from corral.base.errors import BadRequest
from corral.base.paths import parse
from corral.platform.access import RUNNER
from corral.runs import ingest, outcomes, poll, runners, sightings
from corral.web.call import Call
from corral.web.routes import Routes
from corral.wire.events import EventBatch, EventsStored
from corral.wire.runner import CommandResult, Poll, PollAnswer, Register, Registered

route = Routes("runner protocol")

#: Bytes of a batch: tools may answer much.
_BATCH_MOST = 16 * 1024 * 1024


class Stored(msgspec.Struct):
    """It is stored."""

    ok: bool = True


@route.post("/api/v1/runners/register", scope=RUNNER, counted=False, repeatable=False, also=(409,))
async def register_runner(call: Call, body: Register) -> Registered:
    """Begin a session of a runner process."""
    for index, path in enumerate(body.allowed_dirs):
        if parse(path) is None:
            raise BadRequest(f"allowed_dirs[{index}] must be an absolute path", field=f"allowed_dirs[{index}]")
    return await runners.register(call.org_id, body)


@route.post("/api/v1/runners/<id>/poll", scope=RUNNER, counted=False, repeatable=False, also=(409,))
async def poll_runner(call: Call, id: str, body: Poll) -> PollAnswer:
    """Renew the session's lease, then wait for work or commands."""
    return await poll.poll(call.org_id, id, body, key_id=call.caller.key_id)


@route.post("/api/v1/runs/<id>/events", scope=RUNNER, counted=False, repeatable=False, most=_BATCH_MOST, also=(409,))
async def store_run_events(call: Call, id: str, body: EventBatch) -> EventsStored:
    """Store what an attempt has spooled; 409 when it no longer holds the lease."""
    stored = await ingest.ingest(call.org_id, id, body)
    await sightings.note(call.org_id, id, body)
    return stored


@route.post("/api/v1/runners/<id>/commands/<command_id>", scope=RUNNER, counted=False, repeatable=False, also=(409,))
async def finish_command(call: Call, id: str, command_id: str, body: CommandResult) -> Stored:
    """Store how a command ended."""
    await outcomes.finish(call.org_id, id, command_id, body)
    return Stored()
