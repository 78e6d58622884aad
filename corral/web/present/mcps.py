"""MCP servers as they were configured: references to secrets, never what they stand for."""

from __future__ import annotations

import msgspec

from corral.mcp.servers import Server


class McpView(msgspec.Struct, kw_only=True):
    """An MCP server. What was given as `${NAME}` is shown so; what was given as it is, is shown as it is."""

    id: str
    name: str
    transport: str  #: stdio or http
    command: str | None
    args: list[str]
    url: str | None
    env: dict[str, str]
    headers: dict[str, str]
    enabled_for: str  #: all, agents or teams
    agents: list[str]
    teams: list[str]
    allow: list[str]
    ask: list[str]
    deny: list[str]


def mcp_view(server: Server) -> McpView:
    """Show a server."""
    return McpView(
        id=server.id,
        name=server.name,
        transport=server.transport,
        command=server.command,
        args=server.args,
        url=server.url,
        env=server.env,
        headers=server.headers,
        enabled_for=server.enabled_for,
        agents=server.agents,
        teams=server.teams,
        allow=server.allow,
        ask=server.ask,
        deny=server.deny,
    )
