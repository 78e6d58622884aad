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
    key = key_of(agent.provider) if engine == Engine.PROVIDER else None
    needed = [(key, f"provider {agent.provider}")] if key is not None else []
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


def key_of(provider: str | None) -> str | None:
    """Return the secret that an agent in the platform needs for its provider; who does not know that says so later."""
    return key_name(provider) if provider in PROVIDERS and provider not in _keyless else None


def lacked(hold: str | None) -> str | None:
    """Return the secret that a run is held for, where `lacking` said so of it."""
    found = _LACKING.match(hold or "")
    return found[1] if found else None
