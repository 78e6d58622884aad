"""The one way to the database: `fetch` reads, `commit` runs a unit of work in one transaction.

A unit is a generator that yields statements and is sent their rows, so it cannot await anything: no transaction
of Corral ever waits for the outside world. The same unit runs on both databases: on SQLite in one hop to the
connection's thread, on PostgreSQL over one connection of the pool. SQL is written with `$1` and `now_ms()` for both.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, TypeVar, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import asyncpg
from tortoise import Tortoise
from tortoise.backends.sqlite.client import SqliteClient
from tortoise.connection import get_connection
from tortoise.migrations.api.migrate import migrate as tortoise_migrate

from corral.base.errors import CorralError, Unavailable
from corral.platform.settings import Settings

#: One Tortoise app per sub-package with tables, low to high. Names, not imports: the arrows still point down.
APPS = ("platform", "usage", "runs")
#: Held while migrating, so that N servers may start at once.
_MIGRATION_LOCK = 4_207_849_484


class Duplicate(CorralError):
    """A row with this unique value exists."""


class Row(Protocol):
    """A row of either driver: by column name or by position."""

    def __getitem__(self, key: str | int, /) -> Any:
        """Return one column."""


class Statement(NamedTuple):
    """SQL with `$n` placeholders; `many` runs it once for each tuple of arguments and answers no rows."""

    sql: str
    args: tuple[Any, ...] = ()
    many: Sequence[tuple[Any, ...]] | None = None


T = TypeVar("T")
Rows = Sequence[Row]
#: A unit of work: yields statements, is sent their rows, returns what it decided.
Unit = Generator[Statement, Rows, T]


def sql(text: str, *args: Any) -> Statement:
    """Spell one statement of a unit: `rows = yield sql("SELECT … WHERE id = $1", id)`."""
    return Statement(text, args)


def many(text: str, rows: Sequence[tuple[Any, ...]]) -> Statement:
    """Spell a statement that runs once for each tuple of `rows`."""
    return Statement(text, (), rows)


async def commit(unit: Unit[T]) -> T:
    """Run the unit in one transaction and return its value; what it raises rolls back and is raised here."""
    client = get_connection("default")
    if isinstance(client, SqliteClient):
        async with client.acquire_connection() as connection:
            return cast("T", await connection._execute(_commit_sqlite, connection._conn, unit))  # noqa: SLF001 - one hop
    with _translated():
        async with client.acquire_connection() as connection, connection.transaction():
            return await _drive_postgres(connection, unit)


async def fetch(text: str, *args: Any) -> Rows:
    """Run one statement on its own, committed at once if it writes, and return its rows."""
    client = get_connection("default")
    if isinstance(client, SqliteClient):
        async with client.acquire_connection() as connection:
            return cast("Rows", await connection._execute(_fetch_sqlite, connection._conn, text, args))  # noqa: SLF001
    with _translated():
        async with client.acquire_connection() as connection:
            return cast("Rows", await connection.fetch(text, *args))


def dialect() -> str:
    """Return `sqlite` or `postgres`, for the few statements that differ."""
    return "sqlite" if isinstance(get_connection("default"), SqliteClient) else "postgres"


def config(settings: Settings) -> dict[str, Any]:
    """Return Tortoise's configuration for the database of these settings."""
    return {
        "connections": {"default": _connection(settings)},
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
    with _translated():
        await migrate(settings)
        await Tortoise.init(config=config(settings), _enable_global_fallback=True)
        client = get_connection("default")
        async with client.acquire_connection() as connection:  # opens it, so that a wrong URL is known at the start
            if isinstance(client, SqliteClient):
                await connection.create_function("now_ms", 0, lambda: time.time_ns() // 1_000_000)


async def migrate(settings: Settings) -> None:
    """Apply the migrations that are missing; one server at a time."""
    if settings.is_embedded:
        await tortoise_migrate(config=config(settings))
        await Tortoise.close_connections()
        return
    lock = await asyncpg.connect(settings.database_url)
    try:
        await lock.execute("SELECT pg_advisory_lock($1)", _MIGRATION_LOCK)
        await tortoise_migrate(config=config(settings))
        await Tortoise.close_connections()
    finally:
        await lock.close()


async def disconnect() -> None:
    """Close every connection of this process."""
    await Tortoise.close_connections()


def _commit_sqlite(connection: sqlite3.Connection, unit: Unit[T]) -> T:
    """Run in the connection's thread, from BEGIN to COMMIT: a cancelled request can't leave a transaction open."""
    connection.execute("BEGIN IMMEDIATE")
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


def _fetch_sqlite(connection: sqlite3.Connection, text: str, args: tuple[Any, ...]) -> Rows:
    try:
        return connection.execute(_numbered(text), args).fetchall()
    except sqlite3.IntegrityError as error:
        raise Duplicate(str(error)) from error


async def _drive_postgres(connection: asyncpg.Connection, unit: Unit[T]) -> T:
    try:
        statement = next(unit)
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


@lru_cache(maxsize=1024)
def _numbered(text: str) -> str:
    """SQLite spells `$1` as `?1`."""
    return re.sub(r"\$(\d+)", r"?\1", text)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the driver's many ways of saying 'the server is away' into the one error that answers 503."""
    try:
        yield
    except (
        OSError,
        asyncpg.PostgresConnectionError,
        asyncpg.InterfaceError,
        asyncpg.CannotConnectNowError,
        asyncpg.AdminShutdownError,
        asyncpg.DeadlockDetectedError,
        asyncpg.TooManyConnectionsError,
    ) as error:
        raise Unavailable from error
    except asyncpg.UniqueViolationError as error:
        raise Duplicate(str(error)) from error


def _connection(settings: Settings) -> Any:
    if settings.is_embedded:
        pragmas = {"synchronous": settings.sync, "busy_timeout": 5000, "journal_size_limit": 64 * 1024 * 1024}
        return {
            "engine": "tortoise.backends.sqlite",
            "credentials": {"file_path": str(settings.data / "corral.db"), **pragmas},
        }
    url = urlsplit(settings.database_url)
    query = dict(parse_qsl(url.query))
    return {
        "engine": "tortoise.backends.asyncpg",
        "credentials": {
            "host": query.pop("host", url.hostname or "localhost"),
            "port": url.port or 5432,
            "user": unquote(url.username or "postgres"),
            "password": unquote(url.password or ""),
            "database": url.path.lstrip("/"),
            "minsize": 1,
            "maxsize": 10,
            "reset": _keep,  # nothing sets session state, and the reset query costs every release a round trip
            **query,
        },
    }


async def _keep(_connection: object) -> None:
    """Leave a connection as it is when it goes back to the pool."""
