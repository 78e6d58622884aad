"""What a server does by itself, each a step that may run twice or in several servers at once."""

from __future__ import annotations

import time

from corral.runs import approvals, feed, leases, waiting
from corral.wire.runner import LEASE_SECONDS

#: Seconds between rereads of what hints should have told.
REREAD_EVERY = 2.0


async def reread(_now: float) -> None:
    """Make up for lost hints."""
    await waiting.waiting_room().call_all_ready()
    await waiting.waiting_room().call_all_asked()
    await feed.feeds().reread()


async def expire_approvals(_now: float) -> None:
    """Deny what nobody answered in time."""
    await approvals.expire()


#: More seconds than this from one sweep to the next: the machine slept, or its clock was set.
_LEAP_SECONDS = LEASE_SECONDS / 2


class LeaseSweep:
    """Takes back runs of runners that are gone, but never within one lease of a start, an outage, or a leap in time."""

    def __init__(self, lost_after: float) -> None:
        """Take the seconds after which a run whose runner is away fails."""
        self._lost_after = lost_after
        self._quiet_until = time.monotonic() + LEASE_SECONDS
        self._last: float | None = None

    async def run_once(self, now: float) -> None:
        """Sweep, unless runners may not have been able to renew their leases lately."""
        last, self._last = self._last, now
        if last is not None and abs(now - last) > _LEAP_SECONDS:
            self._quiet_until = time.monotonic() + LEASE_SECONDS
        try:
            if time.monotonic() >= self._quiet_until:
                await leases.run_once(self._lost_after)
        except Exception:
            self._quiet_until = time.monotonic() + LEASE_SECONDS
            raise
