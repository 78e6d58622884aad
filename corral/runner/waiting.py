"""What does an attempt wait for? People's answers and other agents': then its clocks stand, and it takes no slot."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from corral.runner.calls import Calls
from corral.runner.client import Client
from corral.runner.clocks import Clocks
from corral.runner.engines.protocol import CallTool, DoAnswer
from corral.runner.failure import Failure
from corral.runner.gate import Gate
from corral.runner.outbox import Outbox


class Waiting:
    """The open questions and calls of one attempt."""

    def __init__(
        self,
        outbox: Outbox,
        client: Client,
        gate: Gate,
        clocks: Clocks,
        *,
        answer: Callable[[DoAnswer], None],
        on_change: Callable[[], object],
    ) -> None:
        """Take how the agent is answered, and whom to tell when it begins to wait and when it goes on."""
        self.is_so = False  #: it waits, and the server knows
        self._outbox = outbox
        self._clocks = clocks
        self._answer = answer
        self._on_change = on_change
        self._questions: dict[str, int] = {}  # those that wait for a person → the event that asked
        self._calls = Calls(outbox.spool.held, client, gate, answer=self._answered, on_change=self._note)

    def ask(self, request_id: str) -> None:
        """A person is asked, in the event that is spooled next."""
        self._clocks.ask(request_id, time.monotonic())
        self._questions[request_id] = self._outbox.spool.last_n + 1

    def settle(self, request_id: str) -> bool:
        """It was answered or withdrawn; False if it was not open."""
        was_open = self._clocks.settle(request_id, time.monotonic())
        self._questions.pop(request_id, None)
        self._note()
        return was_open

    def call(self, call: CallTool) -> None:
        """The agent calls one of Corral's tools."""
        self._clocks.ask(_call(call.id), time.monotonic())
        self._calls.begin(call)

    def drop(self, call_id: str) -> None:
        """The agent waits for this call no longer."""
        self._clocks.settle(_call(call_id), time.monotonic())
        self._calls.drop(call_id)

    def note_stored(self) -> None:
        """The server has stored more than before, or lost some."""
        if self._outbox.stored > self._outbox.spool.head.first:
            self._calls.may_ask.set()
        self._note()

    def hurry(self) -> None:
        """The server is back: ask it now."""
        self._calls.hurry()

    async def close(self) -> None:
        """Drop all calls: the attempt ends."""
        await self._calls.close()

    def _answered(self, line: DoAnswer) -> None:
        self._clocks.settle(_call(line.id), time.monotonic())
        with contextlib.suppress(Failure):  # it is ending
            self._answer(line)

    def _note(self) -> None:
        """See whether the server knows us as waiting, which is what its own count of our slots goes by."""
        asked = any(n <= self._outbox.stored for n in self._questions.values())
        if (asked or self._calls.are_waiting) != self.is_so:
            self.is_so = not self.is_so
            self._on_change()


def _call(id: str) -> str:
    """Name a call for the clocks, beside what is asked of people."""
    return f"call {id}"
