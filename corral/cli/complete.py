"""What the shell offers after TAB: the names and ids that the running server knows, quickly or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

Offer = list[tuple[str, str]]


def agents(context: typer.Context, incomplete: str) -> Offer:
    """Offer agents by name."""
    return [(agent["name"], agent["role"]) for agent in _there(context, "/api/agents", incomplete, "name")]


def tasks(context: typer.Context, incomplete: str) -> Offer:
    """Offer tasks by id; a shell shows their titles beside."""
    return [(task["id"], task["title"]) for task in _there(context, "/api/tasks", incomplete, "id")]


def epics(context: typer.Context, incomplete: str) -> Offer:
    """Offer epics by title."""
    return [(epic["title"], epic["description"]) for epic in _there(context, "/api/epics", incomplete, "title")]


def mcps(context: typer.Context, incomplete: str) -> Offer:
    """Offer MCP servers by name."""
    there = _there(context, "/api/mcps", incomplete, "name")
    return [(server["name"], server["url"] or server["command"]) for server in there]


def _there(context: typer.Context, path: str, incomplete: str, field: str) -> Iterator[dict[str, Any]]:
    from corral.base.errors import CorralError
    from corral.cli.connect import connected

    data = context.params.get("data")
    try:
        with connected(Path(data) if data else None, live=True) as client:
            there = client.get(path)
    except CorralError:  # there is no place for a sentence in a shell's menu
        return
    yield from (one for one in there if str(one[field]).casefold().startswith(incomplete.casefold()))
