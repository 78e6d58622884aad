"""How often a key may call: so many requests in any minute, counted exactly. Here in this process; `shared_limits`
counts over all processes.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from dataclasses import dataclass
from typing import Protocol

WINDOW = 60.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may pass, and what its answer says about the next ones."""

    passes: bool
    limit: int
    remaining: int
    reset: int  #: seconds until another request falls out of the window; of a refusal: until one passes again

    def headers(self) -> dict[str, str]:
        """Return the `RateLimit-*` headers, with `Retry-After` for a refusal."""
        told = {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset),
        }
        return told if self.passes else {**told, "Retry-After": str(self.reset)}


def verdict(*, passes: bool, limit: int, counted: int, seconds: float) -> Verdict:
    """Return the verdict on a request when `counted` are in the window, and the next falls out in `seconds`."""
    return Verdict(passes, limit, max(0, limit - counted), max(1, math.ceil(seconds)))


class Limiter(Protocol):
    """Counts requests. A refused one does not count."""

    def hit(self, who: str, limit: int) -> Verdict | asyncio.Future[Verdict]:
        """Count a request of `who`, who may send `limit` of them a minute: at once where that needs no waiting."""

    async def start(self) -> None:
        """Begin to count."""

    async def stop(self) -> None:
        """End it."""


class MemoryLimiter:
    """Remembers the times of each caller's requests within the last minute."""

    def __init__(self) -> None:
        """Start with none."""
        self._seen: dict[str, deque[float]] = {}
        self._swept = 0.0

    def hit(self, who: str, limit: int, now: float | None = None) -> Verdict:
        """Count a request of `who` and say whether it passes."""
        now = time.monotonic() if now is None else now
        seen = self._within(who, now)
        passes = len(seen) < limit
        if passes:
            seen.append(now)
        # With a limit that was lowered, more than one has to fall out before another passes.
        last = seen[max(0, len(seen) - limit)] if seen else now
        return verdict(passes=passes, limit=limit, counted=len(seen), seconds=last + WINDOW - now)

    def note(self, who: str, now: float | None = None) -> None:
        """Count a request that has passed elsewhere."""
        now = time.monotonic() if now is None else now
        self._within(who, now).append(now)

    async def start(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Nothing to do."""

    def _within(self, who: str, now: float) -> deque[float]:
        """Return the times of the requests within the window, the oldest first."""
        self._sweep(now)
        seen = self._seen.setdefault(who, deque())
        while seen and seen[0] <= now - WINDOW:
            seen.popleft()
        return seen

    def _sweep(self, now: float) -> None:
        """Once a window, forget callers who were silent for all of it."""
        if now - self._swept < WINDOW:
            return
        self._swept = now
        for who in [who for who, seen in self._seen.items() if not seen or seen[-1] <= now - WINDOW]:
            del self._seen[who]
