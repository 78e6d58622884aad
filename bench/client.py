"""A cheap load client: HTTP/1.1, kept connections with one request in flight, nothing parsed for nothing."""

from __future__ import annotations

import asyncio
import re
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

#: Seconds that any answer may take: longer than every long poll asked for here.
_PATIENCE = 60.0
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


class Reply(NamedTuple):
    """An answer's status and body."""

    status: int
    body: bytes

    def json(self) -> Any:
        """Return the decoded body of a success; anything else is the end of the benchmark."""
        if self.status not in {200, 201}:
            raise RuntimeError(f"the server answered {self.status}: {self.body[:500].decode(errors='replace')}")
        return msgspec.json.decode(self.body)


class Connection(asyncio.Protocol):
    """One kept connection to one server."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._host, self._port = parts.hostname, parts.port
        self._head = f"Host: {parts.netloc}\r\nAuthorization: Bearer {key}\r\n".encode()
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Reply] | None = None
        self._buffer = b""
        self._needs = 0

    async def open(self) -> Connection:
        """Connect; return self."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_connection(lambda: self, self._host, self._port)
        return self

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()

    def send(self, method: str, path: str, body: bytes = b"") -> asyncio.Future[Reply]:
        """Send a request and return the future of its answer, which nothing bounds: see `call`."""
        assert self._transport is not None
        assert self._waiting is None, "one request at a time"
        self._waiting = asyncio.get_running_loop().create_future()
        kind = b"Content-Type: application/json\r\n" if body else b""
        length = b"Content-Length: %d\r\n\r\n" % len(body)
        self._transport.write(
            b"%b %b HTTP/1.1\r\n" % (method.encode(), path.encode()) + self._head + kind + length + body
        )
        return self._waiting

    async def call(self, method: str, path: str, body: object = None) -> Reply:
        """Send a request with a JSON body and return its answer."""
        sent = b"" if body is None else msgspec.json.encode(body)
        async with asyncio.timeout(_PATIENCE):
            return await self.send(method, path, sent)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if len(self._buffer) < self._needs:
            return
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(self._buffer, 0, end + 2)
        self._needs = end + 4 + (int(length[1]) if length else 0)
        if len(self._buffer) < self._needs:
            return
        reply = Reply(int(self._buffer[9:12]), self._buffer[end + 4 : self._needs])
        self._buffer, self._needs = b"", 0
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionResetError("the server hung up"))
