"""The core's services on each of the two databases, with the bus of one process."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from corral.platform import database
from corral.platform.settings import Settings
from tests.runs.world import World, opened


@pytest.fixture(params=["sqlite", "postgres"])
async def world(request: pytest.FixtureRequest, tmp_path: Path, migrated_sqlite: Path) -> AsyncIterator[World]:
    """An org in an empty, migrated database."""
    url = ""
    if request.param == "postgres":
        url = request.getfixturevalue("migrated_postgres_url")
    else:
        shutil.copy(migrated_sqlite, tmp_path)
    world = await opened(Settings(data=tmp_path, database_url=url))
    yield world
    await database.disconnect()
