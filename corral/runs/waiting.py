"""The polls that wait in this process, and which of them a hint wakes: one eligible poll for a ready run, not all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from corral import bus
from corral.platform import database, keys
from corral.runs import claim, placements
from corral.runs.hints import KEYS, PLACEMENTS, runner_topic
from corral.runs.placements import Offer, Placement

log = structlog.get_logger(__name__)


class Waiter:
    """One poll that waits."""

    __slots__ = (
        "_wake",
        "asleep",
        "key_id",
        "offer",
        "placement",
        "poll_no",
        "room",
        "runner_called",
        "session",
        "wants_runs",
    )

    def __init__(
        self, room: WaitingRoom, offer: Offer, session: str, poll_no: int, *, wants_runs: bool, key_id: str | None
    ) -> None:
        """Wait for commands and, if it wants, for runs that `offer` satisfies."""
        self.room, self.offer, self.wants_runs, self.key_id = room, offer, wants_runs, key_id
        self.session, self.poll_no = session, poll_no
        self.placement: Placement | None = None
        self.runner_called = False
        self.asleep = False
        self._wake: asyncio.Future[None] | None = None

    async def wait(self, seconds: float) -> bool:
        """Sleep until called; False when the time is up or the server stops."""
        if self.placement or self.runner_called:
            return not self.room.stopping
        if seconds <= 0 or self.room.stopping:
            return False
        loop = asyncio.get_running_loop()
        self._wake = loop.create_future()
        timer = loop.call_later(seconds, self._rouse)
        self.asleep = True
        try:
            await self._wake
        except asyncio.CancelledError:
            self.pass_on()
            raise
        finally:
            self.asleep = False
            timer.cancel()
        return bool(self.placement or self.runner_called) and not self.room.stopping

    def call(self, placement: Placement | None = None) -> None:
        """Wake the poll: for a ready run, or because of its runner."""
        if placement is None:
            self.runner_called = True
        else:
            self.placement = placement
        self._rouse()

    def take(self) -> tuple[bool, Placement | None]:
        """Return what it was called for (its runner, a ready run), and forget it."""
        called = self.runner_called, self.placement
        self.runner_called, self.placement = False, None
        return called

    def pass_on(self) -> None:
        """Hand a ready run it was called for, and cannot take any more, to the next poll."""
        placement, self.placement = self.placement, None
        self.wants_runs = False
        if placement is not None:
            self.room.call_one(placement)

    def _rouse(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


class WaitingRoom:
    """Every waiting poll of this process, in the order they came."""

    def __init__(self) -> None:
        """Start empty; `open` makes it hear hints."""
        self.stopping = False
        self.heard = 0  #: hints of ready runs so far: who looked before the last one may have to look again
        self._waiters: dict[Waiter, None] = {}
        self._unlisten: list[Callable[[], None]] = []
        self._reads: set[asyncio.Task[None]] = set()

    @property
    def count(self) -> int:
        """Return how many polls wait."""
        return len(self._waiters)

    def open(self) -> None:
        """Begin to hear hints."""
        self._unlisten = [
            bus.current().listen(PLACEMENTS, self._hear),
            bus.current().listen(KEYS, self._hear_of_key),
        ]

    def close(self) -> None:
        """Send every poll home: the server stops."""
        self.stopping = True
        for unlisten in self._unlisten:
            unlisten()
        for waiter in tuple(self._waiters):
            waiter.call()

    @contextmanager
    def enter(
        self, offer: Offer, session: str, poll_no: int, *, wants_runs: bool, key_id: str | None = None
    ) -> Iterator[Waiter]:
        """Wait here from before the first look at the queue, so that no hint falls between look and sleep."""
        waiter = Waiter(self, offer, session, poll_no, wants_runs=wants_runs, key_id=key_id)
        self._waiters[waiter] = None
        unlisten = bus.current().listen(runner_topic(offer.runner_no), lambda _hint: waiter.call())
        try:
            yield waiter
        finally:
            unlisten()
            self._waiters.pop(waiter, None)
            waiter.pass_on()  # called for a ready run while it was leaving with another

    def call_one(self, placement: Placement) -> None:
        """Wake one poll that may claim in this placement."""
        for waiter in self._waiters:
            if waiter.wants_runs and waiter.placement is None and waiter.offer.satisfies(placement):
                waiter.call(placement)
                return

    async def call_all_ready(self) -> None:
        """Wake a poll for every placement that has a ready run: for hints that were lost."""
        if not any(waiter.wants_runs for waiter in self._waiters):
            return
        for placement_id in await claim.ready_placements():
            if placement := await placements.get(placement_id):
                self.call_one(placement)

    async def call_all_asked(self) -> None:
        """Wake the polls whose runner has commands, or has sent a newer poll elsewhere: for hints that were lost."""
        if not self._waiters:
            return
        wanted = ",".join({str(waiter.offer.runner_no) for waiter in self._waiters})
        rows = await database.fetch(
            "SELECT no, session, poll_no, EXISTS (SELECT 1 FROM commands WHERE runner_no = runners.no "  # noqa: S608 - integers
            f"AND done_at IS NULL AND status IS NULL) AS asked FROM runners WHERE no IN ({wanted})"
        )
        found = {row["no"]: row for row in rows}
        for waiter in tuple(self._waiters):
            row = found.get(waiter.offer.runner_no)
            if row and (row["asked"] or (row["session"], row["poll_no"]) != (waiter.session, waiter.poll_no)):
                waiter.call()

    def _hear(self, hint: bytes) -> None:
        self.heard += 1
        placement_id = int(hint)
        if known := placements.cached(placement_id):
            self.call_one(known)
            return
        task = asyncio.get_running_loop().create_task(self._read_and_call(placement_id))
        self._reads.add(task)
        task.add_done_callback(self._reads.discard)

    def _hear_of_key(self, hint: bytes) -> None:
        """A key has changed or ended: polls that came with it look whether they may go on waiting."""
        key_id = hint.decode()
        keys.drop(key_id)
        for waiter in self._waiters:
            if waiter.key_id == key_id:
                waiter.call()

    async def _read_and_call(self, placement_id: int) -> None:
        try:
            if placement := await placements.get(placement_id):
                self.call_one(placement)
        except Exception as error:  # noqa: BLE001 - the reread every two seconds makes up for it
            log.warning("a hint was not followed", error=str(error))


_room = WaitingRoom()


def waiting_room() -> WaitingRoom:
    """Return this process's waiting room."""
    return _room


def reset() -> WaitingRoom:
    """Begin with an empty room, for a server that starts in a process where another stopped."""
    global _room  # noqa: PLW0603 - one room a process
    _room = WaitingRoom()
    return _room
