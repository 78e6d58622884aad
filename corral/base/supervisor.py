"""Keep background loops going: each is a `run_once(now)` that may run twice, and in several processes at a time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from corral.base.backoff import Backoff
from corral.base.logs import get_logger

RunOnce = Callable[[float], Awaitable[object]]

#: Seconds by which a busy process may be late.
_SLACK = 15.0

log = get_logger()


@dataclass(slots=True)
class Loop:
    """One thing that is done again and again."""

    name: str
    run_once: RunOnce
    every: float  #: seconds from the end of one round to the start of the next
    limit: float  #: seconds a round may take; then it is cut off and counts as failed
    after: float  #: seconds before the first round
    backoff: Backoff
    rounds: int = 0  #: that ended, well or not
    failures: int = 0
    failing: int = 0  #: failures since the last round that went well
    error: Exception | None = None  #: of the last round, if that failed
    ended_at: float | None = None  #: when the last round that went well did, by the clock of the rounds
    lasted: float = 0.0  #: seconds of the last round
    heard: float = field(default_factory=time.monotonic)  #: when a round last ended, well or not, or the loop was made
    _hint: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_overdue(self) -> bool:
        """Tell whether no round has ended for so long that it must hang, or nobody runs it."""
        rest = max(self.every, self.backoff.most) + (0.0 if self.rounds else self.after)
        return time.monotonic() - self.heard > rest + self.limit + _SLACK

    def wake(self) -> None:
        """Begin the next round now."""
        self._hint.set()

    def note(self, begun: float, error: Exception | None = None) -> None:
        """Keep how a round went that began at this reading of the monotonic clock."""
        self.heard = time.monotonic()
        self.lasted = self.heard - begun
        self.rounds += 1
        self.error = error
        self.failing = self.failing + 1 if error is not None else 0
        self.failures += error is not None

    async def rest(self, seconds: float) -> None:
        """Sleep for `seconds`, or until somebody wakes this loop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hint.wait()
        self._hint.clear()


class Supervisor:
    """Runs loops until it is stopped. A loop that fails is logged and tried again, later each time."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Take the clock whose reading each round is given."""
        self._clock = clock
        self._loops: list[Loop] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    @property
    def loops(self) -> Sequence[Loop]:
        """Return every loop, and how it does."""
        return self._loops

    def add(self, name: str, run_once: RunOnce, *, every: float, limit: float = 60.0, after: float = 0.0) -> Loop:
        """Register a loop whose first round begins `after` seconds; call before `start`. The answer can be woken."""
        loop = Loop(name, run_once, every, limit, after, Backoff(first=min(every, 1.0), most=max(every, 30.0)))
        self._loops.append(loop)
        return loop

    def start(self) -> None:
        """Start every loop's first round."""
        self._tasks = [asyncio.create_task(self._keep(loop), name=loop.name) for loop in self._loops]

    async def stop(self, grace: float = 5.0) -> None:
        """Let rounds that are under way end within `grace` seconds, then cut them off. Safe to call twice."""
        self._stopping = True
        for loop in self._loops:
            loop.wake()
        tasks, self._tasks = self._tasks, []
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=grace)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _keep(self, loop: Loop) -> None:
        if loop.after:
            await loop.rest(loop.after)
        while not self._stopping:
            await loop.rest(await self._round(loop))

    async def _round(self, loop: Loop) -> float:
        """Run once and return the seconds to rest."""
        begun = time.monotonic()
        try:
            async with asyncio.timeout(loop.limit):
                await loop.run_once(self._clock())
        except Exception as error:
            loop.note(begun, error)
            delay = loop.backoff.next()
            log.exception("loop failed", loop=loop.name, error=repr(error), again_in=round(delay, 1))
            return delay
        loop.note(begun)
        loop.ended_at = self._clock()
        loop.backoff.reset()
        return loop.every
