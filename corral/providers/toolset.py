"""What the engine is given: Corral's own tools from above, and connections to MCP servers from beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import msgspec

from corral.mcp.pool import User
from corral.wire.agents import McpServer
from corral.wire.runner import Assignment, Held
from corral.wire.tools import ToolAnswer, ToolSpec


class Toolset(Protocol):
    """Corral's own tools. The same `call_id` is the same call, also after a crash: it is carried out once."""

    def specs(self, assignment: Assignment) -> Sequence[ToolSpec]:
        """Return the tools that this attempt may call."""

    async def call(self, held: Held, call_id: str, name: str, input: msgspec.Raw) -> ToolAnswer:
        """Carry a call of this attempt out, and wait until it is answered. Raises LeaseLost, Unavailable."""


class Connection(Protocol):
    """A live MCP server."""

    @property
    def specs(self) -> Sequence[ToolSpec]:
        """Return its tools, by its own names."""

    async def call(self, name: str, arguments: Mapping[str, Any], seconds: float) -> ToolAnswer:
        """Call one of them, which has so many seconds to answer."""

    async def renew(self) -> bool:
        """Hear of tools that have changed; tell whether any have."""


#: Reach an MCP server for a run; raises whatever keeps it from being reached.
Connect = Callable[[McpServer, User], AbstractAsyncContextManager[Connection]]
