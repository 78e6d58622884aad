"""The engine in front of the scripted model, on the database of one process."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from corral.demo.server import ModelServer, serving
from corral.platform import database
from corral.platform.settings import Settings
from corral.providers import loop
from tests.providers.world import World
from tests.runs.world import opened


@pytest.fixture
async def model() -> AsyncIterator[ModelServer]:
    async with serving(port=0, pace=0) as server:
        yield server


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with all tables, to be copied: making them takes longer than any test here."""
    folder = tmp_path_factory.mktemp("migrated")
    asyncio.run(database.migrate(Settings(data=folder)))
    return folder / "corral.db"


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Where everything is kept: SQLite, unless the test asks for `postgres` as well."""
    if getattr(request, "param", "sqlite") == "postgres":
        return Settings(data=tmp_path, database_url=request.getfixturevalue("migrated_postgres_url"))
    shutil.copy(request.getfixturevalue("migrated"), tmp_path)
    return Settings(data=tmp_path)


@pytest.fixture
async def world(model: ModelServer, store: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A platform without an engine yet."""
    monkeypatch.setattr(loop, "FIRST_PAUSE", 0.01)
    runs = await opened(store)
    world = World(runs.org_id, model, store.data, monkeypatch)
    yield world
    for engine in world.engines:
        await engine.stop()
    await database.disconnect()


@pytest.fixture(params=["anthropic", "openai", "openrouter"])
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)
