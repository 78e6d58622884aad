"""Hints between the parts of one server and between servers: 'look again', never the truth itself.

A hint may be lost; whoever listens also rereads the rows every two seconds. Hints of a topic reach everybody who
listens; a hint of mail reaches one server, and is given to another if that one dies with it.
Implementations: `memory`, `redis`; `mailroom` is how both have mail handled.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

#: What a hint carries: bytes, or a way to make them that is only used if somebody listens.
Data = bytes | Callable[[], bytes]
Listener = Callable[[bytes], None]
#: Handles all the mail of a receiver, of which it is told twice now and then.
MailHandler = Callable[[str], Awaitable[None]]


class Bus(Protocol):
    """Publish after the commit, listen before the read."""

    def publish(self, topic: str, data: Data = b"") -> None:
        """Tell everybody who listens to `topic`, soon; never waits, never fails."""

    def listen(self, topic: str, listener: Listener) -> Callable[[], None]:
        """Call `listener` with each hint's bytes from now on; returns the way to stop."""

    def mail(self, receiver: str) -> None:
        """Tell one of the servers that `receiver` has mail, soon; never waits, never fails."""

    def receive(self, handler: MailHandler) -> None:
        """Have `handler` called for whoever has mail: several receivers at a time, none twice at a time.

        What it raises is logged, and the receiver's turn comes again after a pause.
        """

    async def start(self) -> None:
        """Begin to exchange hints."""

    async def healthy(self) -> bool:
        """Tell, within two seconds, whether hints reach the other servers now."""

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
