"""An MCP server for one run: its tools, and calls of them. Whatever goes wrong with a call is an answer to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from corral.mcp.link import Ended, Link, Unreachable
from corral.wire.agents import McpServer
from corral.wire.tools import ToolAnswer, ToolSpec

if TYPE_CHECKING:
    from mcp.types import CallToolResult

#: Seconds until a server must have said which tools it has, and until a tool must have answered.
START_SECONDS = 30.0
CALL_SECONDS = 600.0
#: How often a server is started in one run: one that always ends is left alone at last.
_MOST_STARTS = 10


@asynccontextmanager
async def connect(
    server: McpServer, *, start_seconds: float = START_SECONDS, call_seconds: float = CALL_SECONDS
) -> AsyncIterator[Session]:
    """Start or reach a server for as long as the context lasts. Raises Unreachable, which says why."""
    session = Session(server, start_seconds, call_seconds)
    try:
        await session.start()
        yield session
    finally:
        await session.close()


class Session:
    """A server as one run has it. One that has ended, or hangs, is started again by the next call."""

    def __init__(self, server: McpServer, start_seconds: float, call_seconds: float) -> None:
        """Take the server and its limits of time."""
        self.specs: Sequence[ToolSpec] = ()  #: its tools by its own names, as they were at the start
        self._server = server
        self._start_seconds, self._call_seconds = start_seconds, call_seconds
        self._link: Link | None = None
        self._starts = 0
        self._one_at_a_time = asyncio.Lock()

    async def start(self) -> None:
        """Connect."""
        self.specs = (await self._started()).specs

    async def call(self, name: str, arguments: Mapping[str, Any]) -> ToolAnswer:
        """Call a tool by the server's own name for it."""
        import mcp

        try:
            link = await self._usable()
        except Unreachable as error:
            return _mistake(f"The MCP server {self._server.name} cannot be used: {error.message}")
        try:
            async with asyncio.timeout(self._call_seconds):
                return _answer(await link.call(name, arguments))
        except asyncio.CancelledError:
            link.is_doubtful = True
            raise
        except TimeoutError:
            link.is_doubtful = True
            return _mistake(f"{name} gave no answer in {self._call_seconds:g} seconds; it may still have an effect")
        except Ended:
            await self._drop(link)
            what = link.told(f"The MCP server {self._server.name} ended during the call of {name}")
            return _mistake(f"{what}. The call may have had an effect. The next one starts the server again.")
        except mcp.MCPError as error:
            link.is_doubtful = True  # of its session, perhaps, if it was started anew elsewhere
            return _mistake(f"{name} failed: {error.message}{link.status}")
        except Exception as error:  # noqa: BLE001 - an answer that breaks the protocol, or one that is none
            link.is_doubtful = True
            return _mistake(f"{name} failed: {str(error) or type(error).__name__}")

    async def close(self) -> None:
        """End the server if it was started here, and the connection."""
        if self._link is not None:
            await self._drop(self._link)

    async def _usable(self) -> Link:
        async with self._one_at_a_time:
            link = self._link
            if link is not None and link.is_doubtful:
                link.is_doubtful = False
                if not await link.is_alive():
                    await self._drop(link)
            return self._link or await self._started()

    async def _started(self) -> Link:
        if self._starts == _MOST_STARTS:
            raise Unreachable(f"it was started {self._starts} times and ended each time")
        self._starts += 1
        link = Link(self._server)
        await link.start(self._start_seconds)
        self._link = link
        return link

    async def _drop(self, link: Link) -> None:
        if self._link is link:
            self._link = None
        await link.close()


def _answer(result: CallToolResult) -> ToolAnswer:
    parts = [_text(part) for part in result.content]
    if not parts and result.structured_content is not None:
        parts = [msgspec.json.encode(result.structured_content).decode()]
    return ToolAnswer(done=True, text="\n".join(parts), is_error=bool(result.is_error))


def _text(part: Any) -> str:
    """Return a part of a result as text: what is none is named."""
    match part.type:
        case "text":
            return str(part.text)
        case "resource_link":
            return f"[{part.name}: {part.uri}]"
        case "resource" if hasattr(part.resource, "text"):
            return str(part.resource.text)
        case "resource":
            return f"[{part.resource.mime_type or 'resource'}: {part.resource.uri}]"
        case _:
            size = len(part.data) * 3 // 4 - part.data[-2:].count("=")
            return f"[{part.type}: {part.mime_type}, {size:,} bytes]"


def _mistake(text: str) -> ToolAnswer:
    return ToolAnswer(done=True, text=text, is_error=True)
