"""SQLite, for a server with its own database file: statements run on the loop's thread, where a commit takes 0.05 ms.

A hop to another thread and back costs more than that, and under load each of SQLite's calls there would wait for the
interpreter. What would keep the loop waiting does go to a thread, the one of Tortoise's connection: reads that may be
long (`scan`), writes while somebody else holds the file's lock, and checkpoints.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable
from contextvars import copy_context
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

from tortoise.connection import get_connection

from corral.base.errors import Unavailable
from corral.platform.statements import Duplicate, Rows, Unit

T = TypeVar("T")

#: Pages of 4 KB in the write-ahead log.
_LONG_LOG = 4000
#: How long a statement waits for another process that writes, and a checkpoint for one that reads: nobody can write
#: while it does, and a backup reads for long.
BUSY_MS = 5000
_BRIEFLY_MS = 50


class Embedded:
    """The database file of this process."""

    def __init__(self, path: Path, *, sync: str) -> None:
        """Open the file beside Tortoise, which made it; with a `sync` of full each commit waits for the disk."""
        self._waits = sync == "full"
        self._own = sqlite3.connect(path, timeout=0, isolation_level=None)
        self._own.row_factory = sqlite3.Row
        self._own.execute("PRAGMA synchronous=NORMAL")
        self._own.execute("PRAGMA foreign_keys=ON")
        self._own.execute("PRAGMA wal_autocheckpoint=0")  # see `checkpoint`
        self._own.execute("PRAGMA recursive_triggers=ON")  # INSERT OR REPLACE, too, asks before it deletes
        add_functions(self._own)
        self._checkpointed = -1  # at so many changes of rows

    async def commit(self, unit: Unit[T]) -> T:
        """Run the unit in one transaction."""
        if self._waits:
            return await _in_thread(lambda connection: _begin_and_drive(connection, unit))
        try:
            self._own.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if not _is_busy(error):
                raise
            return await _in_thread(lambda connection: _begin_and_drive(connection, unit))
        return _drive(self._own, unit)

    async def fetch(self, text: str, args: tuple[Any, ...]) -> Rows:
        """Run one statement."""
        if self._waits:
            return await self.scan(text, args)
        try:
            return _fetch(self._own, text, args)
        except sqlite3.OperationalError as error:
            if not _is_busy(error):
                raise
            return await self.scan(text, args)

    async def scan(self, text: str, args: tuple[Any, ...]) -> Rows:
        """Run one statement in the thread."""
        return await _in_thread(lambda connection: _fetch(connection, text, args))

    async def checkpoint(self) -> None:
        """Move what was committed from the log to the file: a commit that did so itself would take far longer."""
        changes = self._own.total_changes  # none, if all goes through the thread, which then checkpoints by itself
        if changes != self._checkpointed:
            await _in_thread(_checkpoint)
            self._checkpointed = changes

    def close(self) -> None:
        """Close the file."""
        self._own.close()


def add_functions(connection: Any) -> Any:
    """Give a connection, of sqlite3 or aiosqlite, what our statements call."""
    return connection.create_function("now_ms", 0, now_ms)


def now_ms() -> int:
    """Return the time of this machine's clock, which is the file's."""
    return time.time_ns() // 1_000_000


async def _in_thread(work: Callable[[sqlite3.Connection], T]) -> T:
    """Call `work` with Tortoise's connection, in the thread of that: a request that is cancelled leaves it whole."""
    context = copy_context()  # a unit looks up who acts
    async with get_connection("default").acquire_connection() as connection:
        hop = connection._execute(context.run, work, connection._conn)  # noqa: SLF001 - all of it at once
        try:
            return cast("T", await hop)
        except sqlite3.OperationalError as error:
            if _is_busy(error):
                raise Unavailable("Another process keeps the database locked; try again shortly") from error
            raise


def _begin_and_drive(connection: sqlite3.Connection, unit: Unit[T]) -> T:
    connection.execute("BEGIN IMMEDIATE")
    return _drive(connection, unit)


def _drive(connection: sqlite3.Connection, unit: Unit[T]) -> T:
    """Run a unit's statements in the transaction that has begun, and end that."""
    try:
        statement = next(unit)
        while True:
            try:
                if statement.many is not None:
                    connection.executemany(_numbered(statement.sql), statement.many)
                    rows: Rows = ()
                else:
                    rows = connection.execute(_numbered(statement.sql), statement.args).fetchall()
            except sqlite3.IntegrityError as error:
                statement = unit.throw(Duplicate(str(error)))
            else:
                statement = unit.send(rows)
    except StopIteration as done:
        connection.commit()
        return cast("T", done.value)
    except BaseException:
        connection.rollback()
        raise


def _fetch(connection: sqlite3.Connection, text: str, args: tuple[Any, ...]) -> Rows:
    try:
        return connection.execute(_numbered(text), args).fetchall()
    except sqlite3.IntegrityError as error:
        raise Duplicate(str(error)) from error


def _checkpoint(connection: sqlite3.Connection) -> None:
    _, pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if pages > _LONG_LOG:
        # Writers never pause for long enough that the log could begin anew: they wait for the little that is left.
        connection.execute(f"PRAGMA busy_timeout = {_BRIEFLY_MS}")
        try:
            connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        finally:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


@lru_cache(maxsize=1024)
def _numbered(text: str) -> str:
    """SQLite spells `$1` as `?1`."""
    return re.sub(r"\$(\d+)", r"?\1", text)
