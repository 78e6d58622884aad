"""What an attempt says: events, usage and entries of its conversation in one transaction each, fenced by its lease."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from corral.base.backoff import Backoff
from corral.base.errors import LeaseLost, Unavailable
from corral.base.logs import get_logger
from corral.base.redactor import Redactor
from corral.providers.conversation import Conversation
from corral.providers.entries import Entry
from corral.providers.provider import clean, encode
from corral.runs import ingest
from corral.runs.ingest import Beside
from corral.wire.events import EventBatch, EventType, RunnerEvent, TokenFrame, Usage
from corral.wire.runner import Assignment

Event = tuple[EventType, Mapping[str, Any]]

#: Streamed text goes out at most so often.
FRAME_SECONDS = 0.05

log = get_logger()

_decode = msgspec.json.Decoder(Entry).decode


class Journal:
    """The one writer of an attempt's events. Raises LeaseLost once the attempt is another's."""

    def __init__(self, org_id: int, assignment: Assignment, on_lost: Callable[[], None]) -> None:
        """Go on after what is stored; `on_lost` is called when a frame finds the lease gone."""
        self._org_id = org_id
        self._run_id = assignment.run_id
        self._attempt = assignment.attempt
        self._lease = assignment.lease
        self._n = assignment.stored_n
        self._is_in_doubt = False  #: whether the last batch is stored is not known
        self._on_lost = on_lost
        self._turn = asyncio.Lock()
        self.redactor = Redactor({})  #: masks all that is stored or shown, the conversation included
        self._frames: list[TokenFrame] = []
        self._sending: asyncio.Task[None] | None = None

    async def write(
        self,
        events: Sequence[Event] = (),
        *,
        entries: Sequence[Entry] = (),
        talk: Conversation | None = None,
        usage: Sequence[Usage] = (),
    ) -> None:
        """Store all of it, or nothing; waits for a database that is away."""
        happened = time.monotonic()
        payloads = [(kind, msgspec.Raw(self.redactor.json(bytes(encode(payload))))) for kind, payload in events]
        entries = [self._masked(entry) for entry in entries]
        async with self._turn:
            kept = talk.next(entries) if talk is not None else []
            beside = talk.storing(kept) if talk is not None and kept else None
            frames, self._frames = self._frames, []
            backoff = Backoff(most=5.0)
            while True:
                # Made anew each time: what was rolled back may have changed it.
                age = time.monotonic() - happened
                numbered = [
                    RunnerEvent(n, kind, payload, age) for n, (kind, payload) in enumerate(payloads, self._n + 1)
                ]
                batch = EventBatch(self._attempt, self._lease, numbered, list(usage), frames)
                try:
                    await self._send(batch, beside)
                    break
                except Unavailable as error:
                    log.warning("the database is away", run=self._run_id, error=error.message)
                    await asyncio.sleep(backoff.next())
            self._n += len(events)
            if talk is not None:
                talk.take(kept)

    async def end(self, events: Sequence[Event], *, usage: Sequence[Usage] = ()) -> None:
        """Store the attempt's last words, also after a write that was cut off."""
        if self._is_in_doubt:
            stored = await ingest.ingest(self._org_id, self._run_id, EventBatch(self._attempt, self._lease))
            self._n, self._is_in_doubt = stored.n, False
        await self.write(events, usage=usage)

    def frame(self, block: str, offset: int, text: str, *, is_thought: bool) -> None:
        """Show a piece of an answer to whoever watches."""
        kind, text = "thinking" if is_thought else "text", clean(text)
        last = self._frames[-1] if self._frames else None
        if last is not None and last.block == block and last.offset + len(last.text) == offset:
            last.text += text
        else:
            self._frames.append(TokenFrame(block, offset, text, kind))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_frames())

    def close(self) -> None:
        """Send no more frames."""
        self._frames = []
        if self._sending is not None:
            self._sending.cancel()

    def _masked(self, entry: Entry) -> Entry:
        data = msgspec.json.encode(entry)
        masked = self.redactor.json(data)
        return entry if masked is data else _decode(masked)

    async def _send(self, batch: EventBatch, beside: Beside | None) -> None:
        """Send a batch. Who is cancelled meanwhile waits for how it ends: what is stored must be known."""
        self._is_in_doubt = True
        sending = asyncio.ensure_future(ingest.ingest(self._org_id, self._run_id, batch, beside))
        try:
            await asyncio.shield(sending)
        except asyncio.CancelledError:
            await asyncio.wait({sending})
            raise
        self._is_in_doubt = False

    async def _send_frames(self) -> None:
        try:
            await asyncio.sleep(FRAME_SECONDS)
            frames, self._frames = self._frames, []
            if frames:
                await ingest.ingest(self._org_id, self._run_id, EventBatch(self._attempt, self._lease, tokens=frames))
        except LeaseLost:
            self._on_lost()
        except Unavailable:
            pass  # the whole text comes as an event
        finally:
            self._sending = None
            if self._frames:
                self._sending = asyncio.create_task(self._send_frames())
