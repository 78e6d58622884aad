"""How long may this attempt go on? Waiting for a person's answer counts against nothing."""

from __future__ import annotations

from corral.runner.failure import Failure
from corral.wire.runner import Limits

#: A worker that has not said a word after so long has hung in its imports or in starting the CLI.
START_SECONDS = 180.0


class Clocks:
    """The two clocks of one attempt. Times are those of a monotonic clock, passed in."""

    def __init__(self, limits: Limits, now: float) -> None:
        """Start both clocks."""
        self._limits = limits
        self._heard = now
        self._run_seconds = 0.0  # of the time before `_since`
        self._since = now
        self._asking: dict[str, None] = {}  # requests that wait for a person
        self._has_begun = False

    def heard(self, now: float) -> None:
        """The CLI said something."""
        self._heard = now
        self._has_begun = True

    def ask(self, request_id: str, now: float) -> None:
        """A person is asked: the clocks stop."""
        if not self._asking:
            self._run_seconds += now - self._since
        self._asking[request_id] = None

    def settle(self, request_id: str, now: float) -> bool:
        """The request was answered or withdrawn: the clocks go on when it was the last. False if it was not open."""
        if request_id not in self._asking:
            return False
        del self._asking[request_id]
        if not self._asking:
            self._since = self._heard = now
        return True

    def remaining(self, now: float) -> float | None:
        """Return the seconds until the first limit is reached, None when none can be."""
        if self._asking:
            return None
        left = []
        if (idle := self._idle_limit()) is not None:
            left.append(self._heard + idle - now)
        if self._limits.run_seconds is not None:
            left.append(self._limits.run_seconds - self._run_seconds - (now - self._since))
        return max(0.0, min(left)) if left else None

    def expired(self, now: float) -> Failure | None:
        """Return why the attempt has to end, if it has to."""
        if self.remaining(now) != 0.0:
            return None
        idle, ran = self._idle_limit(), self._run_seconds + (now - self._since)
        if self._limits.run_seconds is not None and ran >= self._limits.run_seconds:
            return Failure(
                "run_timeout",
                f"The run took longer than its limit of {_time(self._limits.run_seconds)}",
                "Follow up to let it go on where it stopped, or launch it with a longer time limit.",
            )
        return Failure(
            "idle_timeout",
            f"The agent said nothing for {_time(idle or 0.0)}",
            "The model's API may have stalled. Follow up to let it go on where it stopped.",
        )

    def _idle_limit(self) -> float | None:
        idle = self._limits.idle_seconds
        if self._has_begun:
            return idle
        return START_SECONDS if idle is None else min(idle, START_SECONDS)


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:g} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
