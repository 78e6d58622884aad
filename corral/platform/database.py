"""The one way to the database: `fetch` reads, `commit` runs a unit of work in one transaction.

A unit is a generator that yields statements and is sent their rows, so it cannot await anything: no transaction
of Corral ever waits for the outside world. The same unit runs on both databases: on SQLite at once (`embedded`), on
PostgreSQL over one connection of the pool. SQL is written with `$1` and `now_ms()` for both.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import asyncpg
from tortoise import Tortoise
from tortoise.connection import get_connection
from tortoise.exceptions import DBConnectionError

from corral.base.errors import Unavailable
from corral.platform import metrics, schema
from corral.platform.embedded import BUSY_MS, Embedded, add_functions, now_ms
from corral.platform.settings import Settings
from corral.platform.statements import Duplicate, GaveWay, Row, Rows, Statement, Unit, alone, many, sql

#: One Tortoise app per sub-package with tables, low to high. Names, not imports: the arrows still point down.
APPS = ("platform", "secrets", "mcp", "usage", "runs", "providers", "agents")
#: Seconds that one process waits for another that migrates: an index of a large table takes minutes.
_MIGRATION_SECONDS = 600.0

T = TypeVar("T")

__all__ = [
    "Duplicate",
    "GaveWay",
    "Row",
    "Rows",
    "Statement",
    "Unit",
    "alone",
    "many",
    "sql",
]  # written with, and imported from here

_COMMITS, _STATEMENTS = metrics.STATEMENTS.of("unit"), metrics.STATEMENTS.of("statement")
_OUTAGES = metrics.OUTAGES.of()
#: For how long a look at PostgreSQL's clock is reckoned from.
_CLOCK_SECONDS = 1.0
#: The SQLite file of this process, where there is one.
_embedded: Embedded | None = None
#: PostgreSQL's clock less this process's monotonic one, in ms, and until when that is believed.
_clock = 0.0, 0.0


async def commit(unit: Unit[T]) -> T:
    """Run the unit in one transaction and return its value; what it raises rolls back and is raised here."""
    begun = perf_counter()
    try:
        if _embedded is not None:
            return await _embedded.commit(unit)
        with _translated():
            async with get_connection("default").acquire_connection() as connection:
                return await _drive_postgres(connection, unit)
    finally:
        _COMMITS.see(perf_counter() - begun)


async def fetch(text: str, *args: Any) -> Rows:
    """Run one statement on its own, committed at once if it writes, and return its rows."""
    begun = perf_counter()
    try:
        if _embedded is not None:
            return await _embedded.fetch(text, args)
        with _translated():
            async with get_connection("default").acquire_connection() as connection:
                return cast("Rows", await connection.fetch(text, *args))
    finally:
        _STATEMENTS.see(perf_counter() - begun)


async def scan(text: str, *args: Any) -> Rows:
    """Run one statement that may read thousands of rows, without keeping others from their turn."""
    if _embedded is not None:
        return await _embedded.scan(text, args)
    return await fetch(text, *args)


async def now() -> int:
    """Return the time of the database's clock, in ms, never ahead of it. PostgreSQL is asked once a second."""
    global _clock  # noqa: PLW0603 - of the one database
    if _embedded is not None:
        return now_ms()
    behind, until = _clock
    if monotonic() >= until:
        told = int((await fetch("SELECT now_ms() AS now"))[0]["now"])
        behind, until = _clock = told - monotonic() * 1000, monotonic() + _CLOCK_SECONDS
    return int(monotonic() * 1000 + behind)


async def checkpoint() -> None:
    """Keep SQLite's write-ahead log short; run each second by a server's loop. PostgreSQL does so itself."""
    if _embedded is not None:
        await _embedded.checkpoint()


def connections() -> tuple[int, int] | None:
    """Return how many connections to PostgreSQL this process has open, and how many of them are in use."""
    if _embedded is not None:
        return None
    pool: asyncpg.Pool | None = get_connection("default")._pool  # noqa: SLF001 - Tortoise has no word for it
    return (pool.get_size(), pool.get_size() - pool.get_idle_size()) if pool is not None else (0, 0)


def dialect() -> str:
    """Return `sqlite` or `postgres`, for the few statements that differ."""
    return "postgres" if _embedded is None else "sqlite"


def config(settings: Settings, *, lasts: bool = False) -> dict[str, Any]:
    """Return Tortoise's configuration for the database of these settings; a migration's connections last."""
    return {
        "connections": {"default": _connection(settings, lasts=lasts)},
        "apps": {
            app: {
                "models": [f"corral.{app}.models"],
                "migrations": f"corral.{app}.migrations",
                "default_connection": "default",
            }
            for app in APPS
        },
        "use_tz": True,
    }


