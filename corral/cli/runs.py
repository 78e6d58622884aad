"""`corral run`, `runs`, `logs`, `followup`, `pause`, `continue` and `cancel`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from corral.base.paths import parse
from corral.cli import options
from corral.cli.client import Client
from corral.cli.connect import connected
from corral.cli.follow import follow as watch
from corral.cli.log import Log
from corral.cli.naming import run_id, runner_id, short
from corral.cli.reading import text_of
from corral.cli.terminal import STATUS_STYLE, Terminal, ago, one_line, stderr, stdout
from corral.wire.runs import ENDED, PermissionMode, RunStatus

#: The token classes of a run, and what they are called in a line.
_CLASSES = {
    "inputTokens": "in",
    "outputTokens": "out",
    "cacheReadTokens": "cache read",
    "cacheWriteTokens": "cache write",
}
#: Higher than any event's.
_LAST = 2**53
_PROMPT = typer.Argument(metavar="PROMPT", help="What to do; - reads it from standard input.", show_default=False)


def run(
    prompt: Annotated[str, _PROMPT],
    *,
    cwd: Annotated[str, typer.Option(help="Directory on the runner's machine.")] = ".",
    runner: Annotated[str | None, typer.Option(help="Pin to this runner: its number or name.")] = None,
    mode: Annotated[PermissionMode, typer.Option(help="What the agent may do unasked.")] = PermissionMode.DEFAULT,
    model: Annotated[str | None, typer.Option(help="The model; the CLI's own choice without it.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="Only on runners with this label; may be repeated.")] = None,
    follow: options.Follow = False,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Launch a Claude Code run. Prints its id; with --follow, its log, and exits 0 only if it completed."""
    body: dict[str, Any] = {"prompt": text_of(prompt, "prompt"), "cwd": absolute(cwd), "permissionMode": mode.value}
    if model:
        body["model"] = model
    if label:
        body["labels"] = label
    with connected(data, live=True) as client:
        if runner:
            body["runnerId"] = runner_id(client, runner)
        _launched(client, client.launch("/api/v1/runs", body), follow=follow, as_json=as_json)


