"""About the server itself: is it there, and what does it take."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from corral.base.errors import BadRequest
from corral.web import openapi
from corral.web.answers import Answer, as_json
from corral.web.call import Call
from corral.web.readiness import CHECKS, Readiness
from corral.web.routes import Routes

route = Routes("server")


@route.get("/api/health", open=True)
async def health(call: Call) -> str:
    """Say "ok": the process answers."""
    return "ok"


class ReadyAsked(msgspec.Struct, forbid_unknown_fields=True):
    """What does not matter to who asks."""

    exclude: Annotated[str, msgspec.Meta(max_length=100)] = ""  #: names of checks, with commas between


@route.get("/api/ready", open=True, answer=Readiness, also=(400, 503))
async def ready(call: Call, query: ReadyAsked) -> Answer:
    """Tell whether this server should be sent requests: 200, or 503 with what is wrong."""
    names = query.exclude.split(",") if query.exclude else []
    if unknown := sorted({*names} - {*CHECKS}):
        raise BadRequest(f"exclude: there is no check {unknown[0]!r}; there are {', '.join(CHECKS)}", field="exclude")
    found = (await call.server.prober.look()).without(names)
    return as_json(found, 200 if found.ready else 503)


@route.get("/api/openapi.json", open=True, answer=dict[str, Any])
async def openapi_document(call: Call) -> bytes:
    """Return this document."""
    return openapi.encoded(call.server.table)
