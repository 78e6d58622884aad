"""MCP servers as they were configured: references to secrets, never what they stand for."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from corral.mcp.servers import Health, Server
from corral.mcp.uses import Use
from corral.runs.frames import moment


class ToolView(msgspec.Struct):
    """A tool of an MCP server."""

    name: str  #: the server's own name for it
    description: str


class HealthView(msgspec.Struct, kw_only=True):
    """How an MCP server was when it was last tested."""

    ok: bool
    error: str | None  #: why it could not be used
    tools: list[ToolView]
    machine: str  #: where: a runner's name, or `the platform`
    tested_at: str


class UseView(msgspec.Struct, kw_only=True):
    """How the runs on a machine found an MCP server when one last used it."""

    ok: bool
    error: str | None  #: why it could not be used, or what broke a call
    machine: str  #: a runner's name, or `the platform`
    run_id: str
    used_at: str


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
    status: str  #: the newest of tests and uses: ok, failing, or unknown
    health: HealthView | None  #: null: it was never tested
    uses: list[UseView]  #: by machine, newest first


def mcp_view(server: Server, uses: Sequence[Use] = ()) -> McpView:
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
        status=_status(server.health, uses),
        health=health_view(server.health) if server.health is not None else None,
        uses=[
            UseView(
                ok=use.error is None, error=use.error, machine=use.machine, run_id=use.run_id, used_at=moment(use.at)
            )
            for use in uses
        ],
    )


def health_view(health: Health) -> HealthView:
    """Show how a server was."""
    return HealthView(
        ok=health.ok,
        error=health.error,
        tools=[ToolView(tool.name, tool.description) for tool in health.tools],
        machine=health.machine,
        tested_at=moment(health.tested_at),
    )


def newest(health: Health | None, uses: Sequence[Use]) -> tuple[bool, str | None]:
    """Tell whether anything is known of a server, and why it fails by the newest of that, if it does."""
    known = [(use.at, use.error) for use in uses[:1]]
    if health is not None:
        known.append((health.tested_at, health.error))
    return bool(known), max(known, key=lambda one: one[0])[1] if known else None


def _status(health: Health | None, uses: Sequence[Use]) -> str:
    is_known, why = newest(health, uses)
    if not is_known:
        return "unknown"
    return "ok" if why is None else "failing"
