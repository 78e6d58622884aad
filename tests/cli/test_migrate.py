"""`corral migrate`, before servers are started: by as many machines as want to, and in CI."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import asyncpg

from corral.platform import schema
from tests.cli.conftest import Command
from tests.conftest import ServerMaker
from tests.support.postgres import Postgres


def test_of_several_at_once_one_migrates_and_the_others_find_it_done(corral: Command, postgres_url: str) -> None:
    with ThreadPoolExecutor(3) as threads:
        asked = [
            threads.submit(corral, "migrate", "--json", CORRAL_DATABASE_URL=postgres_url, within=90) for _ in range(3)
        ]
    told = [one.result() for one in asked]
    assert [one.code for one in told] == [0, 0, 0], [one.err for one in told]
    applied = sorted((one.json()["applied"] for one in told), key=len)
    assert applied[:2] == [[], []]
    assert "platform.0001_initial" in applied[2]
    again = corral("migrate", CORRAL_DATABASE_URL=postgres_url)
    assert (again.code, again.out) == (0, "The database is up to date.\n")


def test_a_check_changes_nothing_and_fails_while_something_is_missing(
    corral: Command, postgres: Postgres, postgres_url: str
) -> None:
    env = {"CORRAL_DATABASE_URL": postgres_url}
    missing = corral("migrate", "--check", "--json", **env)
    assert missing.code == 1
    assert "platform.0001_initial" in missing.json()["pending"]
    assert "migrations are missing" in missing.err
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    assert postgres.sql(tables, postgres_url.rpartition("/")[2]) == "0"
    assert corral("migrate", **env).code == 0
    done = corral("migrate", "--check", **env)
    assert (done.code, done.out) == (0, "The database is up to date.\n")


def test_who_waits_for_another_that_migrates_gives_up_in_the_end(corral: Command, postgres_url: str) -> None:
    async def beside_another() -> None:
        other = await asyncpg.connect(postgres_url)
        await other.execute("SELECT pg_advisory_lock($1)", schema._LOCK)
        refused = await asyncio.to_thread(corral, "migrate", "--wait", "1", CORRAL_DATABASE_URL=postgres_url)
        assert refused.code == 1
        assert "Another process migrates this database" in refused.err
        await other.close()

    asyncio.run(beside_another())


def test_a_data_directory_in_use_is_left_alone_but_may_be_checked(corral: Command, make_server: ServerMaker) -> None:
    server = make_server()
    refused = corral("migrate", server=server)
    assert refused.code == 1
    assert "A server runs already" in refused.err
    assert corral("migrate", "--check", server=server).code == 0


def test_a_directory_without_a_database_has_everything_before_it(corral: Command) -> None:
    missing = corral("migrate", "--check", "--data", "new")
    assert missing.code == 1
    assert "There is no database" in missing.err
    assert corral("migrate", "--data", "new").code == 0
    assert corral("migrate", "--check", "--data", "new").code == 0
