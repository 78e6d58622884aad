"""An MCP server for one run: its tools, and calls of them. Whatever goes wrong with a call is an answer to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from corral.base.redactor import Redactor
from corral.mcp.link import Ended, Link, Unreachable
from corral.mcp.pool import Pool, User
from corral.wire.agents import McpServer
from corral.wire.tools import ToolAnswer, ToolSpec

if TYPE_CHECKING:
    from mcp.types import CallToolResult

#: Seconds until a server must have said which tools it has, and until a tool must have answered.
START_SECONDS = 30.0
CALL_SECONDS = 600.0
#: How often a server is started in one run: one that always ends is left alone at last.
_MOST_STARTS = 10
#: Seconds for a server that has ended to be gone as well.
_LAST_WORDS = 1.0

#: Is told how a server is found: None is well, else why it is not.
Note = Callable[[str | None], None]


@asynccontextmanager
async def connect(
    server: McpServer, user: User, pool: Pool, *, note: Note = lambda _: None, start_seconds: float = START_SECONDS
) -> AsyncIterator[Session]:
    """Start or reach a server for as long as the context lasts. Raises Unreachable, which says why."""
    session = Session(server, user, pool, note, start_seconds)
    try:
        await session.start()
        yield session
    finally:
        session.close()


@asynccontextmanager
async def once(server: McpServer, user: User, *, start_seconds: float = START_SECONDS) -> AsyncIterator[Session]:
    """Start or reach a server for this one time, and leave nothing of it."""
    pool = Pool(idle_seconds=0)
    try:
        async with connect(server, user, pool, start_seconds=start_seconds) as session:
            yield session
    finally:
        await pool.close()


class Session:
    """A server as one run has it. One that has ended, or hangs, is started again by the next call."""

    def __init__(self, server: McpServer, user: User, pool: Pool, note: Note, start_seconds: float) -> None:
        """Take the server, for whom it is, where connections come from, and how long a start may take."""
        self.specs: Sequence[ToolSpec] = ()  #: its tools by its own names, as they were when last listed
        self._server, self._user, self._pool, self._tell = server, user, pool, note
        self._start_seconds = start_seconds
        self._redactor = Redactor(server.secrets)
        self._link: Link | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._starts = 0
        self._calls = 0  #: under way
        self._used = time.monotonic()
        self._noted: tuple[str | None] | None = None
        self._one_at_a_time = asyncio.Lock()

    async def start(self) -> None:
        """Connect."""
        try:
            await self._started()
        except Unreachable as error:
            self._note(error.message)
            raise
        self._note(None)

    async def renew(self) -> bool:
        """List the tools anew if the server says that they have changed; tell whether they have."""
        link, before = self._link, self.specs
        if link is not None and link.is_stale and not link.has_ended:
            await link.is_alive()
            self.specs = link.specs
        return self.specs != before

    async def call(self, name: str, arguments: Mapping[str, Any], seconds: float = CALL_SECONDS) -> ToolAnswer:
        """Call a tool by the server's own name for it; it has so many seconds to answer."""
        self._calls += 1
        try:
            return await self._call(name, arguments, seconds)
        finally:
            self._calls -= 1
            self._used = time.monotonic()

    def close(self) -> None:
        """Let the server be."""
        if self._link is not None:
            link, self._link = self._link, None
            self._pool.give(link)

    @property
    def unused_since(self) -> float | None:
        """Return since when nothing was called; None while something is."""
        return None if self._calls or self._link is None else self._used

    def lay_down(self) -> None:
        """Give the connection up: the next call starts another."""
        if self._link is not None:
            self._starts -= 1  # it is not to blame
            self._drop(self._link)

    async def _call(self, name: str, arguments: Mapping[str, Any], seconds: float) -> ToolAnswer:
        import mcp

        try:
            link = await self._usable()
        except Unreachable as error:
            return self._broke(f"The MCP server {self._server.name} cannot be used: {error.message}")
        try:
            async with asyncio.timeout(seconds):
                result = await link.call(name, arguments)
        except asyncio.CancelledError:
            link.is_doubtful = link.was_given_up = True
            raise
        except TimeoutError:
            link.is_doubtful = link.was_given_up = True
            return self._broke(f"{name} gave no answer in {seconds:g} seconds; it may still have an effect")
        except Ended:
            self._drop(link)
            if self._leaving is not None:  # only then is known why
                await asyncio.wait({self._leaving}, timeout=_LAST_WORDS)
            what = link.told(f"The MCP server {self._server.name} ended during the call of {name}")
            return self._broke(f"{what}. The call may have had an effect. The next one starts the server again.")
        except mcp.MCPError as error:
            link.is_doubtful = True  # its session is gone, perhaps, if it was started anew elsewhere
            why = f"{name} failed: {error.message}{link.status}"
            return self._broke(why) if link.status else _mistake(why)
        except Exception as error:  # noqa: BLE001 - an answer that breaks the protocol, or one that is none
            link.is_doubtful = True
            return _mistake(f"{name} failed: {str(error) or type(error).__name__}")
        self._note(None)
        return _answer(result)

    async def _usable(self) -> Link:
        async with self._one_at_a_time:
            link = self._link
            if link is not None and not await link.is_usable():
                self._drop(link)
            return self._link or await self._started()

    async def _started(self) -> Link:
        if self._starts == _MOST_STARTS:
            raise Unreachable(f"it was started {self._starts} times and ended each time")
        self._starts += 1
        if self._leaving is not None:  # what two of it would both want, only one can have
            await asyncio.wait({self._leaving})
        self._link = await self._pool.take(self._server, self._user, self, seconds=self._start_seconds)
        self.specs = self._link.specs
        return self._link

    def _drop(self, link: Link) -> None:
        if self._link is link:
            self._link = None
            self._leaving = self._pool.drop(link)

    def _broke(self, why: str) -> ToolAnswer:
        self._note(why)
        return _mistake(why)

    def _note(self, why: str | None) -> None:
        why = self._redactor.text(why) if why is not None else None
        if self._noted != (why,):
            self._noted = (why,)
            self._tell(why)


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
