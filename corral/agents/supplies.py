"""What agents' runs are given changes; in the same transaction those that waited for it go on, and others wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from corral.agents import holds
from corral.mcp import servers
from corral.mcp.servers import Server
from corral.platform import database, orgs
from corral.platform.database import Unit, sql
from corral.runs.hints import Hints, decide
from corral.secrets import vault

T = TypeVar("T")


async def put_secret(org_id: int, key: str, value: str, *, agent_id: str | None = None) -> None:
    """Store a secret, as the vault does."""
    await _decide(org_id, agent_id, vault.putting(org_id, key, value, agent_id=agent_id))


async def remove_secret(org_id: int, key: str, *, agent_id: str | None = None) -> None:
    """Delete a secret, as the vault does."""
    await _decide(org_id, agent_id, lambda: vault.removing(org_id, key, agent_id=agent_id))


async def add_server(org_id: int, server_id: str, fields: Mapping[str, Any]) -> Server:
    """Add an MCP server, as `servers.adding` does."""
    await _decide(org_id, None, lambda: servers.adding(org_id, server_id, fields))
    return await servers.get(org_id, server_id)


async def change_server(org_id: int, server_id: str, fields: Mapping[str, Any]) -> Server:
    """Change an MCP server, as `servers.changing` does."""
    await _decide(org_id, None, lambda: servers.changing(org_id, server_id, fields))
    return await servers.get(org_id, server_id)


async def remove_server(org_id: int, server_id: str) -> None:
    """Delete an MCP server, as `servers.removing` does."""
    await _decide(org_id, None, lambda: servers.removing(org_id, server_id))


async def _decide(org_id: int, agent_id: str | None, change: Callable[[], Unit[T]]) -> T:
    """Make a change that decides whether runs may begin, of one agent or of all."""

    def unit(hints: Hints) -> Unit[T]:
        yield from _lock(org_id, agent_id)
        changed = yield from change()
        yield from holds.refresh_org(org_id, agent_id, hints)
        hints.supplies(org_id)
        return changed

    return await decide(unit)


def _lock(org_id: int, agent_id: str | None) -> Unit[None]:
    """Keep agents' holds from being decided meanwhile: each is decided before, and seen here, or with what is new.

    Agents are locked in the order of their ids, as everywhere, and made under the org's lock, so that none is missed.
    """
    if agent_id is not None:
        yield from holds.lock(agent_id)
        return
    yield from orgs.lock(org_id)
    if database.dialect() == "postgres":  # on SQLite nobody else writes meanwhile
        yield sql("SELECT id FROM agents WHERE org_id = $1 ORDER BY id FOR UPDATE", org_id)
