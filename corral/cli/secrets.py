"""`corral secrets`: list, set, delete, and change the master key. Values are read, never shown, never arguments."""

from __future__ import annotations

import getpass
import sys
from typing import Annotated, Any

import typer

from corral.cli import options
from corral.cli.client import Client
from corral.cli.complete import agents
from corral.cli.connect import connected
from corral.cli.errors import Misused
from corral.cli.naming import Names, agent_id
from corral.cli.terminal import ago, stderr, stdout

app = typer.Typer(help="Secrets: list, set and delete them, change the master key.", invoke_without_command=True)

_Name = Annotated[str, typer.Argument(metavar="NAME", help="Its name: capital letters, digits and underscores.")]
_Agent = Annotated[
    str | None,
    typer.Option(metavar="AGENT", help="Of this agent alone: its name or id.", autocompletion=agents),
]


@app.callback()
def secrets(context: typer.Context, as_json: options.Json = False, data: options.Data = None) -> None:
    """Without a subcommand, list the org's secrets."""
    if context.invoked_subcommand is None:
        list_(as_json=as_json, data=data)


@app.command("list")
def list_(agent: _Agent = None, as_json: options.Json = False, data: options.Data = None) -> None:
    """List the names of secrets, of the org and of all agents, or of one agent. Values are never shown."""
    out = stdout()
    with connected(data) as client:
        if agent is not None:
            found = client.get("/api/secrets", agent=agent_id(client, agent), limit=1000)
        else:
            found = [one for scope in ("org", "agent") for one in client.get("/api/secrets", scope=scope, limit=1000)]
        if as_json:
            out.json(found)
            return
        if not found:
            stderr().line("No secrets. Store one: corral secrets set NAME")
            return
        names = Names(client)
        out.table(
            ["NAME", "OF", "VERSION", "STORED", "USED", "BY"],
            [
                [
                    one["key"],
                    names.of(one["agentId"]) if one["agentId"] else "org",
                    str(one["version"]),
                    f"{ago(one['updatedAt'])} ago",
                    f"{ago(one['lastUsedAt'])} ago" if one["lastUsedAt"] else "never",
                    (one["lastUsedBy"] or "").replace(":", " ", 1),
                ]
                for one in found
            ],
        )


@app.command()
def uses(
    name: _Name,
    agent: _Agent = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 50,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """List when a secret was given out, newest first: to which run, or who had something tested with it."""
    out = stdout()
    with connected(data) as client:
        whose = agent_id(client, agent) if agent is not None else None
        found = client.get("/api/secrets/uses", key=name, agent=whose, limit=limit)
        if as_json:
            out.json(found)
        elif found:
            rows = [[f"{ago(one['usedAt'])} ago", one["usedBy"], str(one["version"])] for one in found]
            out.table(["USED", "BY", "VERSION"], rows)
        else:
            stderr().line("It was never used.")


@app.command("set")
def set_(name: _Name, agent: _Agent = None, as_json: options.Json = False, data: options.Data = None) -> None:
    """Store a secret, in the place of one by that name. The value is asked for, or read from standard input."""
    value = _value(name)
    with connected(data) as client:
        answer = client.post("/api/secrets", {"key": name, "value": value, **_whose(client, agent)})
    if as_json:
        stdout().json(answer)
    else:
        stdout().line("Stored.", "green")
        if "warning" in answer:
            stderr().line(f"{answer['warning']}.", "yellow")


@app.command()
def delete(name: _Name, agent: _Agent = None, as_json: options.Json = False, data: options.Data = None) -> None:
    """Delete a secret. Runs that need it wait until it is stored again."""
    from urllib.parse import urlencode

    with connected(data) as client:
        answer = client.delete(f"/api/secrets?{urlencode({'key': name, **_whose(client, agent)})}")
    if as_json:
        stdout().json(answer)
    else:
        stdout().line("Deleted.", "green")


@app.command()
def rotate(as_json: options.Json = False, data: options.Data = None) -> None:
    """Change the master key while everything goes on: all secrets are encrypted anew. Stopped, it may be begun again.

    A key in CORRAL_SECRET_KEY is changed there first: `new,old` on every server. One in the data directory is made.
    """
    orgs = 0
    with connected(data) as client:
        answer = client.post("/api/secrets/rotate", {"renew": True})
        orgs += answer["orgs"]
        while answer["left"]:
            answer = client.post("/api/secrets/rotate", {"renew": False})
            orgs += answer["orgs"]
    if as_json:
        stdout().json({**answer, "orgs": orgs})
    elif orgs:
        stdout().line(f"Encrypted anew under the master key {answer['key']}: the secrets of {orgs} org(s).", "green")
    else:
        stdout().line(f"All secrets are encrypted under the master key {answer['key']} already.")


def _value(name: str) -> str:
    if sys.stdin.isatty():
        value = getpass.getpass(f"{name}: ")
    else:
        try:
            value = sys.stdin.buffer.read().decode()
        except UnicodeDecodeError:
            raise Misused("The value is not UTF-8", field="value") from None
        value = value[:-1] if value.endswith("\n") and value.count("\n") == 1 else value  # of `echo`, no more than that
    if not value:
        raise Misused("The value is empty", field="value")
    return value


def _whose(client: Client, agent: str | None) -> dict[str, Any]:
    return {"scope": "agent", "agentId": agent_id(client, agent)} if agent is not None else {"scope": "org"}
