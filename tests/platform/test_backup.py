"""Backups: whole or not there, of one moment, and never in anybody's way."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import sqlite3
import time
import zipfile
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from corral.base.errors import BadRequest, Conflict, CorralError
from corral.platform import backup, database
from corral.platform.backup import Manifest
from corral.platform.database import Unit, sql
from corral.platform.settings import Settings


def quiet(_doing: str, _done: float) -> None:
    return


def fine(_copy: Path) -> None:
    return


def write(data: Path, archive: Path) -> Manifest:
    return backup.write(data / "corral.db", archive, tell=quiet, inspect=fine)


def restore(archive: Path, data: Path, *, replace: bool = False) -> Path | None:
    return backup.restore(archive, data, replace=replace, tell=quiet, inspect=fine)[1]


def orgs(data: Path) -> list[str]:
    with closing(sqlite3.connect(data / "corral.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [row[0] for row in connection.execute("SELECT name FROM orgs ORDER BY id")]


def add(data: Path, name: str) -> None:
    with closing(sqlite3.connect(data / "corral.db")) as connection, connection:
        connection.execute("INSERT INTO orgs (name, created_at) VALUES (?, 0)", (name,))


@pytest.fixture
def data(tmp_path: Path, migrated_sqlite: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(migrated_sqlite, folder)
    add(folder, "first")
    return folder


@pytest.fixture
async def opened(data: Path) -> AsyncIterator[Path]:
    await database.connect(Settings(data=data))
    yield data
    await database.disconnect()


def test_what_was_backed_up_is_restored_and_nothing_later(data: Path, tmp_path: Path) -> None:
    archive, other = tmp_path / "a.zip", tmp_path / "other"
    other.mkdir()
    manifest = write(data, archive)
    add(data, "later")
    assert archive.stat().st_mode & 0o777 == 0o600
    assert manifest.schema["platform"] >= "0003"
    assert backup.check(archive, tell=quiet, inspect=fine) == manifest
    assert restore(archive, other) is None
    assert orgs(other) == ["first"]
    assert sorted(path.name for path in other.iterdir()) == ["corral.db"]
    with zipfile.ZipFile(archive) as packed:
        assert packed.namelist() == ["corral.db", "manifest.json"]
        assert json.loads(packed.read("manifest.json"))["made_at"] == manifest.made_at


def test_a_backup_replaces_nothing_and_a_restore_only_what_it_keeps_aside(data: Path, tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    write(data, archive)
    with pytest.raises(Conflict, match="replaces nothing"):
        write(data, archive)
    add(data, "later")
    (data / "secret.key").write_text("a key")
    with pytest.raises(Conflict, match="--replace"):
        restore(archive, data)
    aside = restore(archive, data, replace=True)
    assert aside is not None
    assert (orgs(data), orgs(aside)) == (["first"], ["first", "later"])
    assert (data / "secret.key").read_text() == "a key"


def test_a_restored_database_that_nobody_started_can_be_backed_up_and_restored_again(
    data: Path, tmp_path: Path
) -> None:
    archive, again = tmp_path / "a.zip", tmp_path / "again.zip"
    first = write(data, archive)
    restore(archive, data, replace=True)
    write(data, again)
    restore(again, data, replace=True)
    with closing(sqlite3.connect(data / "corral.db")) as connection:
        # What may have been done since, may have been since the first of the two.
        assert connection.execute("SELECT made_at FROM restored").fetchall() == [(first.made_at,)]


async def test_under_load_a_backup_holds_one_moment_and_nobody_waits_for_it(opened: Path, tmp_path: Path) -> None:
    await database.fetch("CREATE TABLE pairs (a INTEGER, filler TEXT)")
    longest, written, over = 0.0, 0, asyncio.Event()

    def pair(number: int) -> Unit[None]:
        for _ in range(2):
            yield sql("INSERT INTO pairs VALUES ($1, $2)", number, f"{number}" * 2000)

    async def load() -> None:
        nonlocal longest, written
        while not over.is_set():
            began = time.monotonic()
            await database.commit(pair(written))
            longest, written = max(longest, time.monotonic() - began), written + 1
            if written % 200 == 0:
                await database.checkpoint()
            await asyncio.sleep(0)

    loading = asyncio.create_task(load())
    seen = []
    for number in range(4):
        archive, at_least = tmp_path / f"{number}.zip", written
        await asyncio.to_thread(write, opened, archive)
        (tmp_path / f"{number}").mkdir()
        await asyncio.to_thread(restore, archive, tmp_path / f"{number}")
        with closing(sqlite3.connect(tmp_path / f"{number}/corral.db")) as connection:
            rows = connection.execute("SELECT a, count(*) FROM pairs GROUP BY a ORDER BY a").fetchall()
        assert [row for row in rows if row[1] != 2] == []
        assert [row[0] for row in rows] == list(range(len(rows)))
        assert at_least <= len(rows) <= written
        seen.append(len(rows))
    over.set()
    await loading
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]
    assert longest < 4  # it would be 5 s if a lock were waited for


async def test_a_checkpoint_does_not_make_writers_wait_for_a_long_reader(opened: Path) -> None:
    await database.fetch("CREATE TABLE filler (text TEXT)")
    with closing(sqlite3.connect(opened / "corral.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM orgs").fetchall()
        for _ in range(20):
            await database.fetch("INSERT INTO filler VALUES ($1)", "x" * 1_000_000)
        began = time.monotonic()
        await database.checkpoint()
        assert time.monotonic() - began < 4  # it would be 5 s, in which nobody can write
        reader.execute("COMMIT")
    await database.fetch("INSERT INTO filler VALUES ('y')")
    await database.checkpoint()


def test_what_was_deleted_is_in_no_backup(data: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(data / "corral.db")) as connection:
        connection.execute("CREATE TABLE said (text TEXT)")
        connection.execute("INSERT INTO said VALUES (?)", ("forget-this " * 20_000,))
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        connection.execute("PRAGMA secure_delete = OFF").fetchone()
        connection.execute("DELETE FROM said")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert b"forget-this" in (data / "corral.db").read_bytes()
    write(data, tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as packed:
        assert b"forget-this" not in packed.read("corral.db")


def encrypted(archive: bytes) -> bytes:
    """As if each part were."""
    return re.sub(rb"(PK\x01\x02....)\x00", b"\\1\x01", archive, flags=re.DOTALL)


@pytest.mark.parametrize(
    "harm",
    [
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:3000] + bytes([whole[3000] ^ 1]) + whole[3001:],
        lambda _: b"",
        lambda _: b"PK\x03\x04 not really",
        encrypted,
    ],
    ids=["cut off", "a bit", "empty", "something else", "encrypted"],
)
def test_a_damaged_archive_is_found_out_before_anything_is_touched(data: Path, tmp_path: Path, harm: object) -> None:
    archive = tmp_path / "a.zip"
    write(data, archive)
    archive.write_bytes(harm(archive.read_bytes()))  # type: ignore[operator] # a lambda above
    with pytest.raises(BadRequest, match=r"no backup of Corral|damaged"):
        backup.check(archive, tell=quiet, inspect=fine)
    with pytest.raises(BadRequest):
        restore(archive, data, replace=True)
    assert sorted(path.name for path in data.iterdir() if path.suffix not in {".db-wal", ".db-shm"}) == ["corral.db"]
    assert orgs(data) == ["first"]


def test_a_database_that_cannot_be_copied_is_named(data: Path, tmp_path: Path) -> None:
    os.truncate(data / "corral.db", 5000)
    with pytest.raises(CorralError, match=r"corral\.db: database disk image is malformed"):
        write(data, tmp_path / "a.zip")
    (data / "corral.db").unlink()
    with closing(sqlite3.connect(data / "corral.db")) as connection:
        connection.execute("CREATE TABLE of_another_program (a INTEGER)")
    with pytest.raises(CorralError, match=r"corral\.db: no such table"):
        write(data, tmp_path / "a.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_backup_of_a_newer_corral_is_refused_and_one_of_an_older_migrated(data: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(data / "corral.db")) as connection, connection:
        connection.execute(
            "INSERT INTO tortoise_migrations (app, name, applied_at) VALUES ('runs', '9999_later', '2026-01-01')"
        )
    write(data, tmp_path / "newer.zip")
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(BadRequest, match=r"runs 9999_later\): use that version or a newer one"):
        restore(tmp_path / "newer.zip", other)
    assert list(other.iterdir()) == []

    old = tmp_path / "old"
    old.mkdir()
    asyncio.run(migrate_to_the_first(old))
    write(old, tmp_path / "older.zip")
    restore(tmp_path / "older.zip", other)
    asyncio.run(open_and_close(other))
    with closing(sqlite3.connect(other / "corral.db")) as connection:
        assert connection.execute("SELECT count(*) FROM remains").fetchone() == (0,)


async def migrate_to_the_first(folder: Path) -> None:
    """A database as Corral's first version made it."""
    from tortoise import Tortoise
    from tortoise.migrations.api.migrate import migrate

    await migrate(config=database.config(Settings(data=folder)), app_labels=["platform", "secrets"])
    await Tortoise.close_connections()


