"""`corral audit`: who did what to what, when and from where."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from corral.cli import options
from corral.cli.client import Client
from corral.cli.connect import connected
from corral.cli.errors import Misused
from corral.cli.naming import short
from corral.cli.spans import span
from corral.cli.terminal import Terminal, ago, stderr, stdout

_WHEN = "a day, as 2026-11-01, a moment, as 2026-11-01T08:00:00Z, or how long ago, as 12h"
_KNOWN = ("key:", "user:", "run:", "runner:")
_SYSTEM = ("operator", "corral", "nobody")
_ID_LENGTH = 36


def audit(
    *,
    actor: Annotated[
        str | None, typer.Option(metavar="WHO", help="Who did it: key:ID, user:ID, run:ID, operator or corral.")
    ] = None,
    action: Annotated[str | None, typer.Option(help="What was done, as key.created.")] = None,
    kind: Annotated[str | None, typer.Option(help="To what kind of thing, as agent.")] = None,
    target: Annotated[str | None, typer.Option(metavar="ID", help="To which thing.")] = None,
    since: Annotated[str | None, typer.Option(metavar="WHEN", help=f"From then on: {_WHEN}.")] = None,
    until: Annotated[str | None, typer.Option(metavar="WHEN", help="Before then, likewise.")] = None,
    limit: options.Limit = 50,
    as_csv: Annotated[bool, typer.Option("--csv", help="All lines as CSV, for spreadsheets.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write CSV to this file.")
    ] = None,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """List who did what to what, when and from where, newest first. Admins and owners may."""
    asked = {
        "actor": _actor(actor),
        "action": action,
        "target_kind": kind,
        "target_id": target,
        "since": _moment(since, "since"),
        "until": _moment(until, "until"),
    }
    if as_csv or output is not None:
        if as_json:
            raise Misused("--json and --csv are two ways to print the lines: choose one", field="csv")
        _export(asked, output, data)
        return
    with connected(data) as client:
        lines = client.get("/api/audit", **asked, limit=limit)["data"]
    if as_json:
        stdout().json(lines)
    elif lines:
        _show(lines)
    else:
        stderr().line("No such line.")


def _show(lines: list[dict[str, Any]]) -> None:
    out = stdout()
    out.table(
        ["WHEN", "WHO", "ACTION", "TARGET", "FROM"],
        [
            [
                f"{ago(line['at'])} ago",
                line["actor_name"] or _id(line["actor"], out),
                line["action"],
                f"{line['target_kind']} {line['target_name'] or _id(line['target_id'], out)}",
                line["address"] or "–",
            ]
            for line in lines
        ],
    )


def _id(told: str, out: Terminal) -> str:
    """Return an id as it is listed, also one that its kind stands before: `run …1f3a9c20`."""
    kind, _, id_ = told.rpartition(":")
    shown = short(id_, out) if len(id_) == _ID_LENGTH else id_
    if not kind:
        return shown
    return f"{kind} {shown}" if out.is_terminal else told


def _export(asked: dict[str, str | None], output: Path | None, data: Path | None) -> None:
    with connected(data) as client:
        pages = _pages(client, asked)
        if output is None:
            sys.stdout.writelines(pages)
            return
        with output.open("w", encoding="utf-8", newline="") as file:
            file.writelines(pages)
    stderr().line(f"Written to {output}", "dim")


def _pages(client: Client, asked: dict[str, str | None]) -> Iterator[str]:
    """Yield the pages of the table, of which only the first keeps its head."""
    text, following = client.text("/api/audit", **asked, format="csv", limit=1000)
    yield text
    while following:
        text, following = client.text(following)
        yield text.partition("\r\n")[2]


def _actor(typed: str | None) -> str | None:
    if typed is None or typed in _SYSTEM or typed.startswith(_KNOWN):
        return typed
    raise Misused(
        f"--actor {typed} names nobody",
        hint="It looks like key:ID, user:ID, run:ID, operator or corral.",
        field="actor",
    )


def _moment(typed: str | None, option: str) -> str | None:
    if typed is None:
        return None
    if re.fullmatch(r"\d+[mhdw]", typed):
        return (datetime.now(UTC) - span(typed, option)).isoformat(timespec="seconds")
    try:
        moment = datetime.fromisoformat(typed)
    except ValueError:
        raise Misused(f"--{option} {typed} is no time: it is {_WHEN}", field=option) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat(timespec="seconds")
