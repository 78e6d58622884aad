"""The tables, as migrations make them: what is still to do, and doing it, one process at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import copy
from typing import Any

import asyncpg
from tortoise import Tortoise
from tortoise.connection import get_connection
from tortoise.exceptions import OperationalError
from tortoise.migrations.executor import MigrationExecutor, MigrationTarget, PlanStep
from tortoise.migrations.graph import MigrationKey
from tortoise.migrations.loader import MigrationLoader
from tortoise.migrations.recorder import MigrationRecorder
from tortoise.migrations.schema_generator.state import State

from corral.base.errors import Unavailable
from corral.base.logs import get_logger
from corral.platform.migrating import DialectSql

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
        executor = _Executor(config["apps"])
        plan = await executor.plan(executor.latest)
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
            await Tortoise.init(config=config, init_connections=False)
            executor = _Executor(config["apps"])
            await executor.migrate(executor.latest, progress=note)
        finally:
            await Tortoise.close_connections()
    return applied


class _Recorder(MigrationRecorder):
    """Knows what was applied; who applies it notes that."""

    async def applied_migrations(self) -> list[MigrationKey]:
        """Read what was; an outage is none of 'nothing yet'."""
        try:
            _, rows = await self.connection.execute_query("SELECT app, name FROM tortoise_migrations ORDER BY id")
        except OperationalError:  # there is no table yet
            return []
        return [MigrationKey(app_label=row["app"], name=row["name"]) for row in rows]

    async def record_applied(self, app: str, name: str) -> None:
        """It has been, in the transaction that applied it."""


class _State(State):
    """What models are like between two operations, at no cost: a copy has the same classes.

    Operations make a class anew to change it, and so does Tortoise for a copy: all of them, for each operation.
    """

    def clone(self) -> State:
        """Return a copy that what is done to this one leaves as it is."""
        apps = copy(self.apps)
        apps.apps = {app: dict(models) for app, models in self.apps.apps.items()}
        return _State(models={name: model.clone() for name, model in self.models.items()}, apps=apps)


class _Executor(MigrationExecutor):
    """Notes each migration in the transaction that applies it: who is killed leaves both or neither."""

    def __init__(self, apps: dict[str, Any]) -> None:
        super().__init__(get_connection("default"), apps)
        self.recorder = _Recorder(self.connection)
        self.loader = MigrationLoader(apps, self.recorder, load=False)
        self.latest = [MigrationTarget(app, "__latest__") for app in apps]

    async def _project_state(self, applied: set[MigrationKey], **upto: Any) -> State:
        state = await super()._project_state(applied, **upto)
        return _State(models=state.models, apps=state.apps)

    def _migration_plan(self, *args: Any) -> list[PlanStep]:
        plan = super()._migration_plan(*args)
        for step in plan:
            migration = step.migration
            values = f"'{migration.app_label}', '{migration.name}', CURRENT_TIMESTAMP"
            noted = [f"INSERT INTO tortoise_migrations (app, name, applied_at) VALUES ({values})"]  # noqa: S608 - ours
            migration.operations = [*migration.operations, DialectSql(sqlite=noted, postgres=noted)]
        return plan


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
