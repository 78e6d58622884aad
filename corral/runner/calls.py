"""An attempt's calls of Corral's tools: asked of the server until their answers are there, however long that takes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import msgspec

from corral.base.backoff import Backoff
from corral.base.logs import get_logger
from corral.runner.client import Client, Refused, Retryable
from corral.runner.engines.protocol import CallTool, DoAnswer
from corral.runner.gate import Gate
from corral.wire.runner import Held
from corral.wire.tools import ToolAnswer, ToolCall, run_token

#: An answer that somebody else is waited for came at once: the next question waits so long.
AT_ONCE_SECONDS = 1.0


class Calls:
    """The calls of one attempt. Each is asked under its own id, so that the server does it once."""

    def __init__(
        self,
        held: Held,
        client: Client,
        gate: Gate,
        *,
        answer: Callable[[DoAnswer], None],
        on_change: Callable[[], None],
    ) -> None:
        """Take whose calls these are, where answers go, and whom to tell when one begins or ends to wait for others."""
        self.may_ask = asyncio.Event()  #: the server knows that the attempt has started
        self._token = run_token(held.run_id, held.lease)
        self._client = client
        self._gate = gate
        self._answer = answer
        self._on_change = on_change
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._waiting: set[str] = set()
        self._in_order = asyncio.Lock()
        self._hurry = asyncio.Event()
        self._log = get_logger(run=held.run_id, attempt=held.attempt)

    @property
    def are_waiting(self) -> bool:
        """Tell whether the server waits for somebody else's answer."""
        return bool(self._waiting)

    def begin(self, call: CallTool) -> None:
        """Ask until there is an answer."""
        if call.id not in self._asking:
            task = self._asking[call.id] = asyncio.create_task(self._ask(call), name=f"call {call.name} {call.id}")
            task.add_done_callback(lambda _: self._ended(call.id))

    def drop(self, call_id: str) -> None:
        """Nobody waits for this one any more."""
        if call_id in self._asking:
            self._asking[call_id].cancel()

    def hurry(self) -> None:
        """The server is back: do not wait for the next try."""
        self._hurry.set()

    async def close(self) -> None:
        """Drop them all: the attempt ends."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    async def _ask(self, call: CallTool) -> None:
        await self.may_ask.wait()
        try:
            async with self._in_order:  # what an agent does one after the other arrives so
                answer = await self._insist(call, 0.0)
            while not answer.done:
                self._note_waiting(call.id)
                asked = time.monotonic()
                answer = await self._insist(call, 25.0)
                if not answer.done and time.monotonic() - asked < AT_ONCE_SECONDS:
                    await self._pause(AT_ONCE_SECONDS)
        except Refused as refusal:
            self._log.warning("the server refuses a tool call", tool=call.name, **refusal.told)
            answer = ToolAnswer(done=True, text=refusal.message, is_error=True)
        except Exception as error:  # noqa: BLE001 - whatever it was, the agent does not wait for ever
            self._log.exception("a tool call broke", tool=call.name)
            answer = ToolAnswer(done=True, text=f"The runner made a mistake: {error!r}", is_error=True)
        self._answer(DoAnswer(call.id, answer.text, answer.is_error))

    async def _insist(self, call: CallTool, seconds: float) -> ToolAnswer:
        """Ask the server, which may wait for so long before it answers; again and again while it is away."""
        backoff = Backoff(first=0.2, most=15.0)
        asked = ToolCall(self._gate.text(call.id), msgspec.Raw(self._gate.json(bytes(call.input))), seconds)
        while True:
            try:
                return await self._client.call(self._token, self._gate.text(call.name), asked)
            except Retryable as error:
                await self._pause(max(backoff.next(), error.after))

    def _note_waiting(self, call_id: str) -> None:
        if call_id not in self._waiting:
            self._waiting.add(call_id)
            self._on_change()

    def _ended(self, call_id: str) -> None:
        del self._asking[call_id]
        self._waiting.discard(call_id)
        self._on_change()

    async def _pause(self, seconds: float) -> None:
        self._hurry.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
