"""A stdio server's process: what it is started with, what it gets to see, and what it last wrote on stderr."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TextIO

from corral.base.errors import CorralError
from corral.wire.agents import McpServer

if TYPE_CHECKING:
    from mcp import StdioServerParameters

#: Beside what the official client passes on (HOME, PATH, USER, SHELL, TERM and their like): nothing of ours.
_PASSED = frozenset({"LANG", "TMPDIR", "TZ"})
#: Becomes the command, after asking Linux to kill it when we die: a server that ignores the end of its stdin
#: would outlive a `kill -9` of this process.
_LEASHED = (
    "import ctypes, os, sys\n"
    "ctypes.CDLL(None).prctl(1, 9)\n"
    "if os.getppid() == int(sys.argv[1]): os.execvp(sys.argv[2], sys.argv[2:])"
)
_TAIL_BYTES = 4096


class NoCommand(CorralError):
    """The command of an MCP server is not there."""


def parameters(server: McpServer) -> StdioServerParameters:
    """Return what the official client starts. Raises NoCommand."""
    from mcp import StdioServerParameters

    env = {name: value for name, value in os.environ.items() if name in _PASSED or name.startswith("LC_")}
    env |= server.env
    command = shutil.which(server.command or "", path=env.get("PATH"))
    if command is None:
        raise NoCommand(f"there is no command {server.command} on the server's machine")
    words = [command, *server.args]
    if sys.platform == "linux":
        words = [sys.executable, "-I", "-S", "-c", _LEASHED, str(os.getpid()), *words]
    return StdioServerParameters(command=words[0], args=words[1:], env=env)


class Tail(asyncio.Protocol):
    """The last that was written into a pipe."""

    def __init__(self) -> None:
        """Start empty."""
        self._kept = b""

    def data_received(self, data: bytes) -> None:
        """Keep the end of it."""
        self._kept = (self._kept + data)[-_TAIL_BYTES:]

    def text(self) -> str:
        """Return it, from the beginning of a line if it was cut."""
        text = self._kept.decode(errors="replace")
        return (text.partition("\n")[2] if len(self._kept) == _TAIL_BYTES else text).strip()


@asynccontextmanager
async def stderr() -> AsyncIterator[tuple[TextIO, Tail]]:
    """Yield a file for a child's stderr, and what comes of it."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", 0) as ours, os.fdopen(writing, "w") as theirs:
        transport, tail = await asyncio.get_running_loop().connect_read_pipe(Tail, ours)
        try:
            yield theirs, tail
        finally:
            transport.close()
