"""Two changes at once on PostgreSQL: the second comes in between each two statements of the first, one after the other.

Where the second has to wait for a lock of the first, that goes on. So every order is tried that the database allows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import asyncpg

Act = Callable[[], Awaitable[object]]

#: Seconds for the second to end or to be seen waiting; it may also wait for something in this process.
_LONGEST = 0.3

_gaps: ContextVar[_Gaps | None] = ContextVar("_gaps", default=None)


class _Gaps:
    """Counts what the first says to the database, and lets the second act before one of its statements."""

    def __init__(self, at: int, second: Act, watch: asyncpg.Connection) -> None:
        self.left, self._second, self._watch = at, second, watch
        self.task: asyncio.Task[object] | None = None

    async def next(self) -> None:
        self.left -= 1
        if self.left == -1:
            _gaps.set(None)
            self.task = asyncio.create_task(_answer(self._second))
            _gaps.set(self)
            ends = asyncio.get_running_loop().time() + _LONGEST
            while not self.task.done() and asyncio.get_running_loop().time() < ends:
                await asyncio.wait({self.task}, timeout=0.002)
                if not self.task.done() and await self._watch.fetchval(_WAITS):
                    return


_WAITS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


class Interleaving:
    """What `interleaving` gives."""

    def __init__(self, watch: asyncpg.Connection) -> None:
        self._watch = watch

    async def run(self, at: int, first: Act, second: Act) -> tuple[object, object] | None:
        """Return what both return or raise, the second acting before the `at`-th statement; None if there is none."""
        gaps = _Gaps(at, second, self._watch)
        _gaps.set(gaps)
        try:
            answer = await _answer(first)
        finally:
            _gaps.set(None)
        return (answer, await gaps.task) if gaps.task is not None else None


@asynccontextmanager
async def interleaving(url: str) -> AsyncIterator[Interleaving]:
    """Hear what is said to this database from here, until the end of the block."""
    fetch, many, execute = asyncpg.Connection.fetch, asyncpg.Connection.executemany, asyncpg.Connection.execute

    async def fetched(self: asyncpg.Connection, query: str, *args: Any, **more: Any) -> Any:
        if (gaps := _gaps.get()) is not None:
            await gaps.next()
        return await fetch(self, query, *args, **more)

    async def written(self: asyncpg.Connection, command: str, *args: Any, **more: Any) -> Any:
        if (gaps := _gaps.get()) is not None:
            await gaps.next()
        return await many(self, command, *args, **more)

    async def executed(self: asyncpg.Connection, query: str, *args: Any, **more: Any) -> Any:
        if (gaps := _gaps.get()) is not None and query.startswith("COMMIT"):
            await gaps.next()
        return await execute(self, query, *args, **more)

    watch = await asyncpg.connect(url)
    ours = fetched, written, executed
    asyncpg.Connection.fetch, asyncpg.Connection.executemany, asyncpg.Connection.execute = ours
    try:
        yield Interleaving(watch)
    finally:
        asyncpg.Connection.fetch, asyncpg.Connection.executemany, asyncpg.Connection.execute = fetch, many, execute
        await watch.close()


async def _answer(act: Act) -> object:
    try:
        return await act()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
        return error
