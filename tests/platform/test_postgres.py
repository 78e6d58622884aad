"""PostgreSQL as it is found by its URL, and as its connections are lent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from corral.base.errors import Unavailable
from corral.platform import database, postgres
from corral.platform.database import GaveWay, Unit, sql
from corral.platform.settings import Settings


@pytest.fixture
async def connected(tmp_path: Path, migrated_postgres_url: str) -> AsyncIterator[None]:
    await database.connect(Settings(data=tmp_path, database_url=migrated_postgres_url))
    yield
    await database.disconnect()


@pytest.mark.parametrize("query", ["?sslmode=prefer", "?application_name=corral&target_session_attrs=read-write"])
async def test_a_url_means_the_same_to_migrations_servers_and_the_programs_of_postgresql(
    tmp_path: Path, postgres_url: str, query: str
) -> None:
    head, _, port_and_name = postgres_url.rpartition("127.0.0.1:")
    settings = Settings(data=tmp_path, database_url=f"{head}127.0.0.1:1,127.0.0.1:{port_and_name}{query}")
    await database.connect(settings)  # which migrates; the first of its hosts is away
    try:
        assert await database.now()
        assert await database.pending(settings) == []
    finally:
        await database.disconnect()


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"netloc": "nobody:secret@{host}:{port}"}, 'role "nobody" does not exist'),
        ({"path": "/elsewhere"}, 'database "elsewhere" does not exist'),
        ({"netloc": "corral:secret@127.0.0.1:1"}, "Connect call failed"),
    ],
)
async def test_a_start_says_which_database_cannot_be_used_and_why_without_its_password(
    tmp_path: Path, postgres_url: str, wrong: dict[str, str], why: str
) -> None:
    url = urlsplit(postgres_url)
    changed = {part: value.format(host=url.hostname, port=url.port) for part, value in wrong.items()}
    settings = Settings(data=tmp_path, database_url=url._replace(**changed).geturl())
    for start in (database.connect, database.pending):
        with pytest.raises(Unavailable, match=f"{why}.*CORRAL_DATABASE_URL") as raised:
            await start(settings)
        assert "PostgreSQL at 127.0.0.1:" in raised.value.message
        assert "secret" not in raised.value.message


async def test_a_unit_that_meets_a_column_that_is_new_may_be_tried_again(connected: None) -> None:
    def read() -> Unit[None]:
        yield sql("UPDATE orgs SET name = name WHERE id = $1 RETURNING *", 1)

    for _ in range(2):
        await database.commit(read())  # prepared
    await database.fetch("ALTER TABLE orgs ADD COLUMN to_come TEXT")
    with pytest.raises(GaveWay) as raised:
        await database.commit(read())
    assert isinstance(raised.value, Unavailable)  # 503 and Retry-After, if nobody does try again
    await database.commit(read())


async def test_a_statement_that_was_given_up_ends_at_the_server_too(
    tmp_path: Path, migrated_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_HELD_SECONDS", 1.0)
    await database.connect(Settings(data=tmp_path, database_url=migrated_postgres_url))
    try:
        with pytest.raises(Unavailable):
            await database.fetch("SELECT pg_sleep(600)")
        async with asyncio.timeout(20):
            while await database.fetch(  # noqa: ASYNC110 - nobody is told
                "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' "
                "AND pid <> pg_backend_pid() AND query LIKE '%pg_sleep%'"
            ):
                await asyncio.sleep(0.05)
    finally:
        await database.disconnect()