async def connect(settings: Settings) -> None:
    """Open the database for this process and bring its tables up to date; safe when several servers do so at once."""
    global _embedded  # noqa: PLW0603 - a process has one database
    await migrate(settings)
    with _reached(settings):
        await Tortoise.init(config=config(settings), _enable_global_fallback=True)
        # Opens it, so that a wrong URL is known at the start.
        async with get_connection("default").acquire_connection() as connection:
            if settings.is_embedded:
                await add_functions(connection)
                _embedded = Embedded(_file(settings), sync=settings.sync)


async def migrate(settings: Settings, *, seconds: float = _MIGRATION_SECONDS) -> list[str]:
    """Apply the migrations that are missing, and return them; one process at a time, which others wait for."""
    with _reached(settings):
        return await schema.migrate(config(settings, lasts=True), settings.database_url, seconds)


async def pending(settings: Settings) -> list[str]:
    """Return the migrations that are missing, and change nothing."""
    with _reached(settings):
        return await schema.pending(config(settings, lasts=True))


async def disconnect() -> None:
    """Close every connection of this process."""
    global _clock, _embedded  # noqa: PLW0603
    _clock = 0.0, 0.0
    if _embedded is not None:
        _embedded.close()
        _embedded = None
    await Tortoise.close_connections()


async def _drive_postgres(connection: asyncpg.Connection, unit: Unit[T]) -> T:
    try:
        statement = next(unit)
        while statement.alone:
            statement = unit.send(await connection.fetch(statement.sql, *statement.args))
    except StopIteration as done:
        return cast("T", done.value)
    async with connection.transaction():
        return await _drive_transaction(connection, unit, statement)


async def _drive_transaction(connection: asyncpg.Connection, unit: Unit[T], statement: Statement) -> T:
    try:
        while True:
            try:
                if statement.many is not None:
                    await connection.executemany(statement.sql, statement.many)
                    rows: Rows = ()
                else:
                    rows = await connection.fetch(statement.sql, *statement.args)
            except asyncpg.UniqueViolationError as error:
                statement = unit.throw(Duplicate(str(error)))
            else:
                statement = unit.send(rows)
    except StopIteration as done:
        return cast("T", done.value)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the driver's many ways of saying 'the server is away' into the one error that answers 503."""
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        raise Duplicate(str(error)) from error
    except (asyncpg.DeadlockDetectedError, asyncpg.InvalidCachedStatementError) as error:
        raise GaveWay from error
    except Exception as error:
        if is_outage(error):
            _OUTAGES.add()
            raise Unavailable from error
        raise


@contextmanager
def _reached(settings: Settings) -> Iterator[None]:
    """Say at a start which database cannot be used, and why: it may be away, or the settings may be wrong."""
    try:
        with _translated():
            yield
    except (Unavailable, *_NOT_LET_IN) as error:
        why: BaseException = error
        while why.__cause__ is not None:
            why = why.__cause__
        if settings.is_embedded or isinstance(why, Unavailable):
            raise
        url = urlsplit(settings.database_url)
        where, told = url.netloc.rpartition("@")[2] + url.path, str(why) or "it does not answer"
        raise Unavailable(f"PostgreSQL at {where} cannot be used: {told}. Is CORRAL_DATABASE_URL right?") from error


def is_outage(error: BaseException) -> bool:
    """Tell whether this is one of the ways in which 'the server is away' is said; a value it cannot take is none."""
    return isinstance(error, _AWAY) and not isinstance(error, ValueError)


#: A role or a database that is not there, or a password that is wrong.
_NOT_LET_IN = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
)
_AWAY = (
    OSError,
    DBConnectionError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.DeadlockDetectedError,
    asyncpg.TooManyConnectionsError,
)


def _connection(settings: Settings, *, lasts: bool) -> Any:
    if settings.is_embedded:
        pragmas = {
            "synchronous": settings.sync,
            "busy_timeout": BUSY_MS,
            "journal_size_limit": 64 * 1024 * 1024,
            "recursive_triggers": "on",  # as in `embedded`
        }
        return {
            "engine": "tortoise.backends.sqlite",
            "credentials": {"file_path": str(_file(settings)), **pragmas},
        }
    return {
        "engine": "corral.platform.postgres",
        "credentials": {
            "url": settings.database_url,
            "lasts": lasts,
            "minsize": 1,
            "maxsize": 10,
            "reset": _keep,  # nothing sets session state, and the reset query costs every release a round trip
        },
    }


def _file(settings: Settings) -> Path:
    return settings.data / "corral.db"


async def _keep(_connection: object) -> None:
    """Leave a connection as it is when it goes back to the pool."""
