"""One live connection to an MCP server, through the official client, which is imported when first needed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from corral.base.errors import CorralError
from corral.base.logs import get_logger
from corral.mcp import child
from corral.mcp.child import Tail
from corral.wire.agents import McpServer
from corral.wire.tools import ToolSpec

if TYPE_CHECKING:
    import anyio
    import mcp
    from mcp.client._transport import Transport
    from mcp.types import CallToolResult

#: Seconds that a server gets to end well; the official client then kills its process group within some more.
_GRACE = 10.0
#: Seconds to answer, for a server that may hang.
_SIGN_OF_LIFE = 5.0
_MOST_PAGES = 100
#: What is shorter is no secret, and its letters are in every other word.
_SHORTEST_SECRET = 6

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

    def __init__(self, server: McpServer) -> None:
        """Take the server; `start` connects."""
        self._server = server
        self.specs: list[ToolSpec] = []
        self.is_doubtful = False  #: it did not answer in time, and may hang
        self._client: mcp.Client | None = None
        self._tail = Tail()
        self._last_status = 0
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ready.add_done_callback(lambda ready: ready.cancelled() or ready.exception())  # may be awaited by nobody
        self._closing = asyncio.Event()
        self._scope: anyio.CancelScope | None = None
        self._owner: asyncio.Task[None] | None = None

    async def start(self, seconds: float) -> None:
        """Connect, and learn which tools there are. Raises Unreachable, and then leaves nothing behind."""
        await asyncio.to_thread(_load)
        import anyio

        self._scope = anyio.CancelScope()
        self._owner = asyncio.create_task(self._own(self._scope), name=f"mcp {self._server.name}")
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(self._ready)
        except TimeoutError:
            await self.close()
            raise Unreachable(self.told(f"no answer within {seconds:g} seconds")) from None
        except asyncio.CancelledError:
            await self.close()
            raise
        except Exception as error:
            await self.close()
            raise Unreachable(self.told(_why(error))) from error

    async def call(self, name: str, arguments: Mapping[str, Any]) -> CallToolResult:
        """Call a tool. Raises Ended, and MCPError for what the server itself says is wrong."""
        import mcp
        from mcp.types import CONNECTION_CLOSED

        assert self._client is not None
        try:
            return await self._client.call_tool(name, dict(arguments))
        except mcp.MCPError as error:
            if error.code == CONNECTION_CLOSED:
                raise Ended from error
            raise

    async def is_alive(self) -> bool:
        """Tell whether it answers."""
        assert self._client is not None
        try:
            async with asyncio.timeout(_SIGN_OF_LIFE):
                await self._client.list_tools(cache_mode="bypass")
        except Exception:  # noqa: BLE001 - whatever it is, it is no sign of life
            return False
        return True

    async def close(self) -> None:
        """End it, in any case: a process that does not end by itself is killed with its whole group."""
        if self._owner is None or self._scope is None:
            return
        if self._ready.done():
            self._closing.set()
        else:
            self._scope.cancel()
        _, late = await asyncio.wait([self._owner], timeout=_GRACE)
        if late:
            self._scope.cancel()
            _, late = await asyncio.wait([self._owner], timeout=_GRACE)
        if late:
            log.error("an MCP server does not end", server=self._server.name)

    async def _own(self, scope: anyio.CancelScope) -> None:
        import mcp

        with scope:
            try:
                async with AsyncExitStack() as stack:
                    client = mcp.Client(await self._transport(stack))
                    self._client = await stack.enter_async_context(client)
                    self.specs = await self._list()
                    self._ready.set_result(None)
                    await self._closing.wait()
            except Exception as error:  # noqa: BLE001 - as the server has it
                if self._ready.done():
                    log.warning("an MCP server ended badly", server=self._server.name, error=self.told(_why(error)))
                else:
                    self._ready.set_exception(error)
        if not self._ready.done():
            self._ready.cancel()

    async def _transport(self, stack: AsyncExitStack) -> Transport:
        if self._server.transport == "stdio":
            from mcp.client.stdio import stdio_client

            told = child.parameters(self._server)
            file, self._tail = await stack.enter_async_context(child.stderr())
            return stdio_client(told, file)
        import httpx2
        from mcp.client.streamable_http import streamable_http_client

        async def note(response: httpx2.Response) -> None:
            self._last_status = response.status_code

        client = httpx2.AsyncClient(
            headers=self._server.headers,
            timeout=httpx2.Timeout(30, read=None),  # who calls limits the time
            event_hooks={"response": [note]},
        )
        await stack.enter_async_context(client)
        return streamable_http_client(self._server.url or "", http_client=client)

    async def _list(self) -> list[ToolSpec]:
        assert self._client is not None
        specs: list[ToolSpec] = []
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            page = await self._client.list_tools(cursor=cursor)
            specs += [
                ToolSpec(tool.name, tool.description or tool.title or "", tool.input_schema) for tool in page.tools
            ]
            cursor = page.next_cursor
            if cursor is None:
                break
        return specs

    @property
    def status(self) -> str:
        """What HTTP last said, if that was bad, to be added to a sentence."""
        return f" (HTTP status {self._last_status})" if self._last_status >= 400 else ""

    def told(self, what: str) -> str:
        """Say what happened, with what the server had to say itself, but for what it must not tell."""
        tail = self._tail.text()
        what = what + self.status + (f"; it wrote: {tail}" if tail else "")
        for value in (*self._server.env.values(), *self._server.headers.values()):
            for line in (value, *value.splitlines()):
                if len(line) >= _SHORTEST_SECRET:
                    what = what.replace(line, "***")
        return what


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
