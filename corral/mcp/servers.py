"""The MCP servers of an org: added, listed, changed and removed. Each is for all agents, some, or some teams."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import msgspec

from corral.base.errors import BadRequest, Conflict, NotFound
from corral.base.ids import is_id
from corral.mcp import uses
from corral.platform import audit
from corral.platform.database import Duplicate, Row, Unit, alone, commit, fetch, sql
from corral.wire.runner import McpTested, McpTool
from corral.wire.tools import SERVER

STDIO, HTTP = "stdio", "http"
ALL, AGENTS, TEAMS = "all", "agents", "teams"
NAME = "^[a-zA-Z0-9_-]{1,64}$"
_VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_HEADER = re.compile("[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class Health(msgspec.Struct, frozen=True):
    """How a server was when it was last tested."""

    ok: bool
    tested_at: int
    machine: str  #: where: a runner's name, or `the platform`
    tools: list[McpTool] = []
    error: str | None = None


class Server(msgspec.Struct, frozen=True):
    """An MCP server as it was configured, with references to secrets as `${NAME}` in `env` and `headers`."""

    no: int
    id: str
    name: str
    transport: str  #: stdio | http
    command: str | None
    args: list[str]
    url: str | None
    env: dict[str, str]
    headers: dict[str, str]
    enabled_for: str = ALL  #: all | agents | teams
    agents: list[str] = []  #: ids, if it is for some
    teams: list[str] = []  #: names, if it is for teams
    allow: list[str] = []  #: its tools, or patterns with `*`, that need no asking
    ask: list[str] = []  #: that people are asked about
    deny: list[str] = []  #: that nobody may call
    health: Health | None = None

    def is_for(self, agent_id: str | None, team: str | None) -> bool:
        """Tell whether an agent of this team is given it."""
        if self.enabled_for == AGENTS:
            return agent_id in self.agents
        return self.enabled_for == ALL or team in self.teams


_COLUMNS = ", ".join(Server.__struct_fields__)
_LISTS = ("agents", "teams", "allow", "ask", "deny")
#: What the audit log tells of a new server, and what of a change it only names: these may hold keys.
_TOLD = ("name", "transport", "enabled_for")
_UNTOLD = ("args", "url", "env", "headers")
_JSON = ("args", "env", "headers", *_LISTS)
#: What a field has that was not given.
EMPTY: dict[str, Any] = {
    "command": None,
    "args": [],
    "url": None,
    "env": {},
    "headers": {},
    "enabled_for": ALL,
    **{name: list[str]() for name in _LISTS},
}


async def page(org_id: int, *, limit: int = 1000, before: str | None = None) -> list[Server]:
    """Return the org's servers, newest first; `before` is a server's id, exclusive."""
    last = (await get(org_id, before, field="before")).no if before is not None else 1 << 62
    rows = await fetch(
        f"SELECT {_COLUMNS} FROM mcp_servers WHERE org_id = $1 AND no < $2 ORDER BY no DESC LIMIT $3",  # noqa: S608
        org_id,
        last,
        limit,
    )
    return [_server(row) for row in rows]


async def for_agent(org_id: int, agent_id: str | None, team: str | None = None) -> list[Server]:
    """Return the servers that a run of this agent is given, in the order they were added."""
    return await commit(given(org_id, agent_id, team))


def given(org_id: int, agent_id: str | None, team: str | None) -> Unit[list[Server]]:
    """Do so within a unit."""
    rows = yield alone(f"SELECT {_COLUMNS} FROM mcp_servers WHERE org_id = $1 ORDER BY no", org_id)  # noqa: S608
    return [server for server in map(_server, rows) if server.is_for(agent_id, team)]


async def get(org_id: int, server_id: str, *, field: str | None = None) -> Server:
    """Return one server; NotFound, or BadRequest about `field` where its id was part of a query."""
    query = f"SELECT {_COLUMNS} FROM mcp_servers WHERE org_id = $1 AND id = $2"  # noqa: S608
    rows = await fetch(query, org_id, server_id) if is_id(server_id) else ()
    if rows:
        return _server(rows[0])
    if field is not None:
        raise BadRequest(f"{field}: there is no MCP server {server_id} here", field=field)
    raise NotFound(f"There is no MCP server {server_id} here")


def adding(org_id: int, server_id: str, fields: Mapping[str, Any]) -> Unit[None]:
    """Add a server; the same id twice is the same server. Conflict if its name is taken."""
    full = {**EMPTY, **fields}
    _check(full)
    columns = {"id": server_id, "org_id": org_id, **_stored(full)}
    marks = ", ".join(f"${n}" for n in range(1, len(columns) + 1))
    with _taken(full["name"]):
        made = yield sql(
            f"INSERT INTO mcp_servers ({', '.join(columns)}, created_at, updated_at) "  # noqa: S608 - our columns
            f"VALUES ({marks}, now_ms(), now_ms()) ON CONFLICT (id) DO NOTHING RETURNING no",
            *columns.values(),
        )
    if made:
        yield from audit.note(org_id, "mcp.created", "mcp", server_id, **{name: full[name] for name in _TOLD})


def changing(org_id: int, server_id: str, fields: Mapping[str, Any]) -> Unit[None]:
    """Change some fields; what comes of it must be valid as a whole."""
    rows = yield sql(
        f"UPDATE mcp_servers SET updated_at = now_ms() WHERE org_id = $1 AND id = $2 RETURNING {_COLUMNS}",  # noqa: S608
        org_id,
        server_id,
    )
    if not rows:
        raise NotFound(f"There is no MCP server {server_id} here")
    before = msgspec.structs.asdict(_server(rows[0]))
    _check({**before, **fields})
    if stored := _stored(fields):
        sets = ", ".join(f"{column} = ${n}" for n, column in enumerate(stored, 2))
        with _taken(fields.get("name", "")):
            yield sql(f"UPDATE mcp_servers SET {sets} WHERE id = $1", server_id, *stored.values())  # noqa: S608
    if changed := audit.changes(before, fields, untold=_UNTOLD):
        yield from audit.note(org_id, "mcp.changed", "mcp", server_id, name=before["name"], **changed)


def removing(org_id: int, server_id: str) -> Unit[None]:
    """Delete a server; runs that go on keep what they were given."""
    rows = yield sql("DELETE FROM mcp_servers WHERE org_id = $1 AND id = $2 RETURNING no, name", org_id, server_id)
    if not rows:
        raise NotFound(f"There is no MCP server {server_id} here")
    yield from audit.note(org_id, "mcp.deleted", "mcp", server_id, name=rows[0]["name"])
    yield from uses.forgetting(rows[0]["no"])


@contextmanager
def _taken(name: str) -> Iterator[None]:
    try:
        yield
    except Duplicate as error:
        raise Conflict(f"There is an MCP server named {name} already", field="name") from error


def _check(fields: Mapping[str, Any]) -> None:
    """Refuse what no engine could start or reach."""
    if not re.fullmatch(NAME.strip("^$"), fields["name"]):
        raise BadRequest("name must be 1 to 64 letters, digits, - and _", field="name")
    if fields["name"] == SERVER:
        raise BadRequest(f"name must not be {SERVER}: that is the server of Corral's own tools", field="name")
    if fields["transport"] == STDIO and not (fields["command"] or "").strip():
        raise BadRequest("command is missing: transport stdio starts it", field="command")
    if fields["transport"] == HTTP:
        _check_url(fields["url"])
    for whom in (AGENTS, TEAMS):
        if fields["enabled_for"] == whom and not fields[whom]:
            raise BadRequest(f"{whom} is missing: the server is enabled for those it names", field=whom)
    for name in fields["env"]:
        if not _VARIABLE.fullmatch(name):
            raise BadRequest(f"env.{name} is not the name of a variable: letters, digits and _", field=f"env.{name}")
    for name, value in fields["headers"].items():
        if not _HEADER.fullmatch(name):
            raise BadRequest(f"headers.{name} is not the name of a header", field=f"headers.{name}")
        if not value.isprintable():
            raise BadRequest(f"headers.{name} must be one line of printable characters", field=f"headers.{name}")


def _check_url(url: str | None) -> None:
    if not url:
        raise BadRequest("url is missing: transport http calls it", field="url")
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid or not url.isprintable() or " " in url:
        raise BadRequest("url must be like https://host/path", field="url")


def _stored(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: msgspec.json.encode(value).decode() if name in _JSON else value for name, value in fields.items()}


def _server(row: Row) -> Server:
    values = {name: row[name] for name in Server.__struct_fields__}
    values |= {name: msgspec.json.decode(values[name]) for name in _JSON}
    values["health"] = msgspec.json.decode(values["health"], type=Health) if values["health"] else None
    return Server(**values)


async def tested(org_id: int, server_id: str, tested: McpTested, machine: str) -> Health:
    """Keep how a server was found, and return that."""
    rows = await fetch("SELECT now_ms() AS now")
    health = Health(tested.error is None, rows[0]["now"], machine, tested.tools, tested.error)
    await commit(_tested(org_id, server_id, health))
    return health


def _tested(org_id: int, server_id: str, health: Health) -> Unit[None]:
    query = "UPDATE mcp_servers SET health = $3 WHERE org_id = $1 AND id = $2 RETURNING name"
    rows = yield sql(query, org_id, server_id, msgspec.json.encode(health).decode())
    if not rows:
        raise NotFound(f"There is no MCP server {server_id} here")
    told = {"name": rows[0]["name"], "ok": health.ok, "machine": health.machine}
    yield from audit.note(org_id, "mcp.tested", "mcp", server_id, **told)
