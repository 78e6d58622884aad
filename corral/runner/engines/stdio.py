"""The worker's end of the protocol: lines in from the job on stdin, lines out to it on what was stdout."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections import deque

import msgspec

from corral.runner.engines.protocol import FromWorker, ToWorker

_CHUNK = 1 << 16


class Channel:
    """One connection to the job. Made first of all, so that nothing but protocol lines ever reaches the job."""

    def __init__(self) -> None:
        """Take stdout for ourselves: whatever else prints there lands on stderr from now on."""
        sys.stdout.flush()
        self._out = os.dup(1)
        os.dup2(2, 1)
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(ToWorker).decode
        self._partial = b""
        self._lines: deque[ToWorker] = deque()
        self._arrived = asyncio.Event()
        self._ended = False

    def send(self, line: FromWorker) -> None:
        """Write a line; wait for a job that is slow to read. A job that is gone shows at the end of stdin, not here."""
        data = memoryview(self._encode(line) + b"\n")
        try:
            while data:
                data = data[os.write(self._out, data) :]
        except BrokenPipeError:
            return

    def listen(self) -> None:
        """Begin to read stdin, on the running loop."""
        os.set_blocking(0, False)
        asyncio.get_running_loop().add_reader(0, self._read)

    def end(self) -> None:
        """Behave as if the job were gone."""
        self._ended = True
        asyncio.get_running_loop().remove_reader(0)
        self._arrived.set()

    async def receive(self) -> ToWorker | None:
        """Return the next line, or None when the job is gone."""
        while not self._lines:
            if self._ended:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        return self._lines.popleft()

    def waiting(self) -> list[ToWorker]:
        """Return, without waiting, what has arrived and was not received yet."""
        if not self._ended:
            self._read()
        lines = list(self._lines)
        self._lines.clear()
        return lines

    def _read(self) -> None:
        try:
            data = os.read(0, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.end()
            return
        *whole, self._partial = (self._partial + data).split(b"\n")
        for line in whole:
            try:
                self._lines.append(self._decode(line))
            except msgspec.DecodeError as error:
                log(f"The job sent a line that cannot be read: {error}")
        self._arrived.set()


def log(message: str) -> None:
    """Say something on stderr, which the job keeps for people."""
    with contextlib.suppress(OSError):  # the job may be gone, and there is still a tree to end
        print(message, file=sys.stderr, flush=True)  # noqa: T201 - stderr is the worker's log
