"""What a run on a machine says, at its beginning, of the MCP servers that it was given."""

from __future__ import annotations

import msgspec

from corral.mcp import uses
from corral.mcp.uses import Seen
from corral.platform.database import fetch
from corral.wire.events import EventBatch, EventType

#: What CLIs say of a server once they know.
_SAID = {
    "connected": None,
    "failed": "the CLI could not start or reach it; a test may say more",
    "needs-auth": "it asks for a sign-in, which nobody can do there: give it a token in its headers",
}


class _Server(msgspec.Struct):
    name: str
    status: str


class _Begun(msgspec.Struct):
    mcp_servers: list[_Server] = []


async def note(org_id: int, run_id: str, batch: EventBatch) -> None:
    """Keep it, if a batch that was stored tells of it."""
    for event in batch.events:
        if event.type == EventType.SESSION_INIT and (seen := _seen(event.payload)):
            rows = await fetch(
                "SELECT u.name FROM runs r JOIN runners u ON u.no = r.runner_no WHERE r.org_id = $1 AND r.id = $2",
                org_id,
                run_id,
            )
            if rows:
                await uses.note(org_id, rows[0]["name"], run_id, seen)


def _seen(payload: msgspec.Raw) -> list[Seen]:
    """Return what is known for certain: some are still being connected to."""
    try:
        servers = msgspec.json.decode(payload, type=_Begun).mcp_servers
    except msgspec.ValidationError:
        return []  # of an older runner, or a newer one
    return [Seen(server.name, _SAID[server.status]) for server in servers if server.status in _SAID]
