"""The server's own database file, while somebody else has it."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from corral.base.errors import Unavailable
from corral.platform import database
from corral.platform.database import Unit, sql
from corral.platform.settings import Settings


@pytest.mark.parametrize("sync", ["normal", "full"])
async def test_who_finds_the_file_locked_for_long_is_told_to_try_again(
    tmp_path: Path, migrated_sqlite: Path, monkeypatch: pytest.MonkeyPatch, sync: str
) -> None:
    monkeypatch.setattr(database, "BUSY_MS", 20)
    shutil.copy(migrated_sqlite, tmp_path)
    await database.connect(Settings(data=tmp_path, sync=sync))

    def unit() -> Unit[None]:
        yield sql("INSERT INTO orgs (id, name, created_at) VALUES (7, 'Seventh', now_ms())")

    try:
        with closing(sqlite3.connect(tmp_path / "corral.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable, match="locked"):
                await database.commit(unit())
            with pytest.raises(Unavailable, match="locked"):
                await database.fetch("UPDATE orgs SET name = 'x'")
        await database.commit(unit())
        assert (await database.fetch("SELECT name FROM orgs WHERE id = 7"))[0]["name"] == "Seventh"
    finally:
        await database.disconnect()
