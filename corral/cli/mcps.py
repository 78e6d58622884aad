"""`corral mcps`: the MCP servers that agents use: whom each is for, what of it may be called, and how it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from corral.cli import complete, options
from corral.cli.client import Client, segment
from corral.cli.connect import connected
from corral.cli.errors import CommandError, Misused
from corral.cli.naming import Names, agent_id, mcp_id, runner_id
from corral.cli.terminal import Terminal, ago, stderr, stdout
from corral.wire.agents import McpServer

app = typer.Typer(help="MCP servers: the tools that agents have beside Corral's own.", invoke_without_command=True)

_Server = Annotated[
    str, typer.Argument(metavar="SERVER", help="The server's name, or enough of its id.", autocompletion=complete.mcps)
]
_Agents = Annotated[
    list[str] | None,
    typer.Option(
        "--agent", metavar="AGENT", help="For this agent alone; may be repeated.", autocompletion=complete.agents
    ),
]
_Teams = Annotated[
    list[str] | None, typer.Option("--team", metavar="TEAM", help="For this team alone; may be repeated.")
]
_Allow = Annotated[
    list[str] | None, typer.Option(metavar="TOOL", help="Call without asking: a tool, or a pattern with *.")
]
_Ask = Annotated[list[str] | None, typer.Option(metavar="TOOL", help="Ask a person first, in every permission mode.")]
_Deny = Annotated[list[str] | None, typer.Option(metavar="TOOL", help="Never call, nor show to agents.")]

_LISTS = ("allow", "ask", "deny")


@app.callback()
@app.command("list")
def servers(context: typer.Context, as_json: options.Json = False, data: options.Data = None) -> None:
    """List MCP servers: whom each is for, and how it was when it was last used or tested."""
    if context.invoked_subcommand is not None:
        return
    out = stdout()
    with connected(data) as client:
        there = client.get("/api/mcps", limit=1000)
        if as_json:
            out.json(there)
            return
        if not there:
            stderr().line(
                "No MCP servers. Add one: corral mcps add NAME -- COMMAND …, or corral mcps add NAME --url URL"
            )
            return
        names = Names(client)
    out.table(
        ["NAME", "STATUS", "SEEN", "ON", "FOR", "TOOLS", "REACHED BY"],
        [
            [
                one["name"],
                one["status"],
                *_newest(one)[:2],
                _for(one, names),
                str(len(one["health"]["tools"])) if one["health"] and one["health"]["ok"] else "–",
                one["url"] or " ".join([one["command"] or "", *one["args"]]),
            ]
            for one in there
        ],
    )


@app.command()
def show(server: _Server, as_json: options.Json = False, data: options.Data = None) -> None:
    """Show one in full: how each machine found it, and what of it may be called."""
    out = stdout()
    with connected(data) as client:
        found = _found(client, server)
        if as_json:
            out.json(found)
            return
        names = Names(client)
    out.facts(
        {
            "name": found["name"],
            "id": found["id"],
            "status": found["status"],
            "for": _for(found, names),
            "url": found["url"],
            "command": " ".join([found["command"] or "", *found["args"]]).strip(),
            **{f"env {name}": value for name, value in found["env"].items()},
            **{f"header {name}": value for name, value in found["headers"].items()},
        }
    )
    for when, machine, why, kind in sorted(_known(found), reverse=True):
        out.line(f"{kind} on {machine} {ago(when)} ago: {out.paint(why or 'ok', 'red' if why else 'green')}")
    _show_tools(out, found)


@app.command()
def add(  # noqa: PLR0917 - a command line
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name; tools are called NAME__tool.")],
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- COMMAND ARG…]", help="What to start, after --.", show_default=False),
    ] = None,
    url: Annotated[str | None, typer.Option(help="What to call over HTTP, in the place of a command.")] = None,
    env: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="For the command; '${SECRET}' is replaced for a run.")
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Of requests to the URL; '${SECRET}' likewise.")
    ] = None,
    agent: _Agents = None,
    team: _Teams = None,
    allow: _Allow = None,
    ask: _Ask = None,
    deny: _Deny = None,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Add a server, for all agents unless some or some teams are named.

    corral mcps add files -- npx -y @modelcontextprotocol/server-filesystem /srv

    corral mcps add issues --url https://mcp.example/mcp --header 'Authorization=Bearer ${ISSUES_TOKEN}' --team red
    """
    if bool(command) == bool(url):
        raise Misused("Say either what to start, after --, or --url", field="url")
    body: dict[str, Any] = {
        "name": name,
        "allow": allow or [],
        "ask": ask or [],
        "deny": deny or [],
    }
    if command:
        body |= {"transport": "stdio", "command": command[0], "args": command[1:], "env": dict(_pairs(env, "env"))}
    else:
        body |= {"transport": "http", "url": url, "headers": dict(_pairs(header, "header"))}
    with connected(data) as client:
        body |= _whom(client, agent, team)
        made = client.post("/api/mcps", body)
    if as_json:
        stdout().json(made)
    else:
        stdout().line(f"Added {name}. See whether it works: corral mcps test {name}", "green")


