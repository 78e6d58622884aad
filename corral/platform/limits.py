"""How often a key may call: so many requests in any minute, counted exactly, in this process."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass

WINDOW = 60.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may pass, and what its answer says about the next ones."""

    passes: bool
    limit: int
    remaining: int
    reset: int  #: seconds until another request falls out of the window

    def headers(self) -> dict[str, str]:
        """Return the `RateLimit-*` headers, with `Retry-After` for a refusal."""
        told = {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset),
        }
        return told if self.passes else {**told, "Retry-After": str(self.reset)}


class Limiter:
    """Remembers the times of each caller's requests within the last minute; a refused request does not count."""

    def __init__(self, limit: int) -> None:
        """Take the requests a minute; 0 is off."""
        self.limit = limit
        self._seen: dict[str, deque[float]] = {}
        self._swept = 0.0

    def hit(self, who: str, now: float | None = None) -> Verdict | None:
        """Count a request of `who` and say whether it passes; None when there is no limit."""
        if not self.limit:
            return None
        now = time.monotonic() if now is None else now
        self._sweep(now)
        seen = self._seen.setdefault(who, deque())
        while seen and seen[0] <= now - WINDOW:
            seen.popleft()
        passes = len(seen) < self.limit
        if passes:
            seen.append(now)
        return Verdict(
            passes=passes,
            limit=self.limit,
            remaining=self.limit - len(seen),
            reset=max(1, math.ceil(seen[0] + WINDOW - now)),
        )

    def _sweep(self, now: float) -> None:
        """Once a window, forget callers who were silent for all of it."""
        if now - self._swept < WINDOW:
            return
        self._swept = now
        for who in [who for who, seen in self._seen.items() if not seen or seen[-1] <= now - WINDOW]:
            del self._seen[who]
