"""A stdio server's process: what it is started with, what it gets to see, what comes of it, and its end.

The official client has a transport of its own for this. It keeps in memory whatever a server writes before the end of a
line, reads on at full speed what nobody wants, and leaves alone what a server that ended has started.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from corral.base.errors import CorralError
from corral.mcp.allowance import MOST_BYTES, Allowance
from corral.mcp.incoming import Incoming
from corral.wire.agents import McpServer

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams
    from mcp.shared.message import SessionMessage

#: What it sees of our environment: nothing that is ours.
_PASSED = frozenset({"HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"})
#: Becomes the command, after asking Linux to kill it when we die: a server that ignores the end of its stdin
#: would outlive a `kill -9` of this process.
_LEASHED = (
    "import ctypes, os, sys\n"
    "ctypes.CDLL(None).prctl(1, 9)\n"
    "if os.getppid() == int(sys.argv[1]): os.execvp(sys.argv[2], sys.argv[2:])"
)
#: Of its stderr, what is kept, and what is read in a second: it waits for us then, not we for it.
_TAIL_BYTES = 4096
_STDERR_A_SECOND = 1024 * 1024
_LOOK_EVERY = 0.01


class NoCommand(CorralError):
    """The command of an MCP server is not there."""


@asynccontextmanager
async def transport(
    server: McpServer, tail: Tail, allowance: Allowance, *, on_end: Callable[[], None], grace: Callable[[], float]
) -> AsyncIterator[TransportStreams]:
    """Start it, and yield what the official client reads and writes; end it with its group. Raises NoCommand.

    `grace` is how many seconds it gets after the end of its stdin, and again after SIGTERM.
    """
    words, env = _words(server), _environment(server)
    async with tail.listening() as stderr:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            env=env,
            limit=MOST_BYTES,
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Incoming(_Lines(process.stdout, allowance), allowance, on_end), _Writing(process.stdin)
        finally:
            import anyio

            with anyio.CancelScope(shield=True):
                await _end(process, grace)


class _Lines:
    """The messages that a server writes, one a line."""

    def __init__(self, stdout: asyncio.StreamReader, allowance: Allowance) -> None:
        self._stdout = stdout
        self._allowance = allowance

    async def receive(self) -> SessionMessage | Exception:
        import anyio
        from mcp.shared.message import SessionMessage
        from mcp.types import jsonrpc_message_adapter

        try:
            line = await self._stdout.readline()
        except ValueError:
            self._allowance.too_long()
        if not line:
            raise anyio.EndOfStream
        self._allowance.take(len(line))
        try:
            return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
        except ValueError as error:
            return error  # some servers greet people on stdout

    async def aclose(self) -> None:
        """Let it be: the process is ended beside this."""


class _Writing:
    """What the official client writes to a server."""

    def __init__(self, stdin: asyncio.StreamWriter) -> None:
        """Take where it goes."""
        self._stdin = stdin

    async def send(self, item: SessionMessage) -> None:
        """Write a message. Raises BrokenResourceError if nobody reads any more."""
        import anyio

        try:
            self._stdin.write(item.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
            await self._stdin.drain()
        except (OSError, RuntimeError) as error:
            raise anyio.BrokenResourceError from error

    async def aclose(self) -> None:
        """Tell it that nothing more comes."""
        with suppress(OSError, RuntimeError):
            self._stdin.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class Tail(asyncio.Protocol):
    """The last that was written into a pipe."""

    def __init__(self) -> None:
        """Start empty."""
        self._kept = b""
        self._left = _STDERR_A_SECOND
        self._transport: asyncio.ReadTransport | None = None
        self._pause: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[BinaryIO]:
        """Yield the file to write into."""
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb", 0) as ours, os.fdopen(writing, "wb", 0) as theirs:
            self._transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: self, ours)
            try:
                yield theirs
            finally:
                if self._pause is not None:
                    self._pause.cancel()
                self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Keep the end of it, and read no faster than anybody writes who has something to say."""
        self._kept = (self._kept + data)[-_TAIL_BYTES:]
        self._left -= len(data)
        if self._left <= 0 and self._transport is not None:
            self._transport.pause_reading()
            self._pause = asyncio.get_running_loop().call_later(1.0, self._go_on)

    def text(self) -> str:
        """Return it, from the beginning of a line if it was cut."""
        text = self._kept.decode(errors="replace")
        return (text.partition("\n")[2] if len(self._kept) == _TAIL_BYTES else text).strip()

    def _go_on(self) -> None:
        assert self._transport is not None
        self._left, self._pause = _STDERR_A_SECOND, None
        if not self._transport.is_closing():
            self._transport.resume_reading()


def _words(server: McpServer) -> list[str]:
    command = shutil.which(server.command or "", path=_environment(server).get("PATH"))
    if command is None:
        raise NoCommand(f"there is no command {server.command} on the server's machine")
    words = [command, *server.args]
    if sys.platform == "linux":
        words = [sys.executable, "-I", "-S", "-c", _LEASHED, str(os.getpid()), *words]
    return words


def _environment(server: McpServer) -> dict[str, str]:
    passed = {name: value for name, value in os.environ.items() if name in _PASSED or name.startswith("LC_")}
    return {**passed, **server.env}


async def _end(process: asyncio.subprocess.Process, grace: Callable[[], float]) -> None:
    """End it: by the end of its stdin, else by SIGTERM, else by SIGKILL, which whatever is left of its group gets."""
    assert process.stdin is not None
    with suppress(OSError, RuntimeError):
        process.stdin.close()
    if not await _ends(process, grace()):
        _signal(process, signal.SIGTERM)
        await _ends(process, grace())
    _signal(process, signal.SIGKILL)
    await _ends(process, 2.0)
    # Whoever left its group may still hold our end of a pipe, which nothing public closes.
    pipes: Any = getattr(process, "_transport", None)
    if pipes is not None:
        pipes.close()


async def _ends(process: asyncio.subprocess.Process, seconds: float) -> bool:
    """Tell whether it ends within so many seconds; `wait` would wait for all who have inherited its pipes."""
    deadline = asyncio.get_running_loop().time() + seconds
    while process.returncode is None:
        if asyncio.get_running_loop().time() >= deadline:
            return False
        await asyncio.sleep(_LOOK_EVERY)
    return True


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
