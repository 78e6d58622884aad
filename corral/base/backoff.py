"""How long to wait before trying again: longer each time, and never all at once."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Delays that double from `first` to `most` seconds, each somewhere between its half and its whole."""

    first: float = 0.2
    most: float = 15.0
    failures: int = 0

    def next(self) -> float:
        """Count a failure and return the seconds to wait."""
        whole = min(self.most, self.first * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return whole * (0.5 + random.random() / 2)

    def reset(self) -> None:
        """Begin anew after a success."""
        self.failures = 0
