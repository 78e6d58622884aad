"""Which run, approval, runner, agent, task, epic or server a person means by what they typed; how ids are shown."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from corral.cli.client import Client
from corral.cli.errors import CommandError
from corral.cli.terminal import Terminal

_SHORTEST = 4
#: UUIDv7 begin with the time, so it is their end that tells them apart.
_SHORT = 8
#: Where a kind of thing is listed that has no command of its name.
_LISTED = {"epic": "tasks epics", "dead message": "messages dead", "person": "people", "MCP server": "mcps"}


def run_id(client: Client, typed: str) -> str:
    """Return the run's full id."""
    return _full_id(typed) or only((run["id"] for run in client.get("/api/v1/runs", limit=1000)["data"]), typed, "run")


def agent_id(client: Client, typed: str) -> str:
    """Return the agent's full id; its name may be typed. An archived one is known by its full id alone."""
    return _full_id(typed) or _called(client.get("/api/agents"), typed, "name", "agent")


def task_id(client: Client, typed: str) -> str:
    """Return the task's full id."""
    return _full_id(typed) or only((task["id"] for task in client.get("/api/tasks")), typed, "task")


def epic_id(client: Client, typed: str) -> str:
    """Return the epic's full id; its title may be typed."""
    return _full_id(typed) or _called(client.get("/api/epics"), typed, "title", "epic")


def key_id(client: Client, typed: str) -> str:
    """Return the API key's full id; its name may be typed."""
    return _full_id(typed) or _called(client.get("/api/v1/keys", limit=1000)["data"], typed, "name", "key")


def person_id(client: Client, typed: str) -> str:
    """Return the full id of somebody in the org; their email or name may be typed."""
    if full := _full_id(typed):
        return full
    there = client.get("/api/people", limit=1000)
    by_email = [str(one["id"]) for one in there if one["email"] == typed.strip().lower()]
    return by_email[0] if by_email else _called(there, typed, "name", "person")


def mcp_id(there: Sequence[dict[str, Any]], typed: str) -> str:
    """Return the full id of one of these MCP servers; its name may be typed."""
    return _called(there, typed, "name", "MCP server")


class Names:
    """What agents and people are called where a message or a task names them by id."""

    def __init__(self, client: Client) -> None:
        """Read who there is."""
        self._names = {agent["id"]: str(agent["name"]) for agent in client.get("/api/agents")}

    def of(self, who: str | None) -> str:
        """Return an agent's name, or what kind of a person it is: `user …1f3a9c20`."""
        if not who:
            return "–"
        kind, _, end = who.rpartition(":")
        return self._names.get(who) or " ".join(word for word in (kind, f"…{end[-_SHORT:]}") if word)


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
    raise CommandError(f"There is no {what} {typed}", hint=f"`corral {_LISTED.get(what, what + 's')}` lists them.")


def runner_id(client: Client, typed: str) -> int | str:
    """Return what the API calls the runner: its number, uid or name may be typed."""
    if typed.isdecimal():
        return int(typed)
    named = [runner for runner in client.get("/api/v1/runners")["runners"] if runner["name"] == typed]
    return int(named[0]["id"]) if named else typed


def short(id: str, out: Terminal) -> str:
    """Return the id as it is listed: its telling end on a terminal, whole for programs."""
    return f"…{id[-_SHORT:]}" if out.is_terminal else id


def _called(there: Sequence[dict[str, Any]], typed: str, field: str, what: str) -> str:
    named = [one for one in there if str(one[field]).casefold() == typed.casefold()]
    if len(named) > 1:
        ids = ", ".join(f"{one['id']} ({one['team']})" if one.get("team") else str(one["id"]) for one in named)
        raise CommandError(f"{len(named)} {what}s are called {typed}", hint=f"Use one of their ids: {ids}")
    return str(named[0]["id"]) if named else only((one["id"] for one in there), typed, what)


def _full_id(typed: str) -> str | None:
    try:
        return str(uuid.UUID(typed))
    except ValueError:
        return None


def _matches(id: str, wanted: str) -> bool:
    return id.startswith(wanted) or id.endswith(wanted)
