"""Corral's own tools for agents that are executed in this process: the same calls, without HTTP."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from corral.agents import tools
from corral.base.errors import LeaseLost
from corral.runs import callers
from corral.wire.runner import Assignment, Held
from corral.wire.tools import ToolAnswer, ToolCall, ToolSpec, run_token, specs


class OwnTools:
    """The toolset of the provider engine."""

    def specs(self, assignment: Assignment) -> Sequence[ToolSpec]:
        """Return the tools; a run without an agent has none."""
        return specs() if assignment.agent is not None else ()

    async def call(self, held: Held, call_id: str, name: str, input: msgspec.Raw) -> ToolAnswer:
        """Carry a call of this attempt out, and wait until it is answered."""
        while True:
            caller = await callers.authenticate(run_token(held.run_id, held.lease))
            if caller is None:
                raise LeaseLost
            answer = await tools.call(caller.org_id, caller.run_id, name, ToolCall(call_id, input))
            if answer.done:
                return answer
