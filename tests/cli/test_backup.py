"""`corral backup` and `corral restore` as people run them."""

from __future__ import annotations

import os
import re
import subprocess
import zipfile
from pathlib import Path

from tests.cli.conftest import Command
from tests.conftest import REPOSITORY, ServerMaker
from tests.support.postgres import Postgres

VALUE = "a-value-that-is-in-no-backup"


def test_a_running_server_is_backed_up_checked_and_restored(
    corral: Command, make_server: ServerMaker, folder: Path
) -> None:
    server = make_server()
    stored = corral("secrets", "set", "BACKED_UP", server=server, stdin=VALUE)
    assert stored.code == 0, stored.err
    archives = folder / "archives"
    archives.mkdir()
    done = corral("backup", str(archives), "--json", server=server)
    assert done.code == 0, done.err
    (archive,) = archives.iterdir()
    told = done.json()
    assert (told["file"], told["size"]) == (str(archive), archive.stat().st_size)
    assert len(told["manifest"]["keys"]) == 1
    with zipfile.ZipFile(archive) as packed:
        data = packed.read("corral.db")
    master = (server.data / "secret.key").read_bytes().strip()
    for secret in (VALUE.encode(), server.key.encode(), master, (server.data / "key").read_bytes().strip()):
        assert secret not in data

    again = corral("backup", str(archive), server=server)
    assert again.code == 1
    assert "replaces nothing" in again.err
    nowhere = corral("backup", str(folder / "none" / "a.zip"), server=server)
    assert nowhere.code == 2
    assert "no directory" in nowhere.err

    missing = corral("backup", str(folder / "backups"), server=server)
    assert missing.code == 2
    assert "Make it, or name a file" in missing.err

    proved = corral("backup", "--check", "--key", str(archive), "--json", server=server)
    assert proved.json()["opened"] == 1
    other = corral("backup", "--check", "--key", str(archive), CORRAL_DATA=str(folder / "other"))
    assert other.code == 1
    assert f"sealed under the master key {told['manifest']['keys'][0]}, and here is none" in other.err
    shown = corral("backup", "--check", str(archive), CORRAL_DATA=str(folder / "other")).out
    assert "is whole" in shown
    assert re.search(r"size +[1-9]\d*\.\d [KM]B, of a database of [1-9]", shown)

    busy = corral("restore", str(archive), "--replace", server=server)
    assert busy.code == 1
    assert "A server runs already" in busy.err
    server.stop()
    full = corral("restore", str(archive), server=server)
    assert full.code == 1
    assert "--replace" in full.err
    restored = corral("restore", str(archive), "--replace", server=server)
    assert restored.code == 0, restored.err
    assert "before-restore-" in restored.out
    server.restart()
    with server.api() as api:
        assert [one["key"] for one in api.get("/api/secrets?scope=org").json()] == ["BACKED_UP"]


def test_without_a_database_there_is_nothing_to_back_up(corral: Command, folder: Path) -> None:
    done = corral("backup", str(folder / "a.zip"), CORRAL_DATA=str(folder / "nothing"))
    assert done.code == 2
    assert "no database" in done.err
    assert not (folder / "a.zip").exists()


def test_with_postgresql_its_own_tools_are_named(corral: Command, folder: Path) -> None:
    url = "postgres://corral@127.0.0.1:1/corral"
    for arguments, tool in ((("backup", "a.zip"), "pg_dump"), (("restore", "a.zip"), "pg_restore")):
        done = corral(*arguments, CORRAL_DATABASE_URL=url, CORRAL_DATA=str(folder))
        assert done.code == 2
        assert f"Use them: {tool}" in done.err


def test_a_dump_of_the_version_before_is_restored_as_the_docs_say_and_brought_up_to_date(
    corral: Command, folder: Path, postgres: Postgres, migrated_postgres_url: str
) -> None:
    url, mine = migrated_postgres_url, migrated_postgres_url.rpartition("/")[2]
    restored = f"{mine}_restored"
    there = url.replace(mine, restored)
    (block,) = re.findall(r"```\n(pg_dump.*?)```", (REPOSITORY / "docs" / "backup.md").read_text(), flags=re.DOTALL)
    block = re.sub(r"RESTORED=\S+", f"RESTORED={there}", block).replace(" corral_restored", f" {restored}")
    env = {**os.environ, "CORRAL_DATABASE_URL": url, "PATH": f"{postgres.binaries}:{os.environ['PATH']}"}
    postgres.sql("DROP TABLE servers", mine)
    postgres.sql("DELETE FROM tortoise_migrations WHERE name = '0007_servers'", mine)
    try:
        done = subprocess.run(
            ["sh", "-ec", block], env=env, cwd=folder, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        assert corral("migrate", CORRAL_DATABASE_URL=there).out.startswith("applied platform.0007_servers")
        assert "2026-05-04" in postgres.sql("SELECT made_at FROM restored", restored)
    finally:
        postgres.sql(f"DROP DATABASE IF EXISTS {restored} WITH (FORCE)")
