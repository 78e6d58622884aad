"""How the servers do: for people and programs of the org that runs them, and what Prometheus reads."""

from __future__ import annotations

from corral.platform.access import Role
from corral.web import system
from corral.web.call import Call
from corral.web.exposition import CONTENT, exposition
from corral.web.routes import Routes
from corral.web.system import System

route = Routes("server")


@route.get("/api/v1/system", scope="runners:read", role=Role.ADMIN)
async def get_system(call: Call) -> System:
    """Show how this server and the others do, what waits in your org's queue, and what should be set otherwise."""
    return await system.look(call.server, call.org_id)


@route.get("/api/metrics", scope="*", role=Role.OWNER, operators=True, counted=False, content=CONTENT)
async def metrics(call: Call) -> bytes:
    """Show what this server counts, as Prometheus reads it; CORRAL_METRICS_TOKEN will do as the key."""
    return await exposition(call.server)
