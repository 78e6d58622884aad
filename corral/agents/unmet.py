"""Which secrets do agents' MCP servers and providers need that nobody has stored? Runs wait for them, or will."""

from __future__ import annotations

import msgspec

from corral.agents import needs, roster
from corral.agents.roster import Agent
from corral.mcp import render, servers
from corral.mcp.servers import Server
from corral.secrets import vault


class Need(msgspec.Struct, frozen=True):
    """A secret that some of those who need it do not have."""

    key: str
    server: Server | None  #: that refers to it; None: it is the key of a provider
    agents: list[Agent]  #: who lack it; nobody where a server is given to nobody yet


async def unmet(org_id: int) -> list[Need]:
    """Return what is missing: keys of providers, and what servers refer to, the oldest one's first."""
    agents = list(reversed(await roster.page(org_id)))
    wanted: list[Need] = []  #: with all who need it
    keys: dict[str, list[Agent]] = {}
    for agent in agents:
        if agent.cli_name is None and (key := needs.key_of(agent.provider)) is not None:
            keys.setdefault(key, []).append(agent)
    wanted += [Need(key, None, given) for key, given in keys.items()]
    for server in reversed(await servers.page(org_id)):
        given = [agent for agent in agents if server.is_for(agent.id, agent.team)]
        wanted += [Need(key, server, given) for key in render.references(server)]
    if not wanted:
        return []
    stored = await vault.stored(org_id)
    found = []
    for need in wanted:
        without = [agent for agent in need.agents if need.key not in stored.get(agent.id, ())]
        if need.key not in stored[None] and (without or not need.agents):
            found.append(Need(need.key, need.server, without))
    return found
