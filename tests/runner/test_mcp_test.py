"""MCP servers that are started for a test: real processes, also such as behave badly."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec
import pytest

from corral.runner import mcp_test
from corral.wire.agents import McpServer
from corral.wire.runner import Command, CommandStatus, McpTest, McpTested
from tests.engines import mcp_server
from tests.mcp.probe import BAD as BAD_SERVER
from tests.mcp.probe import Probe
from tests.runner.conftest import Running, until
from tests.runner.fake_server import FakeServer

SECRET = "s3cret-of-the-org"
STDIO = McpServer("told", "stdio", command=sys.executable, args=(mcp_server.__file__,))
BAD = {
    "it ended before it answered; it wrote: no root for [redacted:bad.TOKEN]": (
        "import os,sys; sys.exit('no root for '+os.environ['TOKEN'])"
    ),
    "gave no answer in 1 seconds": "import time; time.sleep(60)",
    "it does not speak the protocol": "import sys; sys.stdout.write('x' * 10_000_000); sys.stdout.flush()",
    "gave no answer in 1 seconds;": "import sys\nwhile True: print('y' * 999, file=sys.stderr)",
    "it floods": "while True: print('{}\\n' * 999)",
    "initialize with an error: no": 'print(\'{"id": 1, "error": {"message": "no"}}\', flush=True); input()',
}


async def look(server: McpServer, folder: Path, seconds: float = 20) -> McpTested:
    children: set[int] = set()
    env = {"PATH": os.environ["PATH"]}
    result = await mcp_test.run(server, "mcp-test-x", env=env, cwd=str(folder), seconds=seconds, children=children)
    assert children == set()
    return result


async def test_a_servers_tools_are_listed_and_it_is_ended(tmp_path: Path) -> None:
    result = await look(STDIO, tmp_path)
    assert (result.error, [tool.name for tool in result.tools]) == (None, ["tell"])


@pytest.mark.parametrize("why", BAD)
async def test_a_server_that_misbehaves_is_told_of_without_its_secrets_and_ended(tmp_path: Path, why: str) -> None:
    server = McpServer("bad", "stdio", command=sys.executable, args=("-c", BAD[why]), env={"TOKEN": SECRET})
    result = await look(server, tmp_path, seconds=1 if "1 seconds" in why else 20)
    assert result.tools == []
    assert why in (result.error or "")
    assert SECRET not in (result.error or "")


#: What is told of a server that misbehaves over HTTP from its first answer on.
FAR = {
    "hang": "it gave no answer in 1 seconds",
    "crash": "it cannot be reached",
    "line": "it answers with more than 4 MB",
    "messages": "it answers with more than 4 MB",
    "packed": "it does not answer initialize",
}


async def test_a_server_that_is_far_is_asked_from_here(tmp_path: Path) -> None:
    async with Probe(tmp_path).http("none", script=BAD_SERVER) as (server, _):
        result = await look(server, tmp_path)
    assert result.error is None
    assert {tool.name for tool in result.tools} >= {"grow"}


@pytest.mark.parametrize("kind", FAR)
async def test_a_far_server_that_misbehaves_is_told_of(tmp_path: Path, kind: str) -> None:
    async with Probe(tmp_path).http(kind, "--at-start", script=BAD_SERVER) as (server, _):
        result = await look(server, tmp_path, seconds=1 if kind == "hang" else 20)
    assert result.tools == []
    assert (result.error or "").startswith(FAR[kind])


async def test_a_far_server_is_shown_its_headers_and_a_refusal_is_told(tmp_path: Path) -> None:
    async with Probe(tmp_path).http(TOKEN=SECRET) as (server, _):
        assert "HTTP status 401" in str((await look(server, tmp_path)).error)
        let_in = McpServer("far", "http", url=server.url, headers={"Authorization": f"Bearer {SECRET}"})
        result = await look(let_in, tmp_path)
        assert result.error is None
        assert {tool.name for tool in result.tools} >= {"grow"}
        nobody = McpServer("far", "http", url="http://127.0.0.1:9/mcp")
        assert "it cannot be reached" in str((await look(nobody, tmp_path)).error)


async def test_a_redirect_is_followed_if_it_leads_nowhere_else(tmp_path: Path) -> None:
    async with Probe(tmp_path).http("none", script=BAD_SERVER) as (server, _):
        here = str(server.url)
        for to, why in ((here, None), (here.replace("127.0.0.1", "localhost"), "it redirects to http://localhost")):
            result = await look(McpServer("far", "http", url=f"{here}?to={to}"), tmp_path)
            assert (result.error is None) == (why is None)
            assert (result.error or "").startswith(why or "")


async def test_what_a_server_says_of_its_tools_shows_no_secret(tmp_path: Path) -> None:
    tool = '{"name": "t", "description": "%s"}' % ("." * 280 + SECRET)  # which is cut only then
    program = (
        "import json\nfor n in (1, 0, 2):\n m = json.loads(input())\n"
        f" if n: print(json.dumps({{'id': n, 'result': {{'protocolVersion': '1', 'tools': [{tool}]}}}}), flush=True)"
    )
    server = McpServer("told", "stdio", command=sys.executable, args=("-c", program), env={"TOKEN": SECRET})
    (shown,) = (await look(server, tmp_path)).tools
    assert shown.description == ("." * 280 + "[redacted:told.TOKEN]")[:300]


async def test_a_command_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = await look(McpServer("none", "stdio", command="no-such-command"), tmp_path)
    assert "no-such-command cannot be started" in (result.error or "")


async def test_a_runner_is_asked_to_test_a_server_once(server: FakeServer, runner: Running) -> None:
    asked = server.ask(Command("one", "mcp_test", "", 0, msgspec.Raw(msgspec.json.encode(McpTest(STDIO)))))
    broken = server.ask(Command("two", "mcp_test", "", 0, msgspec.Raw(b"{}")))
    await until(lambda: asked.id in server.results and broken.id in server.results)
    (result,) = server.results[asked.id]
    assert result.status == CommandStatus.DONE
    assert [tool.name for tool in msgspec.json.decode(result.message, type=McpTested).tools] == ["tell"]
    assert [one.status for one in server.results[broken.id]] == [CommandStatus.FAILED]
