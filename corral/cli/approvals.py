"""`corral approvals`: what waits for a person, and the answers."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from corral.cli import options
from corral.cli.asking import decide, listed, pending
from corral.cli.client import Client
from corral.cli.connect import connected
from corral.cli.errors import Misused
from corral.cli.follow import chosen
from corral.cli.log import asked, wants
from corral.cli.naming import only, short
from corral.cli.terminal import Terminal, ago, clean, stderr, stdout

app = typer.Typer(help="See and answer what agents ask.", invoke_without_command=True)

_Id = Annotated[str, typer.Argument(metavar="ID", help="The approval's id, or enough of its beginning or end.")]


@app.callback()
def approvals(context: typer.Context, as_json: options.Json = False, data: options.Data = None) -> None:
    """Without a subcommand, list what waits for an answer."""
    if context.invoked_subcommand is None:
        _list(every=False, as_json=as_json, data=data)


@app.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="Also those that are settled.")] = False,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """List what waits for an answer."""
    _list(every=every, as_json=as_json, data=data)


@app.command()
def show(id: _Id, as_json: options.Json = False, data: options.Data = None) -> None:
    """Show one in full: the exact action, machine and directory."""
    out = stdout()
    with connected(data) as client:
        approval = _found(client, id)
    if as_json:
        out.json(approval)
        return
    names = ("id", "run_id", "status", "kind", "tool", "runner_name", "cwd", "created_at", "expires_at", "reason")
    out.facts({name.removesuffix("_id").replace("_", " "): approval.get(name) for name in names})
    out.line()
    told = asked(approval) or [f"{key}: {clean(str(value))}" for key, value in (approval.get("input") or {}).items()]
    for line in told:
        out.line(line)


@app.command()
def allow(id: _Id, as_json: options.Json = False, data: options.Data = None) -> None:
    """Let the agent do exactly this, once."""
    _decide(id, {"decision": "allow"}, "Allowed", as_json=as_json, data=data)


@app.command()
def deny(
    id: _Id,
    reason: Annotated[str | None, typer.Option(help="Told to the agent.")] = None,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Forbid it; the run goes on without."""
    _decide(id, {"decision": "deny", "reason": reason}, "Denied", as_json=as_json, data=data)


@app.command()
def answer(
    id: _Id,
    answers: Annotated[
        list[str], typer.Argument(metavar="ANSWER", help="One a question, in order: text or option number.")
    ],
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Answer an agent's questions."""
    with connected(data) as client:
        approval = _found(client, id)
        questions: list[dict[str, Any]] = (approval.get("input") or {}).get("questions") or []
        if len(questions) != len(answers):
            raise Misused(
                f"The agent asks {len(questions)} questions, and {len(answers)} answers were given",
                hint=f"See them: corral approvals show {approval['id']}",
            )
        said = {str(asks["question"]): chosen(asks, text) for asks, text in zip(questions, answers, strict=True)}
        _tell(decide(client, approval["id"], decision="allow", answers=said), "Answered", as_json=as_json)


def _list(*, every: bool, as_json: bool, data: Any) -> None:
    out = stdout()
    with connected(data) as client:
        found = listed(client) if every else pending(client)
    if as_json:
        out.json(found)
    elif not found:
        stderr().line("Nothing waits for an answer.")
    else:
        out.table(
            ["APPROVAL", "STATUS", "RUN", "AGE", "RUNNER", "WANTS"],
            [_row(approval, out) for approval in found],
        )


def _row(approval: dict[str, Any], out: Terminal) -> list[str]:
    return [
        short(approval["id"], out),
        approval["status"],
        short(approval["run_id"], out),
        ago(approval.get("created_at")),
        approval.get("runner_name") or "–",
        wants(approval),
    ]


def _decide(id: str, body: dict[str, Any], word: str, *, as_json: bool, data: Any) -> None:
    with connected(data) as client:
        _tell(decide(client, _found(client, id)["id"], **body), word, as_json=as_json)


def _tell(approval: Any, word: str, *, as_json: bool) -> None:
    if as_json:
        stdout().json(approval)
    else:
        stdout().line(f"{word}.", "green")


def _found(client: Client, typed: str) -> dict[str, Any]:
    everything = {approval["id"]: approval for approval in listed(client)}
    return everything[only(everything, typed, "approval")]
