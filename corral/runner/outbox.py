"""Bring one attempt's spool to the server: in order, again and again until it says that it is stored."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import msgspec

from corral.base.backoff import Backoff
from corral.base.logs import get_logger
from corral.runner.client import Client, Refused, Retryable
from corral.runner.gate import WHOLE_TEXTS, Gate
from corral.runner.spool import Piece, Spool
from corral.runner.tokens import Tokens
from corral.wire.events import ENDS_ATTEMPT, Drafts, EventBatch, EventType, RunnerEvent, TokenFrame, Usage

MOST_EVENTS = 200
MOST_BYTES = 1_000_000
#: How long to wait after the server refused something that another key, or another version of it, may take.
REFUSED_SECONDS = 30.0


class Outbox:
    """One attempt's way to the server. While a POST is under way the next batch collects; an idle one sends at once."""

    def __init__(
        self,
        spool: Spool,
        client: Client,
        on_fenced: Callable[[], None] = lambda: None,
        *,
        on_stored: Callable[[], None] = lambda: None,
        stored: int | None = None,
        gate: Gate | None = None,
    ) -> None:
        """Take the spool to send, what the server has of it, and whom to tell when that changes or it is not ours.

        Without a `gate` there is nothing to hide: what is in the spool went through one.
        """
        self.spool = spool
        self.fenced = False
        self.delivered = asyncio.Event()  #: the server has all that will ever be here
        self._client = client
        self._on_fenced = on_fenced
        self._on_stored = on_stored
        self._gate = gate or Gate()
        self._tokens = Tokens()
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._backoff = Backoff(first=0.2, most=15.0)
        self._away = False
        self._next = 0  # the record to send next
        self._sure = 0  # whatever is before it was followed by an event that the server has
        self._stored = spool.head.first if stored is None else stored  # what the server said last
        self._drafted = 0  # `Spool.drafted` as the server knows it
        self._wants_drafts = True  # until it refuses them
        self._most = MOST_EVENTS
        self._substitutes: dict[int, RunnerEvent] = {}  # for events that the server refused to store
        self._over = spool.end is not None
        self._task: asyncio.Task[None] | None = None
        self._when_done: Callable[[], object] = lambda: None
        self._log = get_logger(run=spool.head.run_id, attempt=spool.head.attempt)

    @property
    def stored(self) -> int:
        """Return the number of the last event that the server has."""
        return self._stored

    def start(self, when_done: Callable[[], object] = lambda: None) -> None:
        """Begin to send; `delivered` is set, and `when_done` called, when there is nothing left to send."""
        self._when_done = when_done
        self._task = asyncio.create_task(self._run(), name=f"outbox {self.spool.head.run_id}")

    async def stop(self) -> None:
        """Stop sending; what was not sent stays in the spool."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.spool.release()

    def event(self, type: EventType, payload: bytes) -> None:
        """Spool an event and send it as soon as nothing is under way."""
        self._show(self._gate.rest(type, payload))
        self.spool.append(type, self._gate.event(type, payload))
        self._over = self._over or type in ENDS_ATTEMPT
        self._wake.set()

    def usage(self, usage: Usage) -> None:
        """Spool a usage line; it goes with the next events."""
        self.spool.append_usage(self._gate.usage(usage))
        self._wake.set()

    def draft(self, usage: Usage) -> None:
        """Spool what a message is known to have used, and let the server know."""
        self.spool.append_draft(self._gate.usage(usage))
        self._wake.set()

    def token(self, frame: TokenFrame) -> None:
        """Show streamed text to whoever watches now."""
        self._show(self._gate.frame(frame))

    def _show(self, frame: TokenFrame | None) -> None:
        if frame is not None and not self._away and not self.fenced:
            self._tokens.add(frame)
            self._wake.set()

    def finish(self) -> None:
        """Nothing will be added any more, though no event ended the attempt: it was fenced."""
        self._over = True
        self._wake.set()

    def fence(self, why: str) -> None:
        """The attempt is no longer ours: send nothing but what it spent."""
        if not self.fenced:
            self.fenced = True
            self._log.warning("this attempt is no longer ours", why=why)
            self._on_fenced()
            self._wake.set()

    def hurry(self) -> None:
        """The server is back: do not wait for the next try."""
        self._hurry.set()

    async def _run(self) -> None:
        while not self._is_done():
            try:
                await self._send_next()
            except Exception as error:  # noqa: BLE001 - what is in the spool is not given up for a mistake of ours
                self._log.exception("sending broke; trying again", error=repr(error))
                await self._pause(REFUSED_SECONDS)
        self._close()

    async def _send_next(self) -> None:
        await self._something_to_send()
        piece, tokens = self._compose()
        drafts = self._drafts()
        if piece.events or piece.usage or tokens or drafts is not None:
            await self._send(piece, tokens, drafts)
        else:
            self._next = piece.next  # all of it was stored already

    def _is_done(self) -> bool:
        if not self._over or self._next < self.spool.count:
            return False
        return self.fenced or (self.spool.end is not None and self._stored >= self.spool.end_n)

    async def _something_to_send(self) -> None:
        """Return when a record waits, or a token frame is due, or nothing will ever come any more."""
        while self._next >= self.spool.count and not self._is_done():
            due = None if self.fenced else self._tokens.due_in(time.monotonic())
            if due == 0:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(due):
                    await self._wake.wait()
            self._wake.clear()

    def _compose(self) -> tuple[Piece, list[TokenFrame]]:
        piece = self.spool.read(self._next, self._most, MOST_BYTES, stored=self._stored)
        if self.fenced:  # only what was spent is still of interest
            return Piece(usage=piece.usage, next=piece.next), []
        if piece.events and self._most == MOST_EVENTS:
            # Lines that went without events: if the server lost just those, nothing else would tell.
            piece.usage = [*self.spool.read(self._sure, self._next - self._sure, MOST_BYTES).usage, *piece.usage]
        piece.events = [self._substitutes.get(event.n, event) for event in piece.events]
        early = any(event.type in WHOLE_TEXTS for event in piece.events)
        return piece, self._tokens.take(time.monotonic(), early=early)

    def _drafts(self) -> Drafts | None:
        """Return what no usage line tells yet, as it is now, if the server has not heard of that."""
        if self.fenced or not self._wants_drafts or self.spool.drafted == self._drafted:
            return None
        return Drafts(self.spool.drafted, self.spool.unsettled.lines)

    async def _send(self, piece: Piece, tokens: list[TokenFrame], drafts: Drafts | None) -> None:
        head = self.spool.head
        batch = EventBatch(head.attempt, head.lease, piece.events, piece.usage, tokens, drafts)
        try:
            answer = await self._client.send(head.run_id, batch)
        except Retryable as error:
            self._note_away(error)
            await self._pause(max(self._backoff.next(), error.after))
        except Refused as refusal:
            if drafts is not None and refusal.status in {400, 422}:
                self._log.warning("the server takes no drafts; going on without", **refusal.told)
                self._wants_drafts = False
            else:
                await self._note_refusal(piece, refusal)
        else:
            self._note_back()
            if drafts is not None:
                self._drafted = drafts.at
            was_whole, self._most = self._most == MOST_EVENTS, MOST_EVENTS
            if piece.events and was_whole:
                self._sure = self.spool.after(piece.events[-1].n)
            await self._note_stored(piece, answer.n)

    async def _note_stored(self, piece: Piece, stored: int) -> None:
        self._next = piece.next
        if stored > self.spool.last_n:
            self._log.warning("the server has more than this spool: a power cut took our last lines", stored=stored)
            self.spool.skip_to(stored)
        wanted = piece.events[-1].n if piece.events else min(self._stored, self.spool.last_n)
        self._stored = stored
        self._on_stored()
        if stored < wanted:
            self._go_back(stored)
            if piece.events and stored < piece.events[0].n - 1:
                self._log.warning("the server has less than before; sending again", stored=stored, sent=wanted)
            elif piece.events and stored < piece.events[0].n:
                await self._pause(self._backoff.next())  # it stored nothing of what it can store: not in a hot loop

    def _go_back(self, stored: int) -> None:
        self._stored = stored
        self._drafted = 0
        self._next = min(self._next, self.spool.after(stored))
        self._sure = min(self._sure, self._next)

    async def _note_refusal(self, piece: Piece, refusal: Refused) -> None:
        self._tokens.clear()
        if refusal.status in {404, 409}:
            # With 409 the usage lines of this batch were stored all the same; with 404 the run itself is gone.
            self._next = piece.next if refusal.status == 409 else self.spool.count
            self.fence(refusal.message)
        elif refusal.status in {400, 413, 422}:
            await self._narrow(piece, refusal)
        else:
            self._note_away(refusal)
            await self._pause(REFUSED_SECONDS)

    async def _narrow(self, piece: Piece, refusal: Refused) -> None:
        """Find the one record that the server does not take, and put something in its place that says so."""
        if len(piece.events) + len(piece.usage) > 1:
            self._most = max(1, min(self._most, piece.next - self._next) // 2)
            return
        self._wants_drafts = True  # if they were refused before, it was perhaps for this
        if piece.usage:
            self._log.error("the server refused a usage line", **refusal.told, usage=piece.usage[0].source)
            self._next = piece.next
            return
        if not piece.events:
            return  # they were token frames, and are gone
        refused = piece.events[0]
        self._log.error("the server refused an event", **refusal.told, type=refused.type, n=refused.n)
        if refused.n in self._substitutes:
            await self._pause(REFUSED_SECONDS)
        self._substitutes[refused.n] = _substitute(refused, refusal.message)

    def _close(self) -> None:
        if self.spool.closed is None:
            try:
                self.spool.close("fenced" if self.fenced else "stored")
            except OSError as error:
                self._log.warning("a sent spool cannot be closed; the next start sends it again", error=str(error))
        self.spool.release()
        self.delivered.set()
        self._when_done()

    def _note_away(self, error: Retryable | Refused) -> None:
        self._tokens.clear()
        if not self._away:
            self._away = True
            self._log.warning("events stay in the spool for now", **error.told)

    def _note_back(self) -> None:
        self._backoff.reset()
        if self._away:
            self._away = False
            self._log.info("sending what was spooled", records=self.spool.count - self._next)

    async def _pause(self, seconds: float) -> None:
        self._hurry.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()


def _substitute(event: RunnerEvent, why: str) -> RunnerEvent:
    """Return an event in place of one that cannot be stored: an end stays an end, anything else becomes a note."""
    message = f"An event of type {event.type} could not be stored: {why}"
    if event.type in ENDS_ATTEMPT:
        return RunnerEvent(event.n, event.type, _json(code="event_refused", message=message, hint=""), event.age)
    return RunnerEvent(event.n, EventType.AGENT_NEEDS_ATTENTION, _json(message=message), event.age)


def _json(**fields: str) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(fields))
