"""A proxy before several servers: each request goes to the next of them, whatever connection it comes on.

It reads no more of HTTP than where a message ends and buffers nothing, which is all that streams and long polls need
of a proxy. A server that cannot be connected to is passed over.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Sequence

_PIECE = 65_536
_BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+) *\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked *\r\n", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: *close *\r\n", re.IGNORECASE)
#: Answers without a body, whatever their headers say.
_BARE = re.compile(rb"HTTP/1\.. (?:204|304)")


class Balancer:
    """Listens on `port`, in a thread of its own, for the servers at `ports`."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.port = 0
        self.served = dict.fromkeys(ports, 0)  #: port → requests that went there
        self._turns = itertools.cycle(ports)
        self._stopped = asyncio.Event()
        self._listens = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)
        self._thread.start()
        assert self._listens.wait(10)
        self.url = f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Close every connection, and listen no more."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._client, "127.0.0.1", 0, limit=_PIECE, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        self._listens.set()
        await self._stopped.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _client(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Answer a client's requests, one after the other, until it goes."""
        coming = asyncio.create_task(_head(reader))
        try:
            while head := await coming:
                near, far = await self._connect()
                far.write(head)
                answering = asyncio.create_task(_answer(head, near, writer))
                try:
                    with contextlib.suppress(ConnectionError):  # answered, and closed, before it was all sent
                        await _body(head, reader, far)
                    # The next request is waited for beside the answer: what comes may be that the client goes.
                    coming = asyncio.create_task(_head(reader))
                    await asyncio.wait({coming, answering}, return_when=asyncio.FIRST_COMPLETED)
                    if (coming.done() and not coming.result()) or not await answering:
                        return
                finally:
                    answering.cancel()
                    far.close()
        except (OSError, EOFError):
            return
        finally:
            coming.cancel()
            writer.close()

    async def _connect(self) -> tuple[StreamReader, StreamWriter]:
        for _ in self.served:
            port = next(self._turns)
            with contextlib.suppress(OSError):
                connected = await asyncio.open_connection("127.0.0.1", port, limit=_PIECE)
                self.served[port] += 1
                return connected
        raise ConnectionError


async def _head(reader: StreamReader) -> bytes:
    """Read up to a message's body; nothing, if the other side has gone."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
        return b""


async def _answer(request: bytes, reader: StreamReader, writer: StreamWriter) -> bool:
    """Pass an answer on; whether the connection goes on after it."""
    head = await _head(reader)
    while head.startswith(b"HTTP/1.1 100"):
        writer.write(head)
        head = await _head(reader)
    writer.write(head or _BAD_GATEWAY)
    if head and not request.startswith(b"HEAD ") and not _BARE.match(head):
        await _body(head, reader, writer)
    await writer.drain()
    return bool(head) and not _CLOSES.search(head)


async def _body(head: bytes, reader: StreamReader, writer: StreamWriter) -> None:
    """Pass a message's body on, each piece as it comes."""
    if _CHUNKED.search(head):
        while size := await _chunk(reader, writer):
            await _copy(size + 2, reader, writer)
        while await _line(reader, writer) != b"\r\n":
            pass
    elif length := _LENGTH.search(head):
        await _copy(int(length[1]), reader, writer)


async def _chunk(reader: StreamReader, writer: StreamWriter) -> int:
    return int((await _line(reader, writer)).partition(b";")[0], 16)


async def _line(reader: StreamReader, writer: StreamWriter) -> bytes:
    line = await reader.readuntil(b"\r\n")
    writer.write(line)
    return line


async def _copy(size: int, reader: StreamReader, writer: StreamWriter) -> None:
    while size:
        piece = await reader.read(min(size, _PIECE))
        if not piece:
            raise EOFError
        size -= len(piece)
        writer.write(piece)
        await writer.drain()
