"""Server-sent events: headers once, then encoded chunks straight to the watcher's connection.

A watcher costs a connection and a few small objects: no task of its own wakes for an event, and no queue holds one.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

from sanic.exceptions import RequestCancelled

from corral import bus
from corral.base.errors import BadRequest, Unauthorized, Unavailable
from corral.runs import feed
from corral.runs.loops import REREAD_EVERY
from corral.web.answers import EVENTS, Answer
from corral.web.call import Call, request_id
from corral.web.pipeline import authenticated

#: Bytes that may wait in a connection before its watcher counts as slow.
_FULL = 256 * 1024
_QUIET = 15.0
#: The largest sequence a cursor may name.
_LAST = 2**63 - 1
_CURSOR = re.compile("[0-9]{1,19}")
_COMMENT = b": keep-alive\n\n"
_HEADERS = {
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",  # a proxy would wait for more
}


def frame(data: bytes) -> bytes:
    """Return `data` as one chunk of a chunked answer; done once for all who watch a run."""
    return b"%x\r\n%b\r\n" % (len(data), data)


_KEEP_ALIVE = frame(_COMMENT)


class Connection:
    """Where one watcher's chunks go: the transport of its request, past the HTTP server."""

    __slots__ = ("_protocol", "_transport", "call", "changed", "written")

    def __init__(self, call: Call) -> None:
        """Take a call whose answer's headers have been sent."""
        assert call.request.transport is not None
        protocol: Any = call.request.transport.get_protocol()
        self.call = call
        self.changed = asyncio.Event()  #: there may be more to read
        self._protocol = protocol
        self._transport: asyncio.Transport = protocol.transport
        self.written = time.monotonic()

    def write(self, chunk: bytes) -> bool:
        """Send a chunk; False if too much of the earlier ones is still waiting."""
        if self._transport.get_write_buffer_size() > _FULL or self._transport.is_closing():
            return False
        self._transport.write(chunk)
        # The HTTP server ends answers in which nothing moves, and does not see what goes past it.
        self.written = self._protocol._time = time.monotonic()  # noqa: SLF001
        return True

    async def drained(self) -> None:
        """Wait until there is room again; raises when the watcher has gone."""
        await self._protocol._can_write.wait()  # noqa: SLF001 - Sanic's own way to wait for a slow reader
        if self._transport.is_closing():
            raise RequestCancelled

    def close(self) -> None:
        """Nothing to do: `stream` ends the answer."""

    def cut(self) -> None:
        """Send nothing more, not even what waits."""
        self._transport.abort()


class Watchers:
    """The open streams of this process."""

    def __init__(self) -> None:
        """Start with none."""
        self.open: set[Connection] = set()

    def wake(self) -> None:
        """Let every stream look whether the server stops."""
        for connection in self.open:
            connection.changed.set()

    async def keep_alive(self, _now: float) -> None:
        """Send a comment to those that were quiet for 15 s: proxies close silent connections. Run each second."""
        now = time.monotonic()
        for connection in [one for one in self.open if now - one.written >= _QUIET]:
            connection.write(_KEEP_ALIVE)

    async def dismiss(self, _now: float) -> None:
        """Cut off those whose key or session has ended since they came, or looks at another org. Run each second."""
        by_caller: dict[str | None, list[Connection]] = {}
        for connection in self.open:
            caller = connection.call.caller
            by_caller.setdefault(caller.key_id or caller.sign_in, []).append(connection)
        for connections in by_caller.values():
            org_id, call = None, connections[0].call
            with contextlib.suppress(Unauthorized):
                org_id = (await authenticated(call.request, call.settings)).org_id
            for connection in connections:
                if connection.call.org_id != org_id:  # who was taken out of an org may be in another one still
                    connection.cut()


def cursor(call: Call, asked: int | None) -> int | None:
    """Return after which event a stream begins: the header Last-Event-ID wins over what the query asked."""
    header = call.request.headers.getone("last-event-id", "")
    if not header:
        return asked
    if not _CURSOR.fullmatch(header) or int(header) > _LAST:
        raise BadRequest("Last-Event-ID must be the id of an event, a whole number", field="Last-Event-ID")
    return int(header)


async def stream(call: Call, run_no: int, run_id: str, after: int) -> Answer | None:
    """Answer with the run's events after a sequence, live until it ends; None when all has been sent."""

    async def watch(connection: Connection) -> None:
        await feed.feeds().watch(run_no, run_id, after, connection)

    return await _answered(call, watch)


async def follow(
    call: Call,
    topic: str,
    read: Callable[[], Awaitable[tuple[bytes, bool]]],
    *,
    ignore: bytes | None = None,
    seconds: float | None = None,
) -> Answer | None:
    """Answer with what `read` returns, again whenever the topic is hinted at, until it says that this was the end.

    It is read every two seconds in any case, because hints may be lost. Those that begin with `ignore` tell nothing.
    """

    async def watch(connection: Connection) -> None:
        def hear(hint: bytes) -> None:
            if ignore is None or not hint.startswith(ignore):
                connection.changed.set()

        stop = bus.current().listen(topic, hear)
        try:
            async with asyncio.timeout(seconds):
                await _follow(connection, read)
        except TimeoutError:
            return
        finally:
            stop()

    return await _answered(call, watch)


async def _follow(connection: Connection, read: Callable[[], Awaitable[tuple[bytes, bool]]]) -> None:
    stopping = connection.call.server.stopping
    while not stopping.is_set():
        connection.changed.clear()
        try:
            data, is_over = await read()
        except Unavailable:  # the database is away for a moment, the watcher need not go
            data, is_over = b"", False
        if data:
            chunk = frame(data)
            while not connection.write(chunk):
                await connection.drained()
        if is_over:
            return
        if not data:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REREAD_EVERY):
                    await connection.changed.wait()


async def _answered(call: Call, watch: Callable[[Connection], Awaitable[None]]) -> Answer | None:
    """Send the headers, then whatever `watch` writes to the connection, and the end."""
    answer = Answer(None, 200, headers={**_HEADERS, "x-request-id": request_id(call.request)}, content_type=EVENTS)
    if call.is_head:
        return answer
    response = await call.request.respond(answer)
    assert response is not None
    await response.send(_COMMENT.decode())
    connection = Connection(call)
    watchers = call.server.watchers
    watchers.open.add(connection)
    try:
        await watch(connection)
    finally:
        watchers.open.discard(connection)
    await response.eof()
    return None
