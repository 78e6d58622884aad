"""`corral keys`: make, list and revoke API keys."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from corral.cli import options
from corral.cli.client import segment
from corral.cli.connect import connected
from corral.cli.errors import Misused
from corral.cli.naming import key_id, short
from corral.cli.spans import span
from corral.cli.terminal import ago, stderr, stdout

#: The most requests a minute that can be asked for.
_MOST = 100_000

#: What a limit is called in a sentence, where none of one's own is set.
THE_DEFAULT = "the default number of"

app = typer.Typer(help="Make, list and revoke API keys.", invoke_without_command=True)


@app.callback()
def keys(context: typer.Context, as_json: options.Json = False, data: options.Data = None) -> None:
    """Without a subcommand, list the keys there are."""
    if context.invoked_subcommand is None:
        list_(as_json=as_json, data=data)


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for, so that people can tell keys apart.")],
    *,
    scope: Annotated[
        list[str] | None, typer.Option(help="What it may do, as runs:read; may be repeated. Default: *.")
    ] = None,
    runner: Annotated[
        bool, typer.Option("--runner", help="For a runner: it does a runner's work, and nothing else.")
    ] = False,
    expires: Annotated[str | None, typer.Option(help="When it ends by itself: 12h, 30d, 8w.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, max=_MOST, help="Requests a minute. Default: the org's.")] = None,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Make a key. It is shown once: only its hash is kept."""
    if runner and scope:
        raise Misused("--runner takes no --scope: such a key does a runner's work, and nothing else", field="scope")
    if runner and limit is not None:
        raise Misused("--runner takes no --limit: what a runner's key may call is not counted", field="limit")
    body: dict[str, Any] = {"name": name, "scopes": ["runner"] if runner else scope or ["*"]}
    if limit is not None:
        body["rate_limit"] = limit
    if expires:
        body["expires_at"] = (
            (datetime.now(UTC) + span(expires, "expires")).isoformat(timespec="seconds").replace("+00:00", "Z")
        )
    with connected(data) as client:
        made = client.post("/api/v1/keys", body)
    if as_json:
        stdout().json(made)
        return
    stdout().line(made["key"])
    stderr().line("Keep it somewhere safe: it is not shown again.", "dim")


@app.command("list")
def list_(as_json: options.Json = False, data: options.Data = None) -> None:
    """List the keys there are, without the keys themselves."""
    out = stdout()
    with connected(data) as client:
        answer = client.get("/api/v1/keys")
    if as_json:
        out.json(answer)
        return
    out.table(
        ["KEY", "NAME", "BEGINS", "USED", "STATE", "A MINUTE", "SCOPES"],
        [
            [
                short(key["id"], out),
                key["name"],
                key["prefix"],
                _used(key),
                _state(key),
                "–" if key["scopes"] == ["runner"] else rate_of(key["rateLimit"]),
                " ".join(key["scopes"]),
            ]
            for key in answer["data"]
        ],
    )


@app.command()
def limit(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key's name or id, or enough of that.")],
    rate: Annotated[str, typer.Argument(metavar="N", help="Requests a minute, or `default` for the org's.")],
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Say how often a key may call; every server goes by it within a second."""
    body = {"rate_limit": None if rate == "default" else whole(rate, "N", least=1)}
    with connected(data) as client:
        answer = client.patch(f"/api/v1/keys/{segment(key_id(client, key))}", body)
    if as_json:
        stdout().json(answer)
    else:
        stdout().line(f"{answer['name']}: {rate_of(answer['rateLimit'], THE_DEFAULT)} requests a minute.", "green")


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key's name or id, or enough of that.")],
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """End a key at once, and the open invitations that it made."""
    with connected(data) as client:
        answer = client.delete(f"/api/v1/keys/{segment(key_id(client, key))}")
    if as_json:
        stdout().json(answer)
    else:
        stdout().line("Revoked.", "green")


def whole(text: str, field: str, *, least: int) -> int:
    """Read a limit that somebody typed. That there is none at all, which is 0, is for operators to say."""
    if text.isascii() and text.isdecimal() and len(text) <= len(str(_MOST)) and least <= int(text) <= _MOST:
        return int(text)
    raise Misused(
        f"{field} must be a whole number from {least} to {_MOST:,}, or `default`, not {text}",
        hint="0 lifts an org’s limit, which is for operators: --org ORG, on the server’s machine."
        if text == "0"
        else "",
        field=field,
    )


def rate_of(rate: int | None, default: str = "default") -> str:
    """Return a limit of requests a minute for people; `default` is the word where there is none of one's own."""
    return default if rate is None else "any number of" if rate == 0 else f"{rate:,}"


def _used(key: dict[str, Any]) -> str:
    return f"{ago(key['lastUsedAt'])} ago" if key["lastUsedAt"] else "never"


def _state(key: dict[str, Any]) -> str:
    if key["revokedAt"]:
        return "revoked"
    if not key["expiresAt"]:
        return "live"
    return (
        "expired" if datetime.fromisoformat(key["expiresAt"]) < datetime.now(UTC) else f"until {key['expiresAt'][:10]}"
    )
