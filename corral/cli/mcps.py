"""`corral mcps`: the MCP servers of agents, and whether they work from where they would be used."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from corral.cli import options
from corral.cli.client import segment
from corral.cli.complete import agents
from corral.cli.connect import connected
from corral.cli.errors import FAILED
from corral.cli.naming import Names, agent_id, mcp_id, runner_id
from corral.cli.terminal import ago, stderr, stdout

app = typer.Typer(help="MCP servers: list and test them.", invoke_without_command=True)


@app.callback()
def mcps(context: typer.Context, as_json: options.Json = False, data: options.Data = None) -> None:
    """Without a subcommand, list the MCP servers."""
    if context.invoked_subcommand is None:
        list_(as_json=as_json, data=data)


@app.command("list")
def list_(as_json: options.Json = False, data: options.Data = None) -> None:
    """List MCP servers: for whom they are, and how they were when they were last tested."""
    out = stdout()
    with connected(data) as client:
        found = client.get("/api/mcps", limit=1000)
        if as_json:
            out.json(found)
        elif found:
            names = Names(client)
            out.table(["NAME", "HEALTH", "TOOLS", "TESTED", "FOR", "WHERE"], [_row(one, names) for one in found])
        else:
            stderr().line("No MCP servers. Add one in the console, or with POST /api/mcps.")


@app.command("test")
def try_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The server's name, or its id.")],
    agent: Annotated[
        str | None, typer.Option(metavar="AGENT", help="As this agent would use it.", autocompletion=agents)
    ] = None,
    runner: Annotated[str | None, typer.Option(metavar="RUNNER", help="On this runner's machine.")] = None,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Start or reach a server from where it would be used, and list its tools. Exits 1 if it does not work."""
    with connected(data) as client:
        body: dict[str, Any] = {}
        if agent is not None:
            body["agent"] = agent_id(client, agent)
        if runner is not None:
            body["runner"] = runner_id(client, runner)
        health = client.post(f"/api/mcps/{segment(mcp_id(client, name))}/test", body)
    out = stdout()
    if as_json:
        out.json(health)
    elif health["ok"]:
        out.line(f"It works from {health['machine']}.", "green")
        out.table(["TOOL", ""], [[tool["name"], tool["description"].partition("\n")[0]] for tool in health["tools"]])
    else:
        stderr().line(f"It fails from {health['machine']}: {health['error']}", "red")
    if not health["ok"]:
        raise typer.Exit(FAILED)


def _row(server: dict[str, Any], names: Names) -> list[str]:
    health = server["health"]
    whom = {"agents": [names.of(one) for one in server["agents"]], "teams": server["teams"]}
    return [
        server["name"],
        "not tested" if health is None else "works" if health["ok"] else "fails",
        str(len(health["tools"])) if health and health["ok"] else "–",
        f"{ago(health['tested_at'])} ago" if health else "never",
        ", ".join(whom.get(server["enabled_for"], ["all agents"])),
        server["url"] or " ".join([server["command"], *server["args"]]),
    ]
