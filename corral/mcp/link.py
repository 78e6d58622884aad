"""One live connection to an MCP server, through the official client, which is imported when first needed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import msgspec

import corral
from corral.base.errors import CorralError
from corral.base.logs import get_logger
from corral.base.redactor import Redactor
from corral.mcp import child
from corral.mcp.allowance import Allowance
from corral.mcp.child import Tail
from corral.mcp.reach import Reach
from corral.wire.agents import McpServer
from corral.wire.tools import ToolSpec

if TYPE_CHECKING:
    import anyio
    import mcp
    from mcp.client._transport import Transport
    from mcp.types import CallToolResult, Tool

#: Tools are listed anew when so much time has passed, or the server says that they are others now.
TOOLS_SECONDS = 60.0
#: Seconds that a server gets to end after it was told to, and after SIGTERM; when the platform itself ends, fewer.
_GRACE, _HURRIED = 2.0, 0.4
#: In all of that the official client is done, unless something is wrong with it or with what it says goodbye to.
_MOST_SECONDS, _HURRIED_SECONDS = 10.0, 2.0
#: What the official client says where a connection was cut; by its code, servers say all kinds of things.
_CLOSED = "Connection closed"
#: Seconds to answer, for a server that may hang.
_SIGN_OF_LIFE = 5.0
#: Of its tools count so many, that take so many bytes to describe, each and together.
_MOST_PAGES = 100
_MOST_TOOLS = 500
_LONGEST_TOOL, _LONGEST_TOOLS = 100_000, 1_000_000

log = get_logger()


class Unreachable(CorralError):
    """The MCP server cannot be reached."""


class Ended(CorralError):
    """The MCP server ended during a call."""


class Link:
    """A server that was started or reached.

    Its official client lives in a task of its own, because it must be left by the task that entered it; that task is
    never cancelled from outside, which could leave a process behind.
    """

    def __init__(self, server: McpServer, reach: Reach) -> None:
        """Take the server, and what may be reached; `start` connects."""
        self.specs: list[ToolSpec] = []  #: its tools by its own names
        self.is_stale = False  #: it says that its tools have changed
        self.is_doubtful = False  #: something was not as it should be: it may hang
        self.was_given_up = False  #: a call was, which may go on there for ever
        self.has_ended = False
        self._server = server
        self._reach = reach
        self._redactor = Redactor(server.secrets)
        self._client: mcp.Client | None = None
        self._tail = Tail()
        self._broken = ""  #: why it was broken off
        self._last_status = 0
        self._listed_at = 0.0
        self._grace = _GRACE
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ready.add_done_callback(lambda ready: ready.cancelled() or ready.exception())  # may be awaited by nobody
        self._closing = asyncio.Event()
        self._scope: anyio.CancelScope | None = None
        self._owner: asyncio.Task[None] | None = None

    async def start(self, seconds: float) -> None:
        """Connect, and learn which tools there are. Raises Unreachable; `close` it also then."""
        if self._server.transport == "stdio" and not self._reach.stdio:
            why = "agents inside the platform cannot have commands started here (CORRAL_PROVIDER_STDIO). Those with a "
            raise Unreachable(f"{why}machine can")
        await asyncio.to_thread(_load)
        import anyio

        self._scope = anyio.CancelScope()
        self._owner = asyncio.create_task(self._own(self._scope), name=f"mcp {self._server.name}")
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(self._ready)
        except TimeoutError:
            raise Unreachable(self.told(f"no answer within {seconds:g} seconds")) from None
        except Exception as error:
            raise Unreachable(self.told(_why(error))) from error

    async def call(self, name: str, arguments: Mapping[str, Any]) -> CallToolResult:
        """Call a tool. Raises Ended, and MCPError for what the server itself says is wrong."""
        import mcp

        assert self._client is not None
        if self.has_ended:
            raise Ended
        try:
            return await self._client.call_tool(name, dict(arguments))
        except mcp.MCPError as error:
            if error.message == _CLOSED or self._is_over():
                raise Ended from error
            raise

    async def is_fit(self) -> bool:
        """Tell whether it is of use to another run, with tools that are not too old."""
        if self.has_ended or self.was_given_up:
            return False
        is_fresh = time.monotonic() - self._listed_at < TOOLS_SECONDS
        return (is_fresh and not self.is_stale and not self.is_doubtful) or await self.is_alive()

    async def is_usable(self) -> bool:
        """Tell whether it is of use to its run as before."""
        return not self.has_ended and (not self.is_doubtful or await self.is_alive())

    async def is_alive(self) -> bool:
        """Tell whether it answers, by its tools as they are now."""
        if self.has_ended:
            return False
        try:
            async with asyncio.timeout(_SIGN_OF_LIFE):
                await self._list()
        except Exception:  # noqa: BLE001 - whatever it is, it is no sign of life
            return False
        self.is_doubtful = False
        return True

    async def close(self, *, hurry: bool = False) -> None:
        """End it, in any case: a process that does not end by itself is killed with its whole group."""
        self._grace = _HURRIED if hurry else self._grace
        if self._owner is None or self._scope is None:
            return
        if self._ready.done():
            self._closing.set()
        else:
            self._scope.cancel()
        _, late = await asyncio.wait([self._owner], timeout=_HURRIED_SECONDS if hurry else _MOST_SECONDS)
        if late:
            self._scope.cancel()
            _, late = await asyncio.wait([self._owner], timeout=_MOST_SECONDS)
        if late:
            log.error("an MCP server does not end", server=self._server.name)

    async def _own(self, scope: anyio.CancelScope) -> None:
        import mcp
        from mcp.types import Implementation

        with scope:
            try:
                async with AsyncExitStack() as stack:
                    client = mcp.Client(
                        self._transport(),
                        client_info=Implementation(name="corral", version=corral.__version__),
                        message_handler=self._hear,
                        cache=None,  # ours is as long as the connection
                    )
                    self._client = await stack.enter_async_context(client)
                    await self._list()
                    listening = asyncio.create_task(self._listen(client))
                    stack.callback(listening.cancel)
                    self._ready.set_result(None)
                    await self._closing.wait()
            except Exception as error:  # noqa: BLE001 - as the server has it
                if not self._ready.done():
                    self._ready.set_exception(error)
                else:
                    self._broken = self._broken or _why(error)
                    log.info("an MCP server ended badly", server=self._server.name, error=self.told("it ended"))
            finally:
                self.has_ended = True
        if not self._ready.done():
            self._ready.set_exception(Unreachable(self._broken or None))

    def _transport(self) -> Transport:
        allowance = Allowance(self._break_off)
        if self._server.transport == "stdio":
            return child.transport(
                self._server, self._tail, allowance, on_end=self._note_end, grace=lambda: self._grace
            )
        from corral.mcp import far

        return far.transport(self._server, self._reach, allowance, on_status=self._note_status, on_end=self._note_end)

    async def _list(self) -> None:
        assert self._client is not None
        self.is_stale = False
        found: list[ToolSpec] = []
        cursor: str | None = None
        left, is_whole = _LONGEST_TOOLS, True
        for _ in range(_MOST_PAGES):
            page = await self._client.list_tools(cursor=cursor)
            for tool in page.tools:
                spec, size = self._spec(tool)
                if size <= min(left, _LONGEST_TOOL) and len(found) < _MOST_TOOLS:
                    found.append(spec)
                    left -= size
                else:
                    is_whole = False
            cursor = page.next_cursor
            if cursor is None or len(found) >= _MOST_TOOLS:
                break
        if not is_whole:
            log.warning("an MCP server has more tools than count", server=self._server.name, used=len(found))
        self.specs, self._listed_at = found, time.monotonic()

    def _spec(self, tool: Tool) -> tuple[ToolSpec, int]:
        """Return a tool as models may read of it, and how many bytes that are."""
        spec = ToolSpec(tool.name, tool.description or tool.title or "", tool.input_schema)
        told = msgspec.json.encode(spec)
        if not self._redactor.is_empty and len(told) <= _LONGEST_TOOL:
            spec = msgspec.json.decode(self._redactor.json(told), type=ToolSpec)
        return spec, len(told)

    async def _hear(self, message: Any) -> None:
        from mcp.types import ToolListChangedNotification

        if isinstance(message, ToolListChangedNotification):
            self.is_stale = True

    async def _listen(self, client: mcp.Client) -> None:
        """Hear of changed tools from servers of the newer protocol, which tell only those who listen."""
        from mcp.types.version import MODERN_PROTOCOL_VERSIONS

        tools = client.server_capabilities.tools
        if tools is None or not tools.list_changed or client.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            return
        try:
            async with client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    self.is_stale = True
        except Exception:  # noqa: BLE001 - it tells nobody, then
            self.is_stale = True

    def _is_over(self) -> bool:
        """Tell whether it has ended meanwhile."""
        return self.has_ended

    def _note_end(self) -> None:
        self.has_ended = True
        self._closing.set()

    def _break_off(self, why: str) -> None:
        self._broken = self._broken or why
        self._note_end()
        if not self._ready.done() and self._scope is not None:
            self._scope.cancel()

    def _note_status(self, status: int) -> None:
        self._last_status = status

    @property
    def status(self) -> str:
        """What HTTP last said, if that was bad, to be added to a sentence."""
        return f" (HTTP status {self._last_status})" if self._last_status >= 400 else ""

    def told(self, what: str) -> str:
        """Say what happened, with what the server had to say itself, but for what it must not tell."""
        tail = self._tail.text()
        what = f"{what}: {self._broken}" if self._broken and self._broken not in what else what
        what = what + self.status + (f"; it wrote: {tail}" if tail else "")
        return self._redactor.text(what)


def _load() -> None:
    """Import the official client, and keep what servers write out of our log: it would print it, with tracebacks."""
    import mcp  # noqa: F401 - takes a third of a second

    for name in ("mcp", "client"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _why(error: BaseException) -> str:
    """Return what to tell of an error: the first of a group's, as task groups raise them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__
