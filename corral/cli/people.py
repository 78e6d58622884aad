"""`corral people` and `corral invitations`: who is in the org, what they are in it, and how others come in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from corral.cli import options
from corral.cli.client import Client, segment
from corral.cli.connect import connected
from corral.cli.naming import only, person_id, short
from corral.cli.terminal import Terminal, ago, stderr, stdout
from corral.platform.access import Role

app = typer.Typer(help="Show who is in the org, invite, change roles and remove.", invoke_without_command=True)
invitations = typer.Typer(help="List invitations and revoke them.", invoke_without_command=True)

_Who = Annotated[str, typer.Argument(metavar="WHO", help="An email, a name, or enough of an id.", show_default=False)]


@app.callback()
def people(context: typer.Context, as_json: options.Json = False, data: options.Data = None) -> None:
    """Without a subcommand, list who is in the org."""
    if context.invoked_subcommand is None:
        list_(as_json=as_json, data=data)


@app.command("list")
def list_(limit: options.Limit = 1000, as_json: options.Json = False, data: options.Data = None) -> None:
    """List who is in the org, the newest accounts first."""
    out = stdout()
    with connected(data) as client:
        found = client.get("/api/people", limit=limit)
    if as_json:
        out.json(found)
        return
    out.table(
        ["PERSON", "NAME", "EMAIL", "ROLE", "LAST HERE"],
        [
            [short(one["id"], out), one["name"], one["email"] or "–", one["role"], _used(one["last_used_at"])]
            for one in found
        ],
    )


@app.command()
def invite(
    email: Annotated[
        str | None, typer.Argument(metavar="EMAIL", help="Whom it is for. Without one: whoever has the link.")
    ] = None,
    role: Annotated[Role, typer.Option(help="What they will be.")] = Role.MEMBER,
    days: Annotated[float, typer.Option(help="Until it expires.")] = 7.0,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Make a link by which one person comes into the org, once."""
    with connected(data) as client:
        made = client.post("/api/invitations", {"email": email, "role": role, "days": days})
    if as_json:
        stdout().json(made)
        return
    stdout().line(made["url"])
    stderr().line("It works once, and is not shown again.", "dim")


@app.command()
def role(
    who: _Who,
    role: Annotated[Role, typer.Argument(metavar="ROLE", help="What they are from now on.", show_default=False)],
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Give somebody another role. It holds within a second, for their keys as well."""
    with connected(data) as client:
        changed = client.patch(f"/api/people/{segment(person_id(client, who))}", {"role": role})
    if as_json:
        stdout().json(changed)
    else:
        stdout().line(f"{changed['name']} is {changed['role']} now.", "green")


@app.command()
def remove(who: _Who, as_json: options.Json = False, data: options.Data = None) -> None:
    """Take somebody out of the org. Their keys and sign-ins in it end within a second."""
    with connected(data) as client:
        answer = client.delete(f"/api/people/{segment(person_id(client, who))}")
    if as_json:
        stdout().json(answer)
    else:
        stdout().line("Removed.", "green")


@invitations.callback()
def list_invitations(context: typer.Context, as_json: options.Json = False, data: options.Data = None) -> None:
    """Without a subcommand, list invitations, newest first."""
    if context.invoked_subcommand is not None:
        return
    out = stdout()
    with connected(data) as client:
        found = client.get("/api/invitations")
    if as_json:
        out.json(found)
        return
    out.table(["INVITATION", "FOR", "ROLE", "STATE", "MADE"], [_invitation(one, out) for one in found])


@invitations.command()
def revoke(
    id: Annotated[str, typer.Argument(metavar="ID", help="The invitation's id, or enough of its beginning or end.")],
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """End an invitation at once."""
    with connected(data) as client:
        revoked = client.delete(f"/api/invitations/{segment(_invitation_id(client, id))}")
    if as_json:
        stdout().json(revoked)
    else:
        stdout().line("Revoked.", "green")


def _invitation_id(client: Client, typed: str) -> str:
    return only((one["id"] for one in client.get("/api/invitations")), typed, "invitation")


def _invitation(one: dict[str, Any], out: Terminal) -> list[str]:
    state = one["status"]
    if state == "open":
        left = datetime.fromisoformat(one["expires_at"]) - datetime.now(UTC)
        state = f"open for {left.days} days" if left.days > 1 else f"open until {one['expires_at'][:16]}Z"
    return [short(one["id"], out), one["email"] or "whoever has the link", one["role"], state, _used(one["created_at"])]


def _used(moment: str | None) -> str:
    return f"{ago(moment)} ago" if moment else "never"
