"""MCP servers are tested where they would be used."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import msgspec
import pytest

from corral.agents import probing, supplies
from corral.base.errors import BadRequest
from corral.base.ids import new_id
from corral.mcp import servers
from corral.mcp.servers import Health, Server
from corral.platform.database import fetch
from corral.runs import outcomes
from corral.secrets import vault
from corral.wire.runner import Command, CommandResult, CommandStatus, McpTest, McpTested, McpTool
from tests.agents.office import PERSON, Office
from tests.engines import mcp_server

VALUE = "sk-the-value-itself"


async def a_server(office: Office, **fields: object) -> Server:
    given = {"name": "told", "transport": "stdio", "command": sys.executable, "args": [mcp_server.__file__], **fields}
    return await supplies.add_server(office.org_id, new_id(), given)


async def on_the_runner(office: Office, server: Server, status: CommandStatus, message: str) -> tuple[Health, Command]:
    testing = asyncio.create_task(probing.test(office.org_id, server.id, PERSON, agent_id=None, runner=None))
    while not (asked := await office.commands()):  # noqa: ASYNC110 - the runner polls
        await asyncio.sleep(0.01)
    assert await office.commands() == []  # it is offered once
    result = CommandResult(office.box.session, status, message)
    await outcomes.finish(office.org_id, office.box.id, asked[0].id, result)
    return await testing, asked[0]


async def test_a_stdio_server_is_tested_by_a_runner_which_alone_gets_its_secrets(office: Office) -> None:
    server = await a_server(office, env={"TOLD": "${TOKEN}"})
    await vault.put(office.org_id, "TOKEN", VALUE)
    answer = msgspec.json.encode(McpTested([McpTool("tell", "Tell")])).decode()
    health, command = await on_the_runner(office, server, CommandStatus.DONE, answer)
    assert (health.ok, health.error, [tool.name for tool in health.tools]) == (True, None, ["tell"])
    given = msgspec.json.decode(command.payload, type=McpTest)
    assert given.server.env == {"TOLD": VALUE}
    assert VALUE not in repr([tuple(row) for row in await fetch("SELECT * FROM commands")])
    assert (await servers.get(office.org_id, server.id)).health == health
    (secret,) = await vault.page(office.org_id, scope="org")
    assert secret.last_used_by == PERSON


async def test_an_old_runner_and_one_that_fails_are_told_of(office: Office) -> None:
    server = await a_server(office)
    old, _ = await on_the_runner(office, server, CommandStatus.UNSUPPORTED, "what?")
    assert "too old" in (old.error or "")
    failed, _ = await on_the_runner(office, server, CommandStatus.FAILED, "it broke")
    assert (failed.ok, failed.error) == (False, "it broke")


async def test_a_missing_secret_is_named_and_nothing_is_started(office: Office) -> None:
    server = await a_server(office, env={"TOLD": "${TOKEN}"})
    testing = asyncio.create_task(probing.test(office.org_id, server.id, PERSON, agent_id=None, runner=None))
    while not testing.done():
        assert await office.commands() == []
        await asyncio.sleep(0.01)
    assert "TOKEN" in ((await testing).error or "")


async def test_a_server_of_a_platform_agent_is_tested_here_with_its_own_secrets(office: Office) -> None:
    agent = await office.agent(cli_name=None, provider="anthropic", model="m")
    server = await a_server(office, env={"TOLD": "${TOKEN}"})
    await vault.put(office.org_id, "TOKEN", VALUE, agent_id=agent.id)
    health = await probing.test(office.org_id, server.id, PERSON, agent_id=agent.id, runner=None)
    assert (health.ok, health.machine, [tool.name for tool in health.tools]) == (True, "the platform", ["tell"])
    with pytest.raises(BadRequest, match="runner"):
        await probing.test(office.org_id, server.id, PERSON, agent_id=None, runner="nobody")


async def test_a_server_is_tested_by_whom_it_is_for(office: Office) -> None:
    """Over HTTP as well: what a machine reaches, the platform may not."""
    far: dict[str, Any] = {"transport": "http", "url": "http://127.0.0.1:9/mcp", "command": None, "args": []}
    coder = await office.agent("Coder", team="red")
    thinker = await office.agent("Thinker", cli_name=None, provider="anthropic", model="m", team="blue")
    for whom in ({"enabled_for": "all"}, {"enabled_for": "agents", "agents": [coder.id]}):
        server = await a_server(office, name=new_id(), **far, **whom)
        health, command = await on_the_runner(office, server, CommandStatus.FAILED, "not there")
        assert health.machine != "the platform"
        assert msgspec.json.decode(command.payload, type=McpTest).server.url == far["url"]
    for whom in ({"enabled_for": "teams", "teams": ["blue"]}, {"enabled_for": "agents", "agents": [thinker.id]}):
        server = await a_server(office, name=new_id(), **far, **whom)
        health = await probing.test(office.org_id, server.id, PERSON, agent_id=None, runner=None)
        assert (health.ok, health.machine) == (False, "the platform")
