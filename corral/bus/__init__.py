"""Hints between the parts of one server and between servers: 'look again', never the truth itself.

A hint may be lost; whoever listens also rereads the rows every two seconds. Implementations: `memory`, `redis`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

#: What a hint carries: bytes, or a way to make them that is only used if somebody listens.
Data = bytes | Callable[[], bytes]
Listener = Callable[[bytes], None]


class Bus(Protocol):
    """Publish after the commit, listen before the read."""

    def publish(self, topic: str, data: Data = b"") -> None:
        """Tell everybody who listens to `topic`, soon; never waits, never fails."""

    def listen(self, topic: str, listener: Listener) -> Callable[[], None]:
        """Call `listener` with each hint's bytes from now on; returns the way to stop."""

    async def start(self) -> None:
        """Begin to exchange hints."""

    async def stop(self) -> None:
        """End it; publishing later does nothing."""


_current: Bus | None = None


def use(bus: Bus) -> None:
    """Make `bus` the one of this process."""
    global _current  # noqa: PLW0603 - one bus a process, chosen once by the composition root
    _current = bus


def current() -> Bus:
    """Return the bus of this process."""
    if _current is None:
        msg = "no bus is in use; the composition root calls bus.use()"
        raise RuntimeError(msg)
    return _current
