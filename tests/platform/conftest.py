"""An org in an empty, migrated database, of either kind."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from corral.platform import database, keys, orgs, sign_in
from corral.platform.access import Principal
from corral.platform.orgs import Bootstrapped
from corral.platform.settings import Settings


@pytest.fixture(params=["sqlite", "postgres"])
async def settings(request: pytest.FixtureRequest, tmp_path: Path, migrated_sqlite: Path) -> AsyncIterator[Settings]:
    url = ""
    if request.param == "postgres":
        url = request.getfixturevalue("migrated_postgres_url")
    else:
        shutil.copy(migrated_sqlite, tmp_path)
    made = Settings(data=tmp_path, database_url=url)
    await database.connect(made)
    keys.forget()
    sign_in.forget()
    yield made
    await database.disconnect()


@pytest.fixture
async def org(settings: Settings) -> Bootstrapped:
    return await orgs.bootstrap(settings)


@pytest.fixture
async def owner(org: Bootstrapped) -> Principal:
    assert org.new_key is not None
    found = await keys.authenticate(org.new_key)
    assert found is not None
    return found
