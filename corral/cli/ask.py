"""`corral ask`: a question to an agent, and its answer."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from corral.cli import options
from corral.cli.client import Client, segment
from corral.cli.connect import connected
from corral.cli.errors import CommandError
from corral.cli.follow import Stream
from corral.cli.messages import stream
from corral.cli.naming import agent_id
from corral.cli.reading import text_of
from corral.cli.terminal import clean, stderr, stdout


def ask(
    agent: options.Agent,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to ask; - reads standard input.")],
    *,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the answer.")] = True,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait at most; the agent goes on.")] = 600,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Ask an agent something and print its answer. Exits 0 only if it answered.

    A live run is asked in its conversation; an idle agent begins a run to answer.
    """
    question = text_of(text, "question")
    with connected(data, live=wait) as client:
        sent = client.launch("/api/messages", {"to": agent_id(client, agent), "type": "question", "text": question})
        if not wait:
            if as_json:
                stdout().json(sent)
            else:
                stdout().line(sent["id"])
            return
        answer = _awaited(client, sent, agent, timeout)
        run = client.get(f"/api/v1/runs/{segment(answer['run_id'])}")
    if run["status"] != "COMPLETED":
        raise CommandError(
            f"{agent} could not answer: {clean(answer['text'])}", hint=f"See what happened: corral logs {run['id']}"
        )
    if as_json:
        stdout().json(answer)
    else:
        stdout().line(clean(answer["text"]))


def _awaited(client: Client, sent: dict[str, Any], agent: str, timeout: float) -> dict[str, Any]:
    """Return the answer to a message."""
    deadline = time.monotonic() + timeout
    wanted = {"agent": sent["receiver"], "type": "answer"}
    where = f"corral messages --agent {sent['receiver']} --type answer"

    def early() -> Any:
        return client.get("/api/messages", **wanted, since=sent["created_at"], limit=500)

    def check() -> None:
        for message in client.get("/api/messages/dead"):
            if message["id"] == sent["id"]:
                hint = f"Once that is put right: corral messages replay {sent['id']}"
                raise CommandError(f"{agent} cannot be asked: {message['error']}", hint=hint)
        if time.monotonic() > deadline:
            raise CommandError(f"No answer from {agent} within {timeout:g} s", hint=f"Look later: {where}")

    try:
        answers = Stream(client.watch(stream(wanted), first=early), on_quiet=check)
        return next(message for message in answers if message["reply_to"] == sent["id"])
    except KeyboardInterrupt:
        stderr().line(f"The agent goes on. Look later: {where}")
        raise
