"""Real MCP servers over both transports, and what becomes of runs and processes when they behave badly."""

from __future__ import annotations

import asyncio
import functools
import subprocess
import sys
import textwrap

import pytest

from corral.mcp.client import once
from corral.mcp.link import Unreachable
from corral.mcp.pool import User
from corral.wire.agents import McpServer
from tests.mcp.probe import BAD, Probe, start
from tests.support import mcp_server
from tests.support.processes import free_port
from tests.support.waiting import PATIENCE, eventually

SECRET = "sk-the-value-itself"
connect = functools.partial(once, user=User(1, "ada", "run"))


async def test_tools_are_listed_and_called_and_one_that_hangs_is_given_up_or_left(
    server: McpServer, probe: Probe
) -> None:
    async with connect(server) as session:
        specs = {spec.name: spec for spec in session.specs}
        assert set(specs) >= {"echo", "env", "fail", "hang", "crash", "picture"}
        assert specs["echo"].description == "Return the text."
        assert specs["echo"].input_schema["properties"]["text"]["type"] == "string"
        said = await session.call("echo", {"text": "hällo\nworld"})
        assert (said.done, said.text, said.is_error) == (True, "hällo\nworld", False)
        many = await asyncio.gather(*[session.call("echo", {"text": str(n)}) for n in range(20)])
        assert [one.text for one in many] == [str(n) for n in range(20)]
        failed = await session.call("fail", {})
        assert failed.is_error
        assert "this does not work" in failed.text
        for wrong in (await session.call("echo", {"words": "?"}), await session.call("nonsense", {})):
            assert wrong.is_error
        assert (await session.call("picture", {})).text == "[image: image/png, 100 bytes]"
        hung = await session.call("hang", {}, 0.5)
        assert hung.is_error
        assert "no answer in 0.5 seconds" in hung.text
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await session.call("hang", {})
        assert (await session.call("echo", {"text": "still there"})).text == "still there"
        assert len(probe.pids()) == 1


async def test_a_child_sees_nothing_of_the_servers_environment_but_what_it_needs(
    probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORRAL_SECRET_KEY", "never")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "never")
    monkeypatch.setenv("LC_TIME", "de_DE.UTF-8")
    async with connect(probe.stdio("env", script=BAD, TOKEN=SECRET)) as session:
        env = (await session.call("go", {})).text
    names = {line.partition("=")[0] for line in env.splitlines()}
    assert names >= {"PATH", "HOME", "TOKEN", "LC_TIME", mcp_server.PIDS}
    assert f"TOKEN={SECRET}" in env
    allowed = {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG", "TMPDIR", "TZ", "TOKEN", mcp_server.PIDS}
    assert {name for name in names if not name.startswith("LC_")} <= allowed


async def test_a_server_that_crashes_is_started_again_by_the_next_call(probe: Probe) -> None:
    async with connect(probe.stdio("crash", script=BAD)) as session:
        crashed = await session.call("go", {})
        assert crashed.is_error
        assert "ended during the call of go" in crashed.text
        assert "something broke" in crashed.text
        assert not (await session.call("tell", {})).is_error
        assert len(probe.pids()) == 2
        assert len(probe.living()) == 1
    assert probe.living() == []


async def test_a_server_that_froze_is_killed_and_started_again(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corral.mcp.link._SIGN_OF_LIFE", 0.3)
    async with connect(probe.stdio("freeze", script=BAD)) as session:
        assert "no answer" in (await session.call("go", {}, 0.5)).text
        assert not (await session.call("tell", {})).is_error
        assert len(probe.pids()) == 2
        assert len(probe.living()) == 1
    assert probe.living() == []


async def test_a_server_that_never_answers_is_given_up_and_does_not_outlive_that(probe: Probe) -> None:
    with pytest.raises(Unreachable, match="no answer within 1 seconds"):
        async with connect(probe.stdio("--mute"), start_seconds=1):
            pass
    assert len(probe.pids()) == 1
    assert probe.living() == []


async def test_a_start_that_is_cut_off_leaves_no_process(probe: Probe) -> None:
    async def begin() -> None:
        async with connect(probe.stdio("--mute")):
            pass

    task = asyncio.create_task(begin())
    async with asyncio.timeout(20 * PATIENCE):
        while not probe.pids():  # noqa: ASYNC110 - another process writes them
            await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert probe.living() == []


async def test_a_server_that_cannot_start_says_why_but_no_secret(probe: Probe) -> None:
    with pytest.raises(Unreachable, match=r"it wrote: no such root; the token was \[redacted:probe.TOKEN\]") as failed:
        async with connect(probe.stdio("--fail", TOKEN=SECRET)):
            pass
    assert SECRET not in failed.value.message
    with pytest.raises(Unreachable, match="there is no command no-such-command"):
        async with connect(McpServer("probe", "stdio", command="no-such-command")):
            pass


async def test_a_server_that_always_ends_is_left_alone_at_last(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corral.mcp.client._MOST_STARTS", 2)
    async with connect(probe.stdio("crash", script=BAD)) as session:
        for _ in range(2):
            assert "ended during" in (await session.call("go", {})).text
        given_up = await session.call("tell", {})
        assert given_up.is_error
        assert "started 2 times" in given_up.text
    assert len(probe.pids()) == 2


async def test_http_requests_carry_the_headers_and_a_refusal_is_told(probe: Probe) -> None:
    async with probe.http(TOKEN=SECRET) as (served, _):
        let_in = McpServer("probe", "http", url=served.url, headers={"Authorization": f"Bearer {SECRET}"})
        async with connect(let_in) as session:
            assert (await session.call("echo", {"text": "in"})).text == "in"
        with pytest.raises(Unreachable, match="401"):
            async with connect(served):
                pass


async def test_an_http_server_that_went_away_and_came_back_is_used_again(probe: Probe) -> None:
    async with probe.http() as (served, process), connect(served) as session:
        first = (await session.call("pid", {})).text
        await asyncio.to_thread(process.kill)
        assert (await session.call("pid", {})).is_error
        assert served.url is not None
        await asyncio.to_thread(start, process, int(served.url.split(":")[2].split("/")[0]))
        back = await session.call("pid", {})
        assert (back.is_error, back.text != first) == (False, True)


async def test_an_http_server_that_is_not_there_is_told(probe: Probe) -> None:
    with pytest.raises(Unreachable):
        async with connect(McpServer("probe", "http", url=f"http://127.0.0.1:{free_port()}/mcp")):
            pass


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent was killed")
def test_a_server_dies_with_a_platform_that_is_killed(probe: Probe) -> None:
    program = textwrap.dedent(f"""
        import asyncio
        from corral.mcp.client import once
        from corral.mcp.pool import User
        from corral.wire.agents import McpServer

        async def main():
            words = ("-P", {mcp_server.__file__!r}, "--mute")
            server = McpServer("p", "stdio", {sys.executable!r}, words, env={probe.env!r})
            async with once(server, User(1, "ada", "run")):
                pass

        asyncio.run(main())
    """)
    with subprocess.Popen([sys.executable, "-c", program]) as platform:
        try:
            eventually(probe.living, what="the server was started")
        finally:
            platform.kill()
    eventually(lambda: not probe.living(), what="the server is gone")
