"""What people are asked before a tool is called, and what they answer. It waits for as long as it takes."""

from __future__ import annotations

import asyncio
import json

import msgspec

from corral.providers.entries import Call
from corral.providers.journal import Journal
from corral.providers.limits import Clocks
from corral.wire.events import ApprovalKind, ApprovalRequest, EventType
from corral.wire.runner import Approve

_LINE_CHARACTERS = 200


class Approvals:
    """The open questions of one attempt. One that ends with it is asked again by the next, as the same action."""

    def __init__(self, journal: Journal, clocks: Clocks) -> None:
        """Take where questions go, and the clocks that stand still meanwhile."""
        self._journal, self._clocks = journal, clocks
        self._open: dict[str, asyncio.Future[Approve]] = {}
        self._count = 0

    async def ask(self, call: Call) -> Approve:
        """Put a call to people, and return what they say."""
        self._count += 1
        given = msgspec.json.decode(call.input)
        line = f"{call.name} {json.dumps(given, ensure_ascii=False) if given else ''}".strip()
        request = ApprovalRequest(
            request_id=f"ask-{self._count}",
            kind=ApprovalKind.TOOL,
            tool=call.name,
            input=call.input,
            cwd="",
            tool_use_id=call.id,
            description=line if len(line) <= _LINE_CHARACTERS else line[: _LINE_CHARACTERS - 1] + "…",
        )
        answer: asyncio.Future[Approve] = asyncio.get_running_loop().create_future()
        self._open[request.request_id] = answer
        try:
            with self._clocks.waiting():
                await self._journal.write(
                    [
                        (EventType.AGENT_NEEDS_ATTENTION, {"message": f"The agent asks: {request.description}"}),
                        (EventType.PERMISSION_REQUESTED, msgspec.structs.asdict(request)),
                    ]
                )
                return await answer
        finally:
            del self._open[request.request_id]

    def answer(self, approve: Approve) -> bool:
        """Hand a person's answer to the question it names; False if that is not open."""
        waiting = self._open.get(approve.request_id)
        if waiting is None or waiting.done():
            return False
        waiting.set_result(approve)
        return True
