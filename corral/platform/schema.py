"""The tables, as migrations make them: what is still to do, and doing it, one process at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from tortoise import Tortoise
from tortoise.connection import get_connection
from tortoise.migrations.api.migrate import migrate as tortoise_migrate
from tortoise.migrations.executor import MigrationExecutor, MigrationTarget

from corral.base.errors import Unavailable
from corral.base.logs import get_logger

log = get_logger()

#: Held while migrating, so that N servers may start at once.
_LOCK = 4_207_849_484
#: Seconds between two tries to get it.
_AGAIN = 0.5
_CONNECT_SECONDS = 10.0


async def pending(config: dict[str, Any]) -> list[str]:
    """Return the migrations that are missing, in their order: `runs.0003_agents`. Nothing is changed."""
    await Tortoise.init(config=config, init_connections=False)
    try:
        executor = MigrationExecutor(get_connection("default"), config["apps"])
        plan = await executor.plan([MigrationTarget(app, "__latest__") for app in config["apps"]])
        await _warn_of_newer(executor)
    finally:
        await Tortoise.close_connections()
    return [f"{step.migration.app_label}.{step.migration.name}" for step in plan]


async def migrate(config: dict[str, Any], lock_url: str, seconds: float) -> list[str]:
    """Apply what is missing and return what was applied; wait so many seconds for another process that is at it."""
    if not await pending(config):
        return []
    applied: list[str] = []

    def note(what: str, app: str, name: str) -> None:
        if what == "apply_done":
            applied.append(f"{app}.{name}")

    async with _locked(lock_url, seconds):
        try:
            await tortoise_migrate(config=config, progress=note)
        finally:
            await Tortoise.close_connections()
    return applied


async def _warn_of_newer(executor: MigrationExecutor) -> None:
    """Say that a newer version was here. It only has added to the tables, so this one goes on."""
    known = {(key.app_label, key.name) for key in executor.loader.graph.nodes}
    newer = [
        f"{key.app_label}.{key.name}"
        for key in await executor.recorder.applied_migrations()
        if (key.app_label, key.name) not in known
    ]
    if newer:
        log.warning("the database is of a newer version of Corral", migrations=newer)


@asynccontextmanager
async def _locked(url: str, seconds: float) -> AsyncIterator[None]:
    """Hold the lock of PostgreSQL; the file of SQLite has one process, whose directory is locked."""
    if not url:
        yield
        return
    deadline = time.monotonic() + seconds
    connection = await asyncpg.connect(url, timeout=_CONNECT_SECONDS)
    try:
        while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
            if time.monotonic() > deadline:
                raise Unavailable(f"Another process migrates this database, and was not done within {seconds:g} s")
            await asyncio.sleep(_AGAIN)
        yield
    finally:
        await connection.close(timeout=_CONNECT_SECONDS)
