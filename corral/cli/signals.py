"""What SIGINT and SIGTERM mean to a server: the first asks it to end, the second to hurry."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator


class Ending:
    """Two events that a process's signals set one after the other."""

    def __init__(self) -> None:
        """Start with nothing asked."""
        self.asked = asyncio.Event()
        self.hurry = asyncio.Event()

    def signal(self) -> None:
        """Count one signal."""
        (self.hurry if self.asked.is_set() else self.asked).set()


@contextlib.contextmanager
def listening() -> Iterator[Ending]:
    """Take over SIGINT and SIGTERM of this process for a while."""
    ending, loop = Ending(), asyncio.get_running_loop()
    names = (signal.SIGINT, signal.SIGTERM)
    for name in names:
        loop.add_signal_handler(name, ending.signal)
    try:
        yield ending
    finally:
        for name in names:
            loop.remove_signal_handler(name)
