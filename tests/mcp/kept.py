"""MCP servers kept for nobody's runs: where there are agents, `agents.supplies` changes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corral.mcp import servers
from corral.mcp.servers import Server
from corral.platform.database import commit


async def add_server(org_id: int, server_id: str, fields: Mapping[str, Any]) -> Server:
    await commit(servers.adding(org_id, server_id, fields))
    return await servers.get(org_id, server_id)


async def change_server(org_id: int, server_id: str, fields: Mapping[str, Any]) -> Server:
    await commit(servers.changing(org_id, server_id, fields))
    return await servers.get(org_id, server_id)


async def remove_server(org_id: int, server_id: str) -> None:
    await commit(servers.removing(org_id, server_id))
