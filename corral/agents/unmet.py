"""Which secrets do MCP servers refer to that nobody has stored? Runs wait for them, or will."""

from __future__ import annotations

import re

import msgspec

from corral.agents import roster
from corral.agents.roster import Agent
from corral.mcp import render, servers
from corral.mcp.servers import Server
from corral.secrets import vault

_LACKING = re.compile(r"the secret ([A-Z][A-Z0-9_]*) is missing, ")


class Need(msgspec.Struct, frozen=True):
    """A secret that some of those who are given a server do not have."""

    key: str
    server: Server
    agents: list[Agent]  #: who lack it; nobody where the server is given to nobody yet


async def unmet(org_id: int) -> list[Need]:
    """Return what is missing, the oldest server's first."""
    referring = [server for server in reversed(await servers.page(org_id)) if render.references(server)]
    if not referring:
        return []
    stored, agents = await vault.stored(org_id), list(reversed(await roster.page(org_id)))
    found = []
    for server in referring:
        given = [agent for agent in agents if server.is_for(agent.id, agent.team)]
        for key in render.references(server):
            if key in stored[None]:
                continue
            without = [agent for agent in given if key not in stored.get(agent.id, ())]
            if without or not given:
                found.append(Need(key, server, without))
    return found


def lacked(hold: str | None) -> str | None:
    """Return the secret that a run is held for, where `needs.lacking` said so of it."""
    found = _LACKING.match(hold or "")
    return found[1] if found else None
