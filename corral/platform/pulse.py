"""How busy this process is: by how much it is late for what it had planned."""

from __future__ import annotations

import asyncio
import time

from corral.platform import metrics

_NAP = 0.25
_LAG = metrics.LAG.of()

#: Seconds that the last nap took too long.
lag = 0.0


async def run_once(_now: float) -> None:
    """Nap, and see how late that ends: all other work of the loop is late by as much."""
    global lag  # noqa: PLW0603 - a process has one loop
    begun = time.monotonic()
    await asyncio.sleep(_NAP)
    lag = max(0.0, time.monotonic() - begun - _NAP)
    _LAG.see(lag)
