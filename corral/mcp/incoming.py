"""The messages of an MCP server on their way to the official client: counted, and never too many in a row."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, Self

from corral.mcp.allowance import Allowance, Flooded

if TYPE_CHECKING:
    from mcp.shared.message import SessionMessage

#: Messages that are there already are read in a row; then it is somebody else's turn.
_IN_A_ROW = 20


class Source(Protocol):
    """Where they come from."""

    async def receive(self) -> SessionMessage | Exception:
        """Return the next one, or why there is none in what came. Raises EndOfStream."""

    async def aclose(self) -> None:
        """Read no more."""


class Incoming:
    """The stream that the official client reads."""

    def __init__(self, source: Source, allowance: Allowance, on_end: Callable[[], None]) -> None:
        """Take where messages come from, how many may, and whom to tell that no more will."""
        self._source = source
        self._allowance = allowance
        self._on_end = on_end
        self._in_a_row = 0

    @property
    def last_context(self) -> Any:
        """Return what the official client wants to know of the newest message."""
        return getattr(self._source, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        """Return the next message. Raises EndOfStream, also for what floods."""
        import anyio

        self._in_a_row += 1
        if self._in_a_row > _IN_A_ROW:
            self._in_a_row = 0
            await asyncio.sleep(0)
        try:
            message = await self._source.receive()
            self._allowance.take(0, 1)
        except (Flooded, anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
            self._on_end()
            raise anyio.EndOfStream from None
        return message

    async def aclose(self) -> None:
        """Read no more."""
        await self._source.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        import anyio

        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
