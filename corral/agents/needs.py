"""What an agent's run cannot begin without: its provider's key, and the secrets that its MCP servers refer to."""

from __future__ import annotations

import re
from collections.abc import Iterable

from corral.mcp import render, servers
from corral.platform.database import Unit
from corral.platform.settings import PROVIDERS
from corral.secrets import vault
from corral.wire.agents import AgentSnapshot, key_name
from corral.wire.runs import Engine

_keyless: set[str] = set()

_LACKING = re.compile(r"the secret ([A-Z][A-Z0-9_]*) is missing, ")


def need_no_key(providers: Iterable[str]) -> None:
    """Take the providers for which the servers themselves have a key; the composition root calls this."""
    _keyless.clear()
    _keyless.update(providers)


def lacking(org_id: int, agent: AgentSnapshot, engine: str) -> Unit[str | None]:
    """Say which secret a run needs that nobody has stored; None if there is none."""
    needed = [(key_name(name), f"provider {name}") for name in _providers(agent, engine)]
    given = yield from servers.given(org_id, agent.id, agent.team)
    needed += [(key, f"MCP server {server.name}") for server in given for key in render.references(server)]
    if not needed:
        return None
    stored = yield from vault.names(org_id, agent.id)
    missing = [one for one in needed if one[0] not in stored]
    if not missing:
        return None
    key, whose = missing[0]
    more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    return f"the secret {key} is missing, which {whose} needs{more}"


def _providers(agent: AgentSnapshot, engine: str) -> Iterable[str]:
    """Return the provider that must be given a key; who does not know it says so when the run starts."""
    return {agent.provider} & set(PROVIDERS) - _keyless if engine == Engine.PROVIDER and agent.provider else ()


def lacked(hold: str | None) -> str | None:
    """Return the secret that a run is held for, where `lacking` said so of it."""
    found = _LACKING.match(hold or "")
    return found[1] if found else None
