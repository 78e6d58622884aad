"""An MCP server is tested where it would be used: on a runner's machine, or on the platform's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import msgspec

from corral.agents import roster
from corral.agents.roster import Agent
from corral.base.errors import BadRequest, CorralError
from corral.base.ids import new_id
from corral.mcp import client, servers
from corral.mcp.pool import User
from corral.mcp.servers import Health, Server
from corral.mcp.uses import PLATFORM
from corral.platform import database
from corral.runs import commands, outfit, runners
from corral.runs.hints import decide
from corral.runs.outfit import Asked
from corral.runs.runners import Machine
from corral.wire.runner import CommandKind, CommandResult, CommandStatus, McpTested, McpTool

#: Until a server must have told its tools; and until the runner must have told us, within what proxies wait.
_SERVER_SECONDS = 12.0
_RUNNER_SECONDS = 20.0
_LOOK_EVERY = 0.2


async def test(org_id: int, server_id: str, by: str, *, agent_id: str | None, runner: str | int | None) -> Health:
    """List a server's tools as an agent would have them, and keep the result."""
    server = await servers.get(org_id, server_id)
    agent = await _agent(org_id, server, agent_id)
    asked = Asked(server.id, agent.id if agent else None, agent.team if agent else None, by)
    machine = await _machine(org_id, agent, runner)
    if machine is None:
        return await servers.tested(org_id, server.id, await _here(org_id, asked), PLATFORM)
    return await servers.tested(org_id, server.id, await _there(org_id, asked, machine), machine.name)


async def _agent(org_id: int, server: Server, agent_id: str | None) -> Agent | None:
    """Return for whom it is tested: who was named, else one of those it is for; None for one that is for all."""
    if agent_id is not None:
        return await roster.get(org_id, agent_id, field="agent")
    if server.enabled_for == servers.ALL:
        return None
    return next((agent for agent in await roster.page(org_id) if server.is_for(agent.id, agent.team)), None)


async def _machine(org_id: int, agent: Agent | None, runner: str | int | None) -> Machine | None:
    """Return the runner that would use it; None is the platform itself."""
    if runner is None and agent is not None and agent.cli_name is None:
        return None
    there: Sequence[Machine] = await runners.page(org_id)
    wanted = runner if runner is not None else (agent.provider_config.get("runner") if agent is not None else None)
    if wanted is not None:
        found = next((machine for machine in there if machine.answers_to(wanted)), None)
        if found is None:
            raise BadRequest(f"runner: there is no runner {wanted} here", field="runner")
        return found
    return next((machine for machine in there if machine.online), None)


async def _here(org_id: int, asked: Asked) -> McpTested:
    try:
        rendered = await outfit.render_one(org_id, asked)
        user = User(org_id, asked.agent_id or "", "")
        async with client.once(rendered, user, start_seconds=_SERVER_SECONDS) as session:
            return McpTested([McpTool(spec.name, spec.description[:300]) for spec in session.specs])
    except CorralError as error:
        return McpTested(error=error.message)


async def _there(org_id: int, asked: Asked, machine: Machine) -> McpTested:
    if not machine.online:
        return McpTested(error=f"runner {machine.name} is not there")
    command_id, payload = new_id(), msgspec.json.encode(asked)
    await decide(
        lambda hints: commands.ask_runner(
            org_id, machine.no, command_id, kind=CommandKind.MCP_TEST, payload=payload, hints=hints
        )
    )
    deadline = time.monotonic() + _RUNNER_SECONDS
    try:
        while (result := await commands.outcome(command_id)) is None:
            if time.monotonic() > deadline:
                return McpTested(error=f"runner {machine.name} told no result in {_RUNNER_SECONDS:g} seconds")
            await asyncio.sleep(_LOOK_EVERY)
    finally:
        await database.commit(commands.give_up(command_id))
    return _told(result, machine)


def _told(result: CommandResult, machine: Machine) -> McpTested:
    match result.status:
        case CommandStatus.DONE:
            try:
                return msgspec.json.decode(result.message, type=McpTested)
            except (msgspec.DecodeError, UnicodeDecodeError):
                return McpTested(error=f"runner {machine.name} gave a result that cannot be read")
        case CommandStatus.UNSUPPORTED:
            return McpTested(error=f"runner {machine.name} is too old to test MCP servers: update it")
        case _:
            return McpTested(error=result.message or f"runner {machine.name} could not do it")
