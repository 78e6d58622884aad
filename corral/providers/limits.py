"""How long an attempt may take. Waiting for a person or for another agent counts against nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from corral.providers.conversation import Conversation
from corral.providers.provider import Trouble
from corral.wire.runner import Limits

_AGAIN = "Follow up to let it go on where it stopped, or launch it with a higher limit."


class Clocks:
    """An attempt's two clocks: of all its time, and of the model's silence."""

    def __init__(self, limits: Limits, on_waiting: Callable[[], None] = lambda: None) -> None:
        """Start the first; `on_waiting` is called when a wait begins and when the last one ends."""
        self._limits = limits
        self._on_waiting = on_waiting
        self._ran = 0.0  #: before `_since`
        self._since = time.monotonic()
        self._waits = 0
        self._heard: float | None = None  #: when the model was heard last; None while nobody listens

    @property
    def is_waiting(self) -> bool:
        """Tell whether somebody else is waited for."""
        return self._waits > 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Stop the clocks: somebody else is asked."""
        if not self._waits:
            self._ran += time.monotonic() - self._since
        self._waits += 1
        self._on_waiting()
        try:
            yield
        finally:
            self._waits -= 1
            if not self._waits:
                self._since = time.monotonic()
            self._on_waiting()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to the model."""
        self._heard = time.monotonic()
        try:
            yield
        finally:
            self._heard = None

    def beat(self) -> None:
        """The model was heard."""
        self._heard = time.monotonic()

    @property
    def idle_seconds(self) -> float | None:
        """Return how long anything may be silent."""
        return self._limits.idle_seconds

    def left(self) -> float | None:
        """Return the seconds until the first limit is reached; None if none can be now."""
        if self._waits:
            return None
        now, left = time.monotonic(), []
        if self._limits.run_seconds is not None:
            left.append(self._limits.run_seconds - self._ran - (now - self._since))
        if self._limits.idle_seconds is not None and self._heard is not None:
            left.append(self._heard + self._limits.idle_seconds - now)
        return max(0.0, min(left)) if left else None

    def expired(self) -> Trouble:
        """Return which limit was reached."""
        most, ran = self._limits.run_seconds, self._ran + time.monotonic() - self._since
        if most is not None and ran >= most:
            return Trouble("run_timeout", f"The run took longer than its limit of {_time(most)}", _AGAIN)
        return Trouble(
            "idle_timeout",
            f"The model said nothing for {_time(self._limits.idle_seconds or 0.0)}",
            "The provider's API may have stalled. Follow up to let it go on where it stopped.",
        )


def check(limits: Limits, talk: Conversation) -> None:
    """Raise Trouble if the model may not be asked again."""
    if limits.max_turns is not None and talk.turns() >= limits.max_turns:
        raise Trouble(
            "max_turns",
            f"Reached the maximum number of turns ({limits.max_turns})",
            "Raise the limit of turns, or continue the run to give it as many again.",
        )
    if limits.max_cost_usd is not None and talk.cost_micros() >= limits.max_cost_usd * 1_000_000:
        raise Trouble(
            "max_budget",
            f"Reached the maximum cost (${limits.max_cost_usd:g})",
            "Raise the budget, or continue the run with a new one.",
        )


def _time(seconds: float) -> str:
    return f"{seconds:g} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"