@app.command()
def enable(  # noqa: PLR0917 - a command line
    server: _Server,
    everybody: Annotated[bool, typer.Option("--all", help="For all agents.")] = False,
    agent: _Agents = None,
    team: _Teams = None,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Say whom it is for: all agents, some, or some teams. Runs that go on keep what they were given."""
    if sum([everybody, bool(agent), bool(team)]) != 1:
        raise Misused("Say one of --all, --agent and --team", field="all")
    with connected(data) as client:
        found = _found(client, server)
        changed = client.patch(
            f"/api/mcps/{segment(found['id'])}", {"enabled_for": "all", **_whom(client, agent, team)}
        )
        names = Names(client)
    if as_json:
        stdout().json(changed)
    else:
        stdout().line(f"{changed['name']} is for {_for(changed, names)}.", "green")


@app.command("test")
def try_(
    server: _Server,
    agent: Annotated[
        str | None,
        typer.Option(
            metavar="AGENT",
            help="As this agent would have it: with its secrets, where it works.",
            autocompletion=complete.agents,
        ),
    ] = None,
    runner: Annotated[str | None, typer.Option(metavar="RUNNER", help="From this runner's machine.")] = None,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Start or reach it where it would be used, and list its tools. Exits 1 if it cannot be used."""
    out = stdout()
    with connected(data) as client:
        found = _found(client, server)
        body = {
            **({"agent": agent_id(client, agent)} if agent is not None else {}),
            **({"runner": runner_id(client, runner)} if runner is not None else {}),
        }
        health = client.post(f"/api/mcps/{segment(found['id'])}/test", body)
    if as_json:
        out.json(health)
        if not health["ok"]:
            raise typer.Exit(1)
        return
    if not health["ok"]:
        raise CommandError(f"{found['name']} cannot be used on {health['machine']}: {health['error']}")
    out.line(f"{found['name']} works on {health['machine']}.", "green")
    _show_tools(out, {**found, "health": health})


@app.command()
def tools(  # noqa: PLR0917 - a command line
    server: _Server,
    allow: _Allow = None,
    ask: _Ask = None,
    deny: _Deny = None,
    leave: Annotated[
        list[str] | None, typer.Option(metavar="TOOL", help="Take it out of all lists: the permission mode decides.")
    ] = None,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Show what is decided about its tools, or decide it: each may be said of several tools, or patterns with *.

    Deny wins over ask, and that over allow. They hold in every permission mode.
    """
    moved = {"allow": allow or [], "ask": ask or [], "deny": deny or [], "leave": leave or []}
    with connected(data) as client:
        found = _found(client, server)
        if named := {tool for tools in moved.values() for tool in tools}:
            lists = {
                name: [*(tool for tool in found[name] if tool not in named), *dict.fromkeys(moved[name])]
                for name in _LISTS
            }
            found = client.patch(f"/api/mcps/{segment(found['id'])}", lists)
    if as_json:
        stdout().json({name: found[name] for name in _LISTS} | {"tools": _ruled(found)})
    else:
        _show_tools(stdout(), found)


@app.command()
def remove(server: _Server, as_json: options.Json = False, data: options.Data = None) -> None:
    """Delete it. Runs that go on keep what they were given."""
    with connected(data) as client:
        found = _found(client, server)
        answer = client.delete(f"/api/mcps/{segment(found['id'])}")
    if as_json:
        stdout().json(answer)
    else:
        stdout().line(f"Removed {found['name']}.", "green")


def _found(client: Client, typed: str) -> dict[str, Any]:
    there: list[dict[str, Any]] = client.get("/api/mcps", limit=1000)
    wanted = mcp_id(there, typed)
    return next(one for one in there if one["id"] == wanted)


def _pairs(texts: Sequence[str] | None, field: str) -> Iterator[tuple[str, str]]:
    for text in texts or ():
        name, mark, value = text.partition("=")
        if not mark or not name:
            raise Misused(f"--{field} is NAME=VALUE, not {text!r}", field=field)
        yield name, value


def _whom(client: Client, agents: Sequence[str] | None, teams: Sequence[str] | None) -> dict[str, Any]:
    if agents and teams:
        raise Misused("A server is for agents or for teams, not for both", field="team")
    if agents:
        return {"enabled_for": "agents", "agents": [agent_id(client, one) for one in agents]}
    return {"enabled_for": "teams", "teams": list(teams)} if teams else {}


def _for(server: dict[str, Any], names: Names) -> str:
    if server["enabled_for"] == "all":
        return "all"
    if server["enabled_for"] == "teams":
        return "team " + ", ".join(server["teams"])
    return ", ".join(names.of(agent) for agent in server["agents"])


def _known(server: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Yield when and where it was used or tested, why it could not be, and which of the two it was."""
    for use in server["uses"]:
        yield use["used_at"], use["machine"], use["error"] or "", "used"
    if (health := server["health"]) is not None:
        yield health["tested_at"], health["machine"], health["error"] or "", "tested"


def _newest(server: dict[str, Any]) -> tuple[str, str, str]:
    when, machine, why, _ = max(_known(server), default=("", "–", "", ""))
    return f"{ago(when)} ago" if when else "never", machine, why


def _ruled(server: dict[str, Any]) -> list[dict[str, Any]]:
    """Return its tools as they were last listed, and what is decided about each."""
    rules = McpServer("", "", allow=server["allow"], ask=server["ask"], deny=server["deny"])
    listed = server["health"]["tools"] if server["health"] else []
    return [{**tool, "ruling": rules.ruling(tool["name"])} for tool in listed]


def _show_tools(out: Terminal, server: dict[str, Any]) -> None:
    ruled = _ruled(server)
    if ruled:
        rows = [[tool["name"], tool["ruling"] or "by mode", tool["description"]] for tool in ruled]
        out.table(["TOOL", "CALL", "WHAT IT DOES"], rows)
    patterns = {name: ", ".join(server[name]) for name in _LISTS}
    out.facts(patterns)
    if not ruled:
        stderr().line(f"Its tools are known after a test: corral mcps test {server['name']}")
