"""What is kept of every request beside its answer: counts, how long it took and, if it is wanted, a line of the log.

Neither names what a client may choose: not the path but the route's pattern, and no query, header or body.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from time import perf_counter
from typing import TYPE_CHECKING, Any

from sanic.request import Request

from corral.base import logs
from corral.platform import metrics
from corral.platform.metrics import Count
from corral.web.answers import Answer
from corral.web.call import request_id

if TYPE_CHECKING:
    from corral.web.server import Server

Handler = Callable[..., Coroutine[Any, Any, Answer | None]]

#: In place of a pattern, for all paths that no route has.
NO_ROUTE = "(none)"
#: In place of a status: the client left before there was one.
LEFT = 499
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

log = logs.get_logger()


def measured(method: str, route: str, handle: Handler, server: Server) -> Handler:
    """Return the route's handler, with its requests counted and their log lines named."""
    answered: dict[int, Count] = {}

    async def measure(request: Request, **path: str) -> Answer | None:
        begun, status, is_stream = perf_counter(), LEFT, False
        logs.work_for(request_id(request))
        server.in_flight += 1
        try:
            answer = await handle(request, **path)
            status, is_stream = (200, True) if answer is None else (answer.status, False)
            return answer
        finally:
            server.in_flight -= 1
            seconds = perf_counter() - begun
            if (count := answered.get(status)) is None:
                count = answered[status] = metrics.REQUESTS.of(method, route, str(status))
            count.value += 1
            if not is_stream:
                metrics.LATENCY.of(method, route).see(seconds)
            if server.settings.access_log:
                _tell(request, route, status, seconds)

    return measure


async def unrouted(request: Request, server: Server, answer: Callable[[], Awaitable[Answer]]) -> Answer:
    """Do the same for a request that no route takes."""
    begun = perf_counter()
    logs.work_for(request_id(request))
    found = await answer()
    method = request.method if request.method in _METHODS else "other"
    metrics.REQUESTS.of(method, NO_ROUTE, str(found.status)).add()
    if server.settings.access_log:
        _tell(request, NO_ROUTE, found.status, perf_counter() - begun)
    return found


def _tell(request: Request, route: str, status: int, seconds: float) -> None:
    principal = getattr(request.ctx, "principal", None)
    log.info(
        "request",
        method=request.method if request.method in _METHODS else "other",
        route=route,
        status=status,
        ms=round(seconds * 1000, 1),
        actor=principal.actor if principal else None,
        org=principal.org_id if principal else None,
    )
