"""Corral's own tools, called by a run for its agent: with the token that the run's attempt alone has."""

from __future__ import annotations

from corral.agents import tools
from corral.platform.access import CALL_TOOLS
from corral.web.call import Call
from corral.web.routes import Routes
from corral.wire.tools import ToolAnswer, ToolCall

route = Routes("runner protocol")


@route.post("/api/v1/tools/<name>", scope=CALL_TOOLS, counted=False, repeatable=False, also=(409,))
async def call_tool(call: Call, name: str, body: ToolCall) -> ToolAnswer:
    """Call one of Corral's tools, once for each `call_id`, and wait a while for what comes of it."""
    assert call.caller.run_id is not None, "no other caller has the scope"
    return await tools.call(call.org_id, call.caller.run_id, name, body)