async def open_and_close(folder: Path) -> None:
    await database.connect(Settings(data=folder))
    await database.disconnect()


def killed(what: str, archive: Path, data: Path, after: int) -> bool:
    """Back up or restore in a process that is killed when so much was made certain to be on the disk."""
    child = os.fork()
    if child:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in {0, -signal.SIGKILL}
        return status != 0
    try:
        sync, left = backup._sync, iter(range(after))

        def dies(path: Path) -> None:
            if next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            sync(path)

        backup._sync = dies
        if what == "write":
            write(data, archive)
        else:
            restore(archive, data, replace=True)
        os._exit(0)
    finally:
        os._exit(1)


def test_killed_anywhere_a_backup_is_whole_or_not_there_and_a_restore_done_or_not(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "_YOUNG", 0)
    whole, archive = tmp_path / "whole.zip", tmp_path / "a.zip"
    write(data, whole)
    kills = 0
    for after in range(3):
        if killed("write", archive, data, after):
            kills += 1
            if archive.exists():
                backup.check(archive, tell=quiet, inspect=fine)
        archive.unlink(missing_ok=True)
    for after in range(5):
        add(data, "later")
        if killed("restore", whole, data, after):
            kills += 1
            assert orgs(data) in (["first"], ["first", "later"])
        restore(whole, data, replace=True)
        assert orgs(data) == ["first"]
    assert kills >= 5
    write(data, archive)
    assert [path.name for folder in (tmp_path, data) for path in folder.glob(".corral-*")] == []
