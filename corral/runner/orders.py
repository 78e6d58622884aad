"""How is an attempt told to end? The first order stays, and says which event its end will be."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from enum import Enum
from typing import Any, TypeVar

import msgspec

from corral.runner.endings import Ending, failed
from corral.runner.engines.protocol import DoCancel, DoInterrupt
from corral.runner.failure import Failure
from corral.wire.events import EventType
from corral.wire.runner import Cancel, Limits, Pause

T = TypeVar("T")


class Stop(Enum):
    """Why a job was told to end. The first reason stays, but for FENCED."""

    CANCEL = "cancel"
    INTERRUPT = "interrupt"
    PAUSE = "pause"
    LIMIT = "limit"  #: of what it may cost
    FENCED = "fenced"  #: the attempt is another's: end the tree and say nothing


class Stopped(Exception):
    """The job was told to end before its worker was there."""


class Orders:
    """What one attempt was told about its end."""

    def __init__(self, limits: Limits) -> None:
        """Begin with none."""
        self.asked: Stop | None = None
        self.stopped = asyncio.Event()  #: there is an order
        self.hurried = asyncio.Event()  #: forced or fenced: nothing is waited for any more
        self.is_forced = False
        self.is_ending = False  #: its end is being written
        self._limits = limits
        self._cancel = Cancel()
        self._interrupt = DoInterrupt()
        self._pause = Pause()

    @property
    def is_over(self) -> bool:
        """Tell whether it ends, so that nothing else can be asked of it."""
        return self.is_ending or self.asked is not None

    def refuse_if_over(self) -> None:
        """Raise Failure where something is asked of an attempt that ends."""
        if self.is_over:
            raise Failure("ending", "The run is ending")

    def cancel(self, cancel: Cancel) -> None:
        """End it, first gently."""
        if self.asked is None:
            self._cancel = cancel
        self.stop(Stop.CANCEL)

    def interrupt(self, message: str) -> None:
        """End it so that it can be resumed: the runner goes away."""
        self._interrupt = DoInterrupt(message)
        self.stop(Stop.INTERRUPT)

    def pause(self, pause: Pause) -> None:
        """End it so that it can be resumed once the run is to go on; to the worker that is an interruption."""
        if self.asked is None:
            self._pause = pause
        self.stop(Stop.PAUSE)

    def force(self) -> None:
        """Be gentle no longer."""
        self.is_forced = True
        self.hurried.set()

    def stop(self, stop: Stop) -> None:
        """End it for this reason."""
        if self.asked is None or stop == Stop.FENCED:
            self.asked = stop
        if stop == Stop.FENCED:
            self.hurried.set()
        self.stopped.set()

    def for_worker(self) -> DoCancel | DoInterrupt:
        """Return what the worker is told."""
        return DoCancel(self._cancel) if self.asked == Stop.CANCEL else self._interrupt

    def ending(self) -> Ending:
        """Return the end that was asked for."""
        match self.asked:
            case Stop.CANCEL:
                return Ending(EventType.RUN_CANCELLED, msgspec.json.encode(self._cancel))
            case Stop.INTERRUPT:
                return Ending(EventType.SESSION_INTERRUPTED, msgspec.json.encode({"message": self._interrupt.message}))
            case Stop.PAUSE:
                return Ending(EventType.RUN_PAUSED, msgspec.json.encode(self._pause))
            case Stop.LIMIT:
                hint = "Raise the budget, or continue the run with a new one."
                return failed("max_budget", f"Reached the maximum cost (${self._limits.max_cost_usd:g})", hint)
            case _:
                return Ending(None)

    async def unless_stopped(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` answers; stop waiting for it, and raise Stopped, when there is an order."""
        working, stopped = asyncio.ensure_future(work), asyncio.ensure_future(self.stopped.wait())
        try:
            await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if self.stopped.is_set():
                raise Stopped
            return await working
        finally:
            for task in (working, stopped):
                task.cancel()
            await asyncio.gather(working, stopped, return_exceptions=True)
