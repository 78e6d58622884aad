"""About the server itself: is it there, and what does it take."""

from __future__ import annotations

from typing import Any

from corral.web import openapi
from corral.web.call import Call
from corral.web.routes import Routes

route = Routes("server")


@route.get("/api/health", open=True)
async def health(call: Call) -> str:
    """Say "ok": the process answers."""
    return "ok"


@route.get("/api/openapi.json", open=True, answer=dict[str, Any])
async def openapi_document(call: Call) -> bytes:
    """Return this document."""
    return openapi.encoded(call.server.table)
