"""What an agent's run cannot begin without: the secrets that its MCP servers refer to."""

from __future__ import annotations

from corral.mcp import render, servers
from corral.platform.database import Unit
from corral.secrets import vault


def lacking(org_id: int, agent_id: str, team: str | None) -> Unit[str | None]:
    """Say which secret the agent's servers refer to that nobody has stored; None if there is none."""
    referring = [server for server in (yield from servers.given(org_id, agent_id, team)) if render.references(server)]
    if not referring:
        return None
    stored = yield from vault.names(org_id, agent_id)
    missing = [(key, server.name) for server in referring for key in render.references(server) if key not in stored]
    if not missing:
        return None
    key, server = missing[0]
    more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    return f"the secret {key} is missing, which MCP server {server} needs{more}"
