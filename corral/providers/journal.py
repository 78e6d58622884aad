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
from corral.platform.database import Unit
from corral.providers.conversation import Conversation
from corral.providers.entries import Entry
from corral.providers.provider import clean, encode
from corral.runs import ingest
from corral.runs.frames import token_hint
from corral.runs.hints import Hints
from corral.runs.ingest import Beside
from corral.wire.events import Drafts, EventBatch, EventType, RunnerEvent, TokenFrame, Usage
from corral.wire.purse import Purse
from corral.wire.runner import Assignment, secrets_of

Event = tuple[EventType, Mapping[str, Any]]

#: Streamed text goes out at most so often, and whoever streams asks so often whether the attempt is still its own.
FRAME_SECONDS, CHECK_SECONDS = 0.05, 2.0

log = get_logger()

_decode = msgspec.json.Decoder(Entry).decode


class Journal:
    """The one writer of an attempt's events. Raises LeaseLost once the attempt is another's."""

    def __init__(
        self, org_id: int, run_no: int, assignment: Assignment, *, purse: Purse, on_lost: Callable[[], None]
    ) -> None:
        """Go on after what is stored; `on_lost` is called when the lease is found to be gone while text streams."""
        self._org_id, self._run_no = org_id, run_no
        self._run_id = assignment.run_id
        self._attempt = assignment.attempt
        self._lease = assignment.lease
        self._n = assignment.stored_n
        self._is_in_doubt = False  #: whether the last batch is stored is not known
        self._purse = purse
        self._on_lost = on_lost
        self._turn = asyncio.Lock()
        #: Masks all that is stored or shown, the conversation included.
        self.redactor = Redactor(secrets_of(assignment), known=[assignment.cwd, assignment.model or ""])
        self._frames: list[TokenFrame] = []
        self._sending: asyncio.Task[None] | None = None
        self._checked = time.monotonic()
        #: What the answer that comes now has cost so far.
        self.so_far: Callable[[], Sequence[Usage]] = tuple
        self._has_drafts = False  #: the server knows of some of that
        self._drafted_at = 0

    async def write(
        self,
        events: Sequence[Event] = (),
        *,
        entries: Sequence[Entry] = (),
        talk: Conversation | None = None,
        usage: Sequence[Usage] = (),
        also: Callable[[], Unit[None]] | None = None,
    ) -> None:
        """Store all of it, or nothing; waits for a database that is away. `also` must bear to run twice."""
        happened = time.monotonic()
        payloads = [(kind, msgspec.Raw(self.redactor.json(bytes(encode(payload))))) for kind, payload in events]
        entries = [self._masked(entry) for entry in entries]
        async with self._turn:
            kept = talk.next(entries) if talk is not None else []
            storing = talk.storing(kept) if talk is not None and kept else None
            beside = _both(storing, also) if also is not None else storing
            self._show()
            backoff = Backoff(most=5.0)
            while True:
                # Made anew each time: what was rolled back may have changed it.
                age = time.monotonic() - happened
                numbered = [
                    RunnerEvent(n, kind, payload, age) for n, (kind, payload) in enumerate(payloads, self._n + 1)
                ]
                batch = EventBatch(self._attempt, self._lease, numbered, list(usage), drafts=self._drafts())
                try:
                    await self._send(batch, beside)
                    break
                except Unavailable as error:
                    log.warning("the database is away", run=self._run_id, error=error.message)
                    await asyncio.sleep(backoff.next())
            self._n += len(events)
            self._note_drafts(batch)
            for line in usage:
                self._purse.spend(line)
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
            if not sending.cancelled():
                sending.exception()  # noticed
            raise
        self._is_in_doubt = False

    async def _send_frames(self) -> None:
        try:
            await asyncio.sleep(FRAME_SECONDS)
            self._show()
            if time.monotonic() - self._checked > CHECK_SECONDS:
                batch = EventBatch(self._attempt, self._lease, drafts=self._drafts())
                await ingest.ingest(self._org_id, self._run_id, batch)
                self._note_drafts(batch)
                self._checked = time.monotonic()
        except LeaseLost:
            self._on_lost()
        except Unavailable:
            pass  # whoever writes next will find out
        finally:
            self._sending = None
            if self._frames:
                self._sending = asyncio.create_task(self._send_frames())

    def _drafts(self) -> Drafts | None:
        """Return what is to be told of the answer that comes now, or that there is none any more."""
        lines = list(self.so_far())
        if not lines and not self._has_drafts:
            return None
        self._drafted_at = max(self._drafted_at + 1, time.time_ns() // 1000)  # this attempt may have begun elsewhere
        return Drafts(self._drafted_at, lines)

    def _note_drafts(self, stored: EventBatch) -> None:
        if stored.drafts is not None:
            self._has_drafts = bool(stored.drafts.lines)

    def _show(self) -> None:
        """Let whoever watches see what came; nobody else needs to know, so it costs no transaction."""
        frames, self._frames = self._frames, []
        if frames:
            hints = Hints()
            hints.log(self._run_no, token_hint(frames))
            hints.publish()


def _both(storing: Beside | None, also: Callable[[], Unit[None]]) -> Beside:
    def unit(run_no: int) -> Unit[None]:
        if storing is not None:
            yield from storing(run_no)
        yield from also()

    return unit
