"""`corral orgs`: the orgs of this installation that the caller is in, and new ones."""

from __future__ import annotations

from typing import Annotated

import typer

from corral.cli import options
from corral.cli.client import segment
from corral.cli.connect import connected
from corral.cli.terminal import stderr, stdout

app = typer.Typer(help="List orgs, make and rename them.", invoke_without_command=True)

_Name = Annotated[str, typer.Argument(metavar="NAME", help="What the org is called.", show_default=False)]


@app.callback()
def orgs(context: typer.Context, as_json: options.Json = False, data: options.Data = None) -> None:
    """Without a subcommand, list the orgs there are for this key: its own."""
    if context.invoked_subcommand is not None:
        return
    with connected(data) as client:
        found = client.get("/api/orgs")
    if as_json:
        stdout().json(found)
        return
    stdout().table(["ORG", "NAME", "ROLE"], [[str(one["id"]), one["name"], one["role"]] for one in found])


@app.command()
def create(
    name: _Name,
    key: Annotated[bool, typer.Option("--key", help="Make and print a full key of it, too.")] = False,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Make an org that you own. Owners of the first org may; in the console, switch to it."""
    with connected(data) as client:
        made = client.post("/api/orgs", {"name": name, "with_key": key})
    if as_json:
        stdout().json(made)
        return
    if made["key"]:
        stdout().line(made["key"])
        stderr().line("Keep it somewhere safe: it is not shown again.", "dim")
    stderr().line(f"Made {made['name']}, org {made['id']}.", "green")


@app.command()
def rename(name: _Name, as_json: options.Json = False, data: options.Data = None) -> None:
    """Change what this key's org is called."""
    with connected(data) as client:
        (own,) = [one["id"] for one in client.get("/api/orgs") if one["current"]]
        renamed = client.patch(f"/api/orgs/{segment(str(own))}", {"name": name})
    if as_json:
        stdout().json(renamed)
    else:
        stdout().line(f"It is called {renamed['name']} now.", "green")
