"""Agents' services on each of the two databases. Mail is handled when a test says so."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from corral.platform import database
from corral.platform.settings import Settings
from tests.agents.office import Office, opened


@pytest.fixture(params=["sqlite", "postgres"])
async def office(request: pytest.FixtureRequest, tmp_path: Path, migrated_sqlite: Path) -> AsyncIterator[Office]:
    """An org with a runner, in an empty, migrated database."""
    url = request.getfixturevalue("migrated_postgres_url") if request.param == "postgres" else ""
    shutil.copy(migrated_sqlite, tmp_path)
    office = await opened(Settings(data=tmp_path, database_url=url))
    yield office
    await database.disconnect()
