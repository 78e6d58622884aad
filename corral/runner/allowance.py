"""May an attempt ask the model again? That is reckoned here, message by message, from the money it was lent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from corral.runner.orders import Orders, Stop
from corral.wire.events import Usage
from corral.wire.purse import PATIENCE_SECONDS, Purse
from corral.wire.runner import Assignment


class Allowance:
    """The money of one attempt, and what its agent asks while there is none."""

    def __init__(self, assignment: Assignment, orders: Orders, go_on: Callable[[int], None]) -> None:
        """Take what it was lent, whom to tell that it must end, and how to let the agent go on."""
        self._purse = Purse(assignment.limits, assignment.money)
        self._orders = orders
        self._go_on = go_on
        self._held: list[int] = []  #: what the agent asked when it had no money

    def fund(self, allowed_micros: int) -> None:
        """Let it spend so much in all. If that is spent already, it pauses before it asks the model again."""
        self._purse.fund(allowed_micros)
        held, self._held = self._held, []
        for asked in held:
            self.ask(asked)

    def spend(self, usage: Usage) -> None:
        """Take what was spent for certain."""
        self._purse.spend(usage)

    def draft(self, usage: Usage) -> None:
        """Take the newest word on a message. What has begun may come to its end; another one is one too many."""
        if not self._purse.knows(usage):
            self.stop_if_broke()
        self._purse.draft(usage)

    def ask(self, id: int) -> None:
        """Let the agent ask the model again if that can be paid; if not, money may still come within a moment."""
        if self._purse.pause() is None and not self._purse.is_at_its_limit:
            self._go_on(id)
            return
        self._held.append(id)
        seconds = 0.0 if self._purse.is_at_its_limit else PATIENCE_SECONDS
        asyncio.get_running_loop().call_later(seconds, self.stop_if_broke)

    def stop_if_broke(self) -> None:
        """End the attempt if its money is spent, unless it is ending already."""
        if self._orders.is_over:
            return
        if self._purse.is_at_its_limit:
            self._orders.stop(Stop.LIMIT)
        elif (pause := self._purse.pause()) is not None:
            self._orders.pause(pause)
