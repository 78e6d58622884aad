"""MCP servers: the tools that agents have beside Corral's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

from corral.agents import probing, roster, supplies
from corral.mcp import servers, uses
from corral.mcp.servers import Server
from corral.platform import database
from corral.platform.access import Role
from corral.web.api.paging import Id, Page, cut
from corral.web.api.runs import Done
from corral.web.call import Call
from corral.web.present.mcps import HealthView, McpView, health_view, mcp_view
from corral.web.routes import Routes

route = Routes("MCP servers")

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=servers.NAME)]
Transport = Literal["stdio", "http"]
Command = Annotated[str, msgspec.Meta(max_length=4096)]
Url = Annotated[str, msgspec.Meta(max_length=2000)]
Args = Annotated[list[Annotated[str, msgspec.Meta(max_length=8192)]], msgspec.Meta(max_length=200)]
#: Values may hold `${NAME}`, which runs get replaced by the secret of that name.
Texts = Annotated[dict[str, Annotated[str, msgspec.Meta(max_length=65_536)]], msgspec.Meta(max_length=200)]
EnabledFor = Literal["all", "agents", "teams"]
Ids = Annotated[list[Id], msgspec.Meta(max_length=1000)]
Names = Annotated[list[Annotated[str, msgspec.Meta(min_length=1, max_length=200)]], msgspec.Meta(max_length=200)]


class CreateMcp(msgspec.Struct, forbid_unknown_fields=True):
    """An MCP server to add."""

    name: Name  #: unique in the org
    transport: Transport
    command: Command | None = None  #: what stdio starts
    args: Args | None = None
    url: Url | None = None  #: what http calls
    env: Texts | None = None  #: of the command; may refer to secrets as ${NAME}
    headers: Texts | None = None  #: of requests to the url; likewise
    enabled_for: EnabledFor | None = None  #: all, unless said otherwise
    agents: Ids | None = None  #: whom it is for, if enabled_for is agents
    teams: Names | None = None  #: if it is teams
    allow: Names | None = None  #: tools by the server's own names, or patterns with *, that need no asking
    ask: Names | None = None  #: that people are asked about, in every permission mode
    deny: Names | None = None  #: that nobody may call; wins over ask, and that over allow


class ChangeMcp(msgspec.Struct, forbid_unknown_fields=True):
    """What to change about an MCP server; what is left out stays."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    transport: Transport | msgspec.UnsetType = msgspec.UNSET
    command: Command | msgspec.UnsetType | None = msgspec.UNSET
    args: Args | msgspec.UnsetType | None = msgspec.UNSET
    url: Url | msgspec.UnsetType | None = msgspec.UNSET
    env: Texts | msgspec.UnsetType | None = msgspec.UNSET
    headers: Texts | msgspec.UnsetType | None = msgspec.UNSET
    enabled_for: EnabledFor | msgspec.UnsetType | None = msgspec.UNSET
    agents: Ids | msgspec.UnsetType | None = msgspec.UNSET
    teams: Names | msgspec.UnsetType | None = msgspec.UNSET
    allow: Names | msgspec.UnsetType | None = msgspec.UNSET
    ask: Names | msgspec.UnsetType | None = msgspec.UNSET
    deny: Names | msgspec.UnsetType | None = msgspec.UNSET


class TestMcp(msgspec.Struct, forbid_unknown_fields=True):
    """For whom, and where, a server is tried."""

    agent: Id | None = None  #: an agent's id: with its secrets, where its runs are executed
    runner: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] | int | None = None  #: on this one's machine


@route.get("/api/mcps", scope="mcps:read")
async def list_mcps(call: Call, query: Page) -> list[McpView]:
    """List MCP servers, newest first."""
    found = await servers.page(call.org_id, limit=query.size + 1, before=query.before)
    return await _views(call, cut(call, found, query, [server.id for server in found]))


@route.post("/api/mcps", feature="mcp", scope="mcps:write", role=Role.ADMIN, status=201)
async def add_mcp(call: Call, body: CreateMcp) -> McpView:
    """Add an MCP server, for all agents, some, or some teams."""
    await _known(call, body)
    return (await _views(call, [await supplies.add_server(call.org_id, call.new_id(), _given(body))]))[0]


@route.patch("/api/mcps/<id>", feature="mcp", scope="mcps:write", role=Role.ADMIN, also=(409,))
async def change_mcp(call: Call, id: str, body: ChangeMcp) -> McpView:
    """Change an MCP server: runs that begin later get it so."""
    await _known(call, body)
    return (await _views(call, [await supplies.change_server(call.org_id, id, _given(body))]))[0]


@route.delete("/api/mcps/<id>", scope="mcps:write", role=Role.ADMIN)
async def remove_mcp(call: Call, id: str) -> Done:
    """Delete an MCP server."""
    await supplies.remove_server(call.org_id, id)
    return Done()


async def _known(call: Call, body: CreateMcp | ChangeMcp) -> None:
    for agent in body.agents or ():
        await roster.get(call.org_id, agent, field="agents")


@route.post("/api/mcps/<id>/test", feature="mcp", scope="mcps:write", role=Role.ADMIN)
async def test_mcp(call: Call, id: str, body: TestMcp) -> HealthView:
    """Start or reach an MCP server where it would be used, list its tools, and end it."""
    return health_view(await probing.test(call.org_id, id, call.actor, agent_id=body.agent, runner=body.runner))


async def _views(call: Call, found: Sequence[Server]) -> list[McpView]:
    known = await database.commit(uses.of(call.org_id, [server.no for server in found]))
    return [mcp_view(server, known[server.no]) for server in found]


def _given(body: CreateMcp | ChangeMcp) -> dict[str, Any]:
    """Return the fields that were sent; null empties one."""
    given = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not msgspec.UNSET}
    return {name: servers.EMPTY[name] if value is None else value for name, value in given.items()}
