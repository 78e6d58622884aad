"""Is this server ready to be sent requests: what it needs answers, and it is not about to end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from corral import bus
from corral.base.errors import Unavailable
from corral.base.supervisor import Loop
from corral.platform import database, migrating
from corral.platform.database import Rows

if TYPE_CHECKING:
    from corral.web.server import Server

#: Seconds that the database may take to answer.
_PATIENCE = 2.0
#: Seconds for which an answer is good: who asks more often costs the database nothing.
_FRESH = 1.0
#: Failures in a row after which a loop counts as broken.
_MANY = 3

DATABASE, MIGRATIONS, BUS, LOOPS, SERVING = "database", "migrations", "bus", "loops", "serving"
CHECKS = (SERVING, DATABASE, MIGRATIONS, BUS, LOOPS)


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    name: str  #: serving, database, migrations, bus or loops
    ok: bool
    says: str  #: how it is, in words


class Readiness(msgspec.Struct, frozen=True):
    """Whether the server is ready, and what is wrong if not."""

    ready: bool
    version: str
    checks: list[Check]
    database_ms: float | None = None  #: what the database took to answer

    def without(self, names: Sequence[str]) -> Readiness:
        """Return it as it is to somebody to whom these do not matter."""
        checks = [check for check in self.checks if check.name not in names]
        return msgspec.structs.replace(self, ready=all(check.ok for check in checks), checks=checks)


class Prober:
    """Looks at all of it, at most once a second however many ask."""

    def __init__(self, server: Server) -> None:
        """Take the server to look at."""
        self._server = server
        self._looking = asyncio.Lock()
        self._last: tuple[float, Readiness] | None = None
        self._asking: asyncio.Task[Rows] | None = None

    async def look(self) -> Readiness:
        """Return how it is now."""
        async with self._looking:
            if self._last is None or time.monotonic() - self._last[0] > _FRESH:
                seen = await self._look()
                # As of its end: whoever has waited for it meanwhile need not wait for another, which may take as long.
                self._last = (time.monotonic(), seen)
            found = self._last[1]
        if self._server.is_leaving:  # which nobody is told a second too late
            checks = [self._serving(), *found.checks[1:]]
            return msgspec.structs.replace(found, ready=False, checks=checks)
        return found

    async def _look(self) -> Readiness:
        from corral import __version__

        (stored, migrations, ms), answers = await asyncio.gather(self._database(), bus.current().healthy())
        checks = [
            self._serving(),
            stored,
            migrations,
            self._bus(answers=answers),
            _loops(self._server.supervisor.loops, is_away=not stored.ok),
        ]
        return Readiness(all(check.ok for check in checks), __version__, checks, ms)

    def _bus(self, *, answers: bool) -> Check:
        if not self._server.settings.redis_url:
            return Check(BUS, True, "One server needs no Redis")
        return Check(BUS, answers, "Redis answers" if answers else "Redis does not answer: hints come late")

    def _serving(self) -> Check:
        if self._server.is_leaving or self._server.stopping.is_set():
            return Check(SERVING, False, "The server is about to end")
        return Check(SERVING, True, "Requests are taken")

    async def _database(self) -> tuple[Check, Check, float | None]:
        begun = time.monotonic()
        try:
            rows = await self._migrations()
        except Unavailable:
            return _away("The database cannot be reached")
        if rows is None:
            return _away(f"The database has not answered within {_PATIENCE:g} s")
        ms = round((time.monotonic() - begun) * 1000, 2)
        if missing := migrating.shipped() - {(row["app"], row["name"]) for row in rows}:
            words = f"{len(missing)} migrations have not been applied; run `corral migrate`"
            return Check(DATABASE, True, "It answers"), Check(MIGRATIONS, False, words), ms
        return Check(DATABASE, True, "It answers"), Check(MIGRATIONS, True, "The tables are up to date"), ms

    async def _migrations(self) -> Rows | None:
        """Ask the database; None if it takes too long. A driver may swallow a cancellation, so nobody waits for one."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(_applied(), name="readiness")
        asking = self._asking
        done, _ = await asyncio.wait({asking}, timeout=_PATIENCE)
        if not done:
            asking.cancel()
            return None
        return asking.result() if not asking.cancelled() else None


async def _applied() -> Rows:
    return await database.fetch("SELECT app, name FROM tortoise_migrations")


def _away(words: str) -> tuple[Check, Check, None]:
    return Check(DATABASE, False, words), Check(MIGRATIONS, False, "Not known: the database is away"), None


def _loops(loops: Sequence[Loop], *, is_away: bool) -> Check:
    """Tell of loops that hang or fail; who fails for want of the database is well as soon as that is back."""
    overdue = [loop.name for loop in loops if loop.is_overdue]
    failing = [loop.name for loop in loops if is_broken(loop) and loop.name not in overdue]
    if overdue and not is_away:
        return Check(LOOPS, False, f"These have not come to an end for long: {', '.join(overdue)}")
    if failing:
        return Check(LOOPS, False, f"These fail again and again: {', '.join(failing)}")
    return Check(LOOPS, True, f"All {len(loops)} go round")


def is_broken(loop: Loop) -> bool:
    """Tell whether a loop fails again and again for a reason of its own."""
    error = loop.error
    return error is not None and loop.failing >= _MANY and not _is_outage(error)


def _is_outage(error: Exception) -> bool:
    return isinstance(error, Unavailable) or (database.is_outage(error) and not isinstance(error, TimeoutError))
