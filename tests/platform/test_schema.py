"""Migrations go in pairs of deploys: the version before must run on the tables that the next one leaves."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from tortoise.fields import Field
from tortoise.migrations import operations as ops
from tortoise.migrations.executor import MigrationExecutor

from corral.base.errors import Unavailable
from corral.platform import database, schema
from corral.platform.database import APPS
from corral.platform.migrating import DialectSql
from corral.platform.settings import Settings

#: What takes something away that a version before uses, or asks for something that it does not give, in SQL.
TAKES = re.compile(
    r"\b(DROP (?!TRIGGER|FUNCTION|INDEX|NOT NULL|DEFAULT)|RENAME\b|SET NOT NULL|ALTER COLUMN \w+ (?!SET DEFAULT|DROP)|"
    r"ADD COLUMN(?!.*DEFAULT).*NOT NULL)"
)
#: Migrations that do so all the same, and why no version that is still in use minds.
ALLOWED: dict[str, str] = {}


def operations() -> Iterator[tuple[str, ops.Operation]]:
    for app in APPS:
        package = importlib.import_module(f"corral.{app}.migrations")
        for found in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{package.__name__}.{found.name}")
            for operation in module.Migration.operations:
                yield f"{app}.{found.name}", operation


def takes_away(operation: ops.Operation) -> str:
    """What a version before would miss after this; nothing, if it only adds."""
    match operation:
        case DialectSql():
            statements = [*operation._sqlite, *operation._postgres]
            return next((sql for sql in statements if TAKES.search(" ".join(sql.split()))), "")
        case ops.AddField(field=Field() as field) if not (field.null or field.has_db_default()):
            return f"{operation.name} has neither NULL nor a default"
        case ops.CreateModel() | ops.AddField() | ops.AddIndex() | ops.RemoveIndex() | ops.AddConstraint():
            return ""
        case _:
            return type(operation).__name__


@pytest.mark.parametrize("migration", sorted({name for name, _ in operations()} - set(ALLOWED)))
def test_a_migration_only_adds(migration: str) -> None:
    taken = [what for name, operation in operations() if name == migration and (what := takes_away(operation))]
    assert not taken, "leave that to a later release, when nobody runs the one before any more (docs/servers.md)"


async def test_what_is_missing_is_told_and_nothing_is_changed(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    missing = await database.pending(settings)
    assert missing == await database.pending(settings)
    assert missing[0] == "platform.0001_initial"
    assert await database.migrate(settings) == missing
    assert await database.pending(settings) == []
    assert await database.migrate(settings) == []


async def test_a_server_starts_on_a_database_of_a_newer_version(
    migrated_sqlite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(schema, "log", SimpleNamespace(warning=lambda _what, migrations: told.extend(migrations)))
    (tmp_path / "corral.db").write_bytes(migrated_sqlite.read_bytes())
    await database.connect(Settings(data=tmp_path))
    await database.fetch(
        "INSERT INTO tortoise_migrations (app, name, applied_at) VALUES ('runs', '0999_to_come', '2027-01-01')"
    )
    await database.fetch("ALTER TABLE runs ADD COLUMN to_come TEXT")
    await database.disconnect()
    await database.connect(Settings(data=tmp_path))
    try:
        assert told == ["runs.0999_to_come"]
        assert await database.now()
    finally:
        await database.disconnect()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_who_is_killed_between_two_migrations_leaves_none_half_done(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = request.getfixturevalue("postgres_url") if kind == "postgres" else ""
    settings = Settings(data=tmp_path, database_url=url)
    missing = await database.pending(settings)
    done = iter(range(5))

    def killed(_self: object, _progress: object, what: str, _key: object) -> None:
        if what == "apply_done" and next(done) == 3:
            raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(MigrationExecutor, "_emit", killed)
        with pytest.raises(SystemExit):
            await database.migrate(settings)
    assert await database.pending(settings) == missing[4:]
    assert await database.migrate(settings) == missing[4:]


async def test_of_a_database_that_is_away_nobody_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        await database.pending(Settings(data=tmp_path, database_url="postgres://corral@127.0.0.1:1/corral"))
