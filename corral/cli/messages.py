"""`corral messages`: what goes over the bus between agents and people, live and past; sent, given up and replayed."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from corral.cli import complete, options
from corral.cli.client import Client, segment
from corral.cli.connect import connected
from corral.cli.errors import INTERRUPTED
from corral.cli.follow import Stream
from corral.cli.naming import Names, agent_id, only, short
from corral.cli.reading import text_of
from corral.cli.spans import span
from corral.cli.terminal import Terminal, ago, cut, one_line, stderr, stdout

app = typer.Typer(
    help="Messages on the bus: tasks handed out, results, questions, answers, notes.", invoke_without_command=True
)

EVERYBODY = "*"

_Agent = Annotated[
    str | None,
    typer.Option(metavar="AGENT", help="Only to or from this agent: its name or id.", autocompletion=complete.agents),
]
_Type = Annotated[
    str | None,
    typer.Option(
        "--type", help="Only these: task.assigned, task.result, task.progress, question, answer, note, broadcast."
    ),
]
_Since = Annotated[str | None, typer.Option(help="Only newer ones: 30m, 12h, 7d, or a moment as 2026-01-31T08:00:00Z.")]
_Limit = Annotated[int, typer.Option(min=1, max=500, help="At most so many of those that were sent.")]
_Live = Annotated[bool, typer.Option("--follow", "-f", help="Also show new ones as they are sent, until ^C.")]


@app.callback()
@app.command("list")
def messages(
    context: typer.Context,
    *,
    agent: _Agent = None,
    type_: _Type = None,
    since: _Since = None,
    limit: _Limit = 20,
    follow: _Live = False,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """List messages, newest first; with --follow oldest first, and then those to come."""
    if context.invoked_subcommand is not None:
        return
    out = stdout()
    with connected(data, live=follow) as client:
        which = {"agent": agent_id(client, agent) if agent else None, "type": type_}
        wanted = {name: value for name, value in which.items() if value is not None}
        if follow:
            raise typer.Exit(_followed(client, wanted, since=_moment(since), limit=limit, as_json=as_json))
        found = client.get("/api/messages", **wanted, since=_moment(since), limit=limit)
        if as_json:
            out.json(found)
        elif not found:
            stderr().line('No messages. Send one: corral messages send AGENT "…"')
        else:
            _table(out, found, Names(client))


@app.command()
def send(
    agent: Annotated[
        str,
        typer.Argument(
            metavar="AGENT",
            help="The agent's name, or enough of its id; '*' for everybody.",
            autocompletion=complete.agents,
        ),
    ],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to say; - reads standard input.")],
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Tell an agent something: its live run takes it up, an idle agent begins a run. Prints the message's id.

    `corral ask` waits for the answer.
    """
    with connected(data) as client:
        to = agent if agent == EVERYBODY else agent_id(client, agent)
        sent = client.launch("/api/messages", {"to": to, "type": "note", "text": text_of(text, "text")})
    if as_json:
        stdout().json(sent)
    else:
        stdout().line(sent["id"])


@app.command()
def dead(as_json: options.Json = False, data: options.Data = None) -> None:
    """List what could not be handled and was given up, with the reason."""
    out = stdout()
    with connected(data) as client:
        found = client.get("/api/messages/dead", limit=500)
        if as_json:
            out.json(found)
            return
        if not found:
            stderr().line("Nothing was given up.")
            return
        names = Names(client)
    out.table(
        ["MESSAGE", "AGE", "TYPE", "FROM", "TO", "WHY"],
        [[*_row(message, out, names), message["error"] or ""] for message in found],
    )


@app.command()
def replay(
    id: Annotated[str, typer.Argument(metavar="ID", help="The message's id, or enough of its beginning or end.")],
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Give a message that was given up another chance, once what was wrong is put right."""
    with connected(data) as client:
        there = client.get("/api/messages/dead", limit=500)
        found = only((message["id"] for message in there), id, "dead message")
        answer = client.post(f"/api/messages/{segment(found)}/replay")
    if as_json:
        stdout().json(answer)
    else:
        stdout().line("It is tried again.", "green")


def stream(wanted: dict[str, str]) -> str:
    """Return the path of the live messages."""
    return "/api/messages/stream" + (f"?{urlencode(wanted)}" if wanted else "")


def _followed(client: Client, wanted: dict[str, str], *, since: str | None, limit: int, as_json: bool) -> int:
    """Write messages as they come, those of the past first; ^C ends it."""
    out, names = stdout(), Names(client)
    seen = set[str]()

    def past() -> list[dict[str, Any]]:
        return list(client.get("/api/messages", **wanted, since=since, limit=limit)[::-1])

    try:
        for message in Stream(client.watch(stream(wanted), first=past), on_quiet=lambda: None):
            if message["id"] not in seen:
                seen.add(message["id"])
                _say(out, message, names, as_json=as_json)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _say(out: Terminal, message: dict[str, Any], names: Names, *, as_json: bool) -> None:
    if as_json:
        out.line(json.dumps(message, ensure_ascii=False))
        return
    at = datetime.fromisoformat(message["created_at"]).astimezone().strftime("%H:%M:%S")
    who = one_line(f"{names.of(message['sender'])} → {names.of(message['receiver'])}")
    head = f"{at}  {message['type']}  {who}: "
    text = one_line(message["text"])
    out.line(out.paint(head, "dim") + (cut(text, max(out.width - len(head), 20)) if out.width else text))


def _table(out: Terminal, found: list[dict[str, Any]], names: Names) -> None:
    out.table(
        ["MESSAGE", "AGE", "TYPE", "FROM", "TO", "TEXT"],
        [[*_row(message, out, names), message["text"]] for message in found],
    )


def _row(message: dict[str, Any], out: Terminal, names: Names) -> list[str]:
    return [
        short(message["id"], out),
        ago(message["created_at"]),
        message["type"],
        names.of(message["sender"]),
        names.of(message["receiver"]),
    ]


def _moment(since: str | None) -> str | None:
    """Return a span back from now as the moment it is; what is a moment already goes to the server as it is."""
    if since is None or not re.fullmatch(r"\d+[a-z]", since):
        return since
    return (datetime.now(UTC) - span(since, "since")).isoformat(timespec="milliseconds").replace("+00:00", "Z")
