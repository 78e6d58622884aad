"""MCP servers as pages show them: for whom, how they are, what they lack, and what is decided about their tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from corral.agents import roster, unmet
from corral.agents.roster import Agent
from corral.mcp import servers, uses
from corral.mcp.servers import Server
from corral.mcp.uses import Use
from corral.platform import database
from corral.web.console.secret_views import NeedView, need_view
from corral.web.present.mcps import newest
from corral.wire.agents import McpServer, Ruling

#: What may be decided about a tool, from the strictest: its word, and the class that colours its dot.
RULINGS = {
    Ruling.DENY.value: ("Denied", "failed"),
    Ruling.ASK.value: ("Asks a person", "waiting"),
    Ruling.ALLOW.value: ("Allowed", "completed"),
}


@dataclass(frozen=True, slots=True)
class ToolView:
    """A tool as the last test found it, and what is decided about it."""

    name: str
    description: str
    own: str  #: the rule that names it: deny, ask, allow, or none
    pattern: str  #: the rule of a pattern that it matches


@dataclass(frozen=True, slots=True)
class McpView:
    """One server: a row of the list, or the head of its page."""

    id: str
    name: str
    transport: str
    where: str  #: the command with its arguments, or the address
    whom: str
    status: str  #: the class that colours its dot
    word: str
    ok: bool | None  #: of the last test
    error: str | None
    trouble: str | None  #: why it fails, by the newest of tests and uses
    uses: Sequence[Use]  #: how runs found it, the newest of each machine
    machine: str | None
    tested_at: int | None
    tools: int | None
    needs: list[NeedView]


async def views(org_id: int) -> list[McpView]:
    """Return the org's servers, by name."""
    found = sorted(await servers.page(org_id), key=lambda server: server.name.casefold())
    return await _views(org_id, found)


async def view(org_id: int, server: Server) -> McpView:
    """Return one server's view."""
    (found,) = await _views(org_id, [server])
    return found


async def of_agent(org_id: int, agent: Agent) -> list[McpView]:
    """Return the servers that an agent's runs are given."""
    return await _views(org_id, await servers.for_agent(org_id, agent.id, agent.team))


def tools(server: Server) -> list[ToolView]:
    """Return the tools it was found to have, in its own order."""
    deny, ask, allow = (tuple(one for one in getattr(server, ruling) if "*" in one) for ruling in RULINGS)
    patterns = McpServer(name=server.name, transport=server.transport, deny=deny, ask=ask, allow=allow)
    return [
        ToolView(
            tool.name,
            tool.description,
            next((ruling for ruling in RULINGS if tool.name in getattr(server, ruling)), ""),
            patterns.ruling(tool.name) or "",
        )
        for tool in (server.health.tools if server.health else ())
    ]


def others(server: Server) -> dict[str, str]:
    """Return the rules that name no tool it was found to have: patterns, and tools it may get."""
    known = {tool.name for tool in (server.health.tools if server.health else ())}
    return {ruling: ", ".join(one for one in getattr(server, ruling) if one not in known) for ruling in RULINGS}


def whom(server: Server, names: Mapping[str, str]) -> str:
    """Say for whom it is."""
    if server.enabled_for == servers.AGENTS:
        return ", ".join(names.get(one, "an agent that is gone") for one in server.agents)
    if server.enabled_for == servers.TEAMS:
        return f"team{'s' if len(server.teams) > 1 else ''} {', '.join(server.teams)}"
    return "all agents"


async def _views(org_id: int, found: Sequence[Server]) -> list[McpView]:
    names = await roster.names(org_id)
    needs: dict[str, list[NeedView]] = {}
    for need in await unmet.unmet(org_id):
        if need.server is not None:
            needs.setdefault(need.server.id, []).append(need_view(need))
    used = await database.commit(uses.of(org_id, [server.no for server in found]))
    return [_view(server, names, needs.get(server.id, []), used[server.no]) for server in found]


def _view(server: Server, names: Mapping[str, str], needs: list[NeedView], used: Sequence[Use]) -> McpView:
    health = server.health
    is_known, trouble = newest(health, used)
    if trouble is not None:
        status, word = "failed", "Fails"
    elif needs:
        status, word = "waiting", "Lacks a secret"
    elif not is_known:
        status, word = "queued", "Not tested"
    else:
        status, word = "online", "Works"
    return McpView(
        id=server.id,
        name=server.name,
        transport=server.transport,
        where=" ".join([server.command or "", *server.args]) if server.transport == servers.STDIO else server.url or "",
        whom=whom(server, names),
        status=status,
        word=word,
        ok=health.ok if health else None,
        error=health.error if health else None,
        trouble=trouble,
        uses=used,
        machine=health.machine if health else None,
        tested_at=health.tested_at if health else None,
        tools=len(health.tools) if health and health.ok else None,
        needs=needs,
    )
