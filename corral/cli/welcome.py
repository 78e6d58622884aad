"""What a starting server tells the person who started it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from corral.cli.terminal import Terminal, stdout


@dataclass(frozen=True, slots=True)
class Started:
    """A server that answers."""

    url: str  #: for people, wherever they are
    here: str  #: for processes of this machine
    link: str  #: signs the first owner in to the console, once
    new_key: str | None  #: the API key made at the first start; nobody can show it again
    leave: Callable[[], Awaitable[None]]  #: let it answer for a while longer without being ready


def show(started: Started, *, runner_env: Mapping[str, str] | None, notes: tuple[str, ...] = ()) -> None:
    """Say where the console is and how to get in; at the first start also the API key and a first call."""
    out = stdout()
    out.line(f"Corral is running at {started.url}", "bold")
    for note in notes:
        out.line(note, "yellow")
    out.line()
    _fact(out, "Console", started.link)
    out.line("           (signs you in once; `corral sign-in` prints another)", "dim")
    if started.new_key:
        out.line("           (set an email and a password in its Profile, to sign in without a link)", "dim")
        _fact(out, "API key", started.new_key)
        out.line("           (shown only now; `corral keys create` makes others)", "dim")
    if runner_env is not None:
        _fact(out, "Runner", f"on this machine, may work in {runner_env['ALLOWED_DIRS']}")
    else:
        _fact(out, "Runner", "none here; on a machine of yours, with a key of this server:")
        out.line(f"           CORRAL_URL={started.url} CORRAL_API_KEY=… corral runner --allow DIR")
    if started.new_key:
        cwd = (runner_env or {}).get("ALLOWED_DIRS", "/path/on/the/runner").partition(",")[0]
        out.line()
        out.line("Launch a run from anywhere:")
        out.line(curl(started.url, started.new_key, cwd))
    out.line()
    out.line("Stop with ^C: runs are interrupted and go on at the next start.", "dim")


def curl(url: str, key: str, cwd: str) -> str:
    """Return a command that launches a run, ready to be copied into a shell."""
    body = shlex.quote(json.dumps({"prompt": "Say hello and list the files here", "cwd": cwd}, ensure_ascii=False))
    return (
        f"  curl -X POST {url}/api/v1/runs \\\n"
        f"    -H 'Authorization: Bearer {key}' \\\n"
        f"    -H 'Content-Type: application/json' \\\n"
        f"    -d {body}"
    )


def _fact(out: Terminal, name: str, value: str) -> None:
    out.line(f"  {out.paint(name.ljust(8), 'bold')} {value}")
