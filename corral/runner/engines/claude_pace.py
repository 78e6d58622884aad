"""Where the cost of an attempt is limited, Claude Code asks before it asks the model again: after each batch of calls.

By then all that the answer before has used is told, and the results of its calls are in the session: an attempt that
ends here has lost nothing of what was paid for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from corral.runner.engines.claude_sdk import HookMatcher
from corral.runner.engines.protocol import MayGoOn
from corral.wire.runner import Assignment

#: The job answers within seconds, or ends us.
_PATIENCE = 600.0


class Pace:
    """The questions of one attempt and its sub-agents."""

    def __init__(self, assignment: Assignment, send: Callable[[MayGoOn], None]) -> None:
        """Take what tells whether there is a limit, and where questions go."""
        self._is_limited = assignment.money is not None or assignment.limits.max_cost_usd is not None
        self._send = send
        self._asked: dict[int, asyncio.Event] = {}
        self._count = 0

    @property
    def hooks(self) -> dict[Any, list[HookMatcher]]:
        """Return what holds the CLI."""
        if not self._is_limited:
            return {}
        return {"PostToolBatch": [HookMatcher(hooks=[self._ask], timeout=_PATIENCE)]}

    def go_on(self, id: int) -> None:
        """Let whoever asked this go on."""
        if id in self._asked:
            self._asked[id].set()

    async def _ask(self, _asked: Any, _tool_use_id: str | None, _context: Any) -> Any:
        self._count += 1
        name, answered = self._count, asyncio.Event()
        self._asked[name] = answered
        self._send(MayGoOn(name))
        try:
            await answered.wait()
        finally:
            del self._asked[name]
        return {}
