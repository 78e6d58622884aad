"""Connections are kept for the next run of the same agent, and for nobody else."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from types import ModuleType

import msgspec
import pytest

from corral.mcp.client import Session, connect
from corral.mcp.link import Unreachable
from corral.mcp.pool import Pool, User
from corral.wire.agents import McpServer
from tests.mcp.probe import BAD, GOOD, Probe
from tests.support.waiting import PATIENCE

ADA = User(1, "ada", "run-1")


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    made = Pool()
    yield made
    await made.close()


async def who(pool: Pool, server: McpServer, user: User = ADA) -> str:
    """Which process, or which server, a run is given."""
    async with connect(server, user, pool) as session:
        return (await session.call("tell", {})).text.rpartition(" ")[2]


async def listed(session: Session) -> int:
    return int((await session.call("tell", {})).text.split()[1])


def other(server: McpServer, **changes: object) -> McpServer:
    return msgspec.structs.replace(server, **changes)


async def until_gone(probe: Probe, living: int = 0) -> None:
    async with asyncio.timeout(20 * PATIENCE):
        while len(probe.living()) > living:  # noqa: ASYNC110 - other processes end
            await asyncio.sleep(0.01)


async def test_a_connection_is_the_next_runs_of_the_same_agent_and_nobody_elses(pool: Pool, probe: Probe) -> None:
    server = probe.stdio("none", script=BAD)
    first = await who(pool, server)
    assert await who(pool, server, User(1, "ada", "run-2")) == first
    assert await who(pool, other(server, allow=("*",)), ADA) == first  # which is decided beside it
    strangers = [
        await who(pool, server, User(1, "bob", "run-3")),
        await who(pool, server, User(2, "ada", "run-4")),
        await who(pool, other(server, env={**server.env, "TOKEN": "another value"})),
        await who(pool, other(server, id="another server of the same name")),
    ]
    assert len({first, *strangers}) == 5
    assert len(probe.living()) == 5
    await pool.close()
    assert probe.living() == []


async def test_two_runs_at_once_share_nothing(pool: Pool, probe: Probe) -> None:
    server = probe.stdio("none", script=BAD)
    async with connect(server, ADA, pool) as one, connect(server, ADA, pool) as two:
        assert (await one.call("tell", {})).text != (await two.call("tell", {})).text


async def test_what_is_not_used_is_closed_after_a_while(probe: Probe) -> None:
    pool = Pool(idle_seconds=0.05)
    await who(pool, probe.stdio("none", script=BAD))
    await until_gone(probe)
    await pool.close()


async def test_nothing_of_before_a_change_of_the_orgs_servers_or_secrets_is_used_after_it(
    pool: Pool, probe: Probe
) -> None:
    server = probe.stdio("none", script=BAD)
    await who(pool, server, ADA)
    elsewhere = await who(pool, server, User(2, "eve", "run"))
    pool.change(1)
    await until_gone(probe, living=1)  # of the other org
    async with connect(server, ADA, pool) as session:
        before = (await session.call("tell", {})).text
        pool.change(1)
        assert (await session.call("tell", {})).text == before  # a run that goes on keeps what it was given
    await until_gone(probe, living=1)
    assert await who(pool, server, User(2, "eve", "run")) == elsewhere


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_server_that_died_or_froze_meanwhile_is_replaced(
    pool: Pool, probe: Probe, how: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corral.mcp.link.TOOLS_SECONDS", 0.0)
    monkeypatch.setattr("corral.mcp.link._SIGN_OF_LIFE", 0.5 if how == signal.SIGSTOP else 30)
    server = probe.stdio("none", script=BAD)
    first = await who(pool, server)
    os.kill(int(first), how)
    monkeypatch.setattr("corral.mcp.link._SIGN_OF_LIFE", 0.5)
    assert await who(pool, server) != first
    assert len(probe.living()) == 1


async def test_a_server_on_which_a_call_was_given_up_is_no_later_runs(pool: Pool, probe: Probe) -> None:
    server = probe.stdio("hang", script=BAD)
    async with connect(server, ADA, pool) as session:
        first = (await session.call("tell", {})).text
        await session.call("go", {}, 0.1)
    assert first.rpartition(" ")[2] != await who(pool, server)


async def test_there_are_not_more_than_so_many(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool(most=2)
    server = probe.stdio("none", script=BAD)
    await who(pool, server, User(1, "bob", "run"))
    async with connect(server, ADA, pool) as one, connect(server, ADA, pool) as two:
        assert len(pool._idle) == 0  # it has given way
        with pytest.raises(Unreachable, match="2 MCP servers, and all are in use"):
            await who(pool, server)
        before = (await one.call("tell", {})).text
        await two.call("tell", {})
        monkeypatch.setattr("corral.mcp.pool._UNUSED_SECONDS", 0.0)
        await who(pool, server, User(1, "bob", "run"))  # in the place of the one that was not used for longest
        assert len(pool._taken) == 1
        after = (await one.call("tell", {})).text
        assert (before.rpartition(" ")[2] != after.rpartition(" ")[2], "listed" in after) == (True, True)
    await pool.close()
    assert probe.living() == []


@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_tools_are_listed_once_and_again_when_they_are_old(
    pool: Pool, probe: Probe, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with probe.over(transport, "none", script=BAD) as server:
        for _ in range(3):
            async with connect(server, ADA, pool) as session:
                assert await listed(session) == 1
                assert not await session.renew()
        monkeypatch.setattr("corral.mcp.link.TOOLS_SECONDS", 0.0)
        async with connect(server, ADA, pool) as session:
            assert await listed(session) == 2


@pytest.mark.parametrize(("transport", "script"), [("stdio", BAD), ("stdio", GOOD), ("http", GOOD)])
async def test_tools_that_a_server_says_have_changed_are_listed_anew(
    pool: Pool, probe: Probe, transport: str, script: ModuleType
) -> None:
    """By the notification of the older protocol, and the subscription of the newer one."""
    async with probe.over(transport, "none", script=script) as server:
        async with connect(server, ADA, pool) as session:
            before = {spec.name for spec in session.specs}
            await session.call("grow", {})
            async with asyncio.timeout(20 * PATIENCE):
                while not await session.renew():  # noqa: ASYNC110 - the server tells it when it likes
                    await asyncio.sleep(0.01)
            (new,) = {spec.name for spec in session.specs} - before
            assert new.startswith("grown")
            assert not await session.renew()
        async with connect(server, ADA, pool) as session:
            assert new in {spec.name for spec in session.specs}


async def test_it_is_told_how_servers_are_found_when_that_changes(pool: Pool, probe: Probe) -> None:
    told: list[str | None] = []
    async with connect(probe.stdio("crash", script=BAD), ADA, pool, note=told.append) as session:
        for name in ("tell", "tell", "go", "tell", "tell"):
            await session.call(name, {})
    with pytest.raises(Unreachable):
        async with connect(probe.stdio("crash", "--at-start", script=BAD), ADA, pool, note=told.append):
            pass
    assert [why is None for why in told] == [True, False, True, False]
    assert "ended during the call of go" in str(told[1])


async def test_what_is_told_of_a_server_shows_no_secret(pool: Pool, probe: Probe) -> None:
    told: list[str | None] = []
    async with probe.http("none", script=BAD) as (server, process):
        secret = other(server, headers={"Authorization": f"Bearer {process.pid}-sk-the-value-itself"})
        async with connect(secret, ADA, pool, note=told.append) as session:
            failed = await session.call("leak", {})
    assert "sk-the-value-itself" in failed.text  # which is masked with all else that the run is told
    assert "[redacted:probe.Authorization]" in str(told[-1])
    assert "sk-the-value-itself" not in str(told)