def followup(
    id: options.RunId,
    prompt: Annotated[str, _PROMPT],
    follow: options.Follow = False,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Go on where a run ended: a new run that resumes its session."""
    with connected(data, live=True) as client:
        path = f"/api/v1/runs/{run_id(client, id)}/followup"
        _launched(client, client.launch(path, {"prompt": text_of(prompt, "prompt")}), follow=follow, as_json=as_json)


def runs(
    status: Annotated[RunStatus | None, typer.Option(help="Only these.", case_sensitive=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, newest first.")] = 20,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """List runs, newest first."""
    out = stdout()
    with connected(data) as client:
        answer = client.get("/api/v1/runs", status=status, limit=limit)
    if as_json:
        out.json(answer)
        return
    if not answer["data"]:
        no_runs = 'No runs yet. Launch one: corral run "say hello" --follow'
        stderr().line(f"No run is {status}." if status else no_runs)
        return
    out.table(
        ["RUN", "STATUS", "AGE", "RUNNER", "DIRECTORY", "PROMPT"],
        [
            [
                short(run["id"], out),
                run["status"].lower(),
                ago(run["createdAt"]),
                _runner_of(run),
                run["cwd"],
                run["input"],
            ]
            for run in answer["data"]
        ],
    )


def logs(
    id: options.RunId, follow: options.Follow = False, as_json: options.Json = False, data: options.Data = None
) -> None:
    """Print a run's log."""
    out = stdout()
    with connected(data, live=follow) as client:
        run = run_id(client, id)
        if follow:
            client.get(f"/api/v1/runs/{run}")  # a server that is away from the start is not waited for
            code = watch(client, run, out, as_json=as_json)
            if not as_json:
                _cost(client, run, out)
            raise typer.Exit(code)
        events = client.get(f"/api/runs/{run}/events")
        if as_json:
            out.json(events)
            return
        log = Log(out)
        for event in events:
            log.show(event)
        _cost(client, run, out)


def pause(id: options.RunId, as_json: options.Json = False, data: options.Data = None) -> None:
    """Stop a run that is at work or waits, so that it can go on later."""
    with connected(data) as client:
        run = run_id(client, id)
        answer = client.post(f"/api/runs/{run}/pause")
    if as_json:
        stdout().json(answer)
    else:
        stdout().line(f"Pausing {run}")
        stderr().line(f"Let it go on: corral continue {run}", "dim")


def continue_(
    id: options.RunId,
    message: Annotated[
        str | None,
        typer.Argument(metavar="MESSAGE", help="What to go on with; - reads it from standard input."),
    ] = None,
    follow: options.Follow = False,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Let a run that is paused or has ended go on, in its own log and session."""
    body = {} if message is None else {"message": text_of(message, "message")}
    with connected(data, live=True) as client:
        run = run_id(client, id)
        last = client.get(f"/api/runs/{run}/events", before=_LAST, limit=1)
        answer = client.launch(f"/api/runs/{run}/continue", body)
        _launched(client, answer, follow=follow, as_json=as_json, after=last[-1]["sequence"] if last else 0)


def cancel(id: options.RunId, as_json: options.Json = False, data: options.Data = None) -> None:
    """Cancel a run that has not ended."""
    with connected(data) as client:
        run = run_id(client, id)
        answer = client.post(f"/api/runs/{run}/cancel")
    if as_json:
        stdout().json(answer)
    else:
        stdout().line(f"Cancelling {run}")


def delete(id: options.RunId, as_json: options.Json = False, data: options.Data = None) -> None:
    """Delete a run that nobody works on: its log, and the transcript that its CLI keeps. What it cost stays."""
    with connected(data) as client:
        run = run_id(client, id)
        client.delete(f"/api/runs/{run}")
    if as_json:
        stdout().json({"ok": True})
    else:
        stdout().line(f"Deleted {run}")


def absolute(cwd: str) -> str:
    r"""Return the directory to name to a runner: relative to here, unless it is absolute, on a Windows machine too."""
    return cwd if parse(cwd) else str(Path(cwd).expanduser().absolute())


def _launched(client: Client, run: dict[str, Any], *, follow: bool, as_json: bool, after: int = 0) -> None:
    out = stdout()
    if not follow:
        if as_json:
            out.json(run)
        else:
            out.line(run["id"])
            stderr().line(f"{_QUEUED[run['status'].lower()]} Watch it: corral logs {run['id']} --follow", "dim")
        return
    if not as_json:
        stderr().line(f"run {run['id']}", "dim")
    code = watch(client, run["id"], out, as_json=as_json, after=after)
    if not as_json:
        _cost(client, run["id"], out)
    raise typer.Exit(code)


#: A run that had ended its turn before it was paused waits on for what it has to be told.
_QUEUED = {"queued": "Queued.", "running": "It waits on."}


def _cost(client: Client, id: str, out: Terminal) -> None:
    """Write what the run cost so far, as the server has it: all its attempts and sub-agents."""
    run = client.get(f"/api/v1/runs/{id}")
    words = [f"{'≈ ' if run['costIsEstimated'] else ''}${run['costUsd']:.4f}"] if run["costUsd"] else []
    words += [f"{run['usage'][name]:,} {word}" for name, word in _CLASSES.items() if run["usage"][name]]
    status = run["status"].lower()
    if status not in ENDED:
        words = [out.paint(status, STATUS_STYLE[status]), *([one_line(run["reason"])] if run["reason"] else []), *words]
    if words:
        out.line(" · ".join(words))


def _runner_of(run: dict[str, Any]) -> str:
    return one_line(run["runnerName"]) if run["runnerName"] else "–"
