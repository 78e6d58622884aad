"""Which run, approval or runner a person means by what they typed."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from corral.cli.client import Client
from corral.cli.errors import CommandError
from corral.cli.terminal import Terminal

_SHORTEST = 4
#: UUIDv7 begin with the time, so it is their end that tells them apart.
_SHORT = 8


def run_id(client: Client, typed: str) -> str:
    """Return the run's full id."""
    return _full_id(typed) or only((run["id"] for run in client.get("/api/v1/runs", limit=1000)["data"]), typed, "run")


def only(ids: Iterable[str], typed: str, what: str) -> str:
    """Return the one id that begins or ends as typed."""
    wanted = typed.lower().removeprefix("…")
    found = [one for one in ids if one == wanted or (len(wanted) >= _SHORTEST and _matches(one, wanted))]
    if len(found) == 1:
        return found[0]
    if found:
        raise CommandError(
            f"{typed} could be any of {len(found)} {what}s", hint="Type more of its end: " + ", ".join(found[:3])
        )
    raise CommandError(f"There is no {what} {typed}", hint=f"`corral {what}s` lists them.")


def runner_id(client: Client, typed: str) -> int | str:
    """Return what the API calls the runner: its number, uid or name may be typed."""
    if typed.isdecimal():
        return int(typed)
    named = [runner for runner in client.get("/api/v1/runners")["runners"] if runner["name"] == typed]
    return int(named[0]["id"]) if named else typed


def short(id: str, out: Terminal) -> str:
    """Return the id as it is listed: its telling end on a terminal, whole for programs."""
    return f"…{id[-_SHORT:]}" if out.is_terminal else id


def _full_id(typed: str) -> str | None:
    try:
        return str(uuid.UUID(typed))
    except ValueError:
        return None


def _matches(id: str, wanted: str) -> bool:
    return id.startswith(wanted) or id.endswith(wanted)
