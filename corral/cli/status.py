"""`corral status`: is the server well, and if not, what is wrong."""

from __future__ import annotations

from typing import Any

import typer

from corral.cli import options
from corral.cli.client import Client
from corral.cli.connect import connected
from corral.cli.errors import FAILED, OK, Refused
from corral.cli.terminal import Terminal, ago, stderr, stdout


def status(as_json: options.Json = False, data: options.Data = None) -> None:
    """Say whether the server is ready for requests. Exits 1 if it is not, 3 if it does not answer."""
    out = stdout()
    with connected(data, live=True) as client:
        found = _readiness(client)
        system = _system(client)
    if as_json:
        out.json({**found, "url": client.url, "system": system})
    else:
        _show(out, client.url, found, system)
    raise typer.Exit(OK if found["ready"] else FAILED)


def _readiness(client: Client) -> dict[str, Any]:
    try:
        found: dict[str, Any] = client.once("/api/ready")
    except Refused as refusal:
        if isinstance(refusal.body, dict) and "checks" in refusal.body:
            return refusal.body
        raise
    return found


def _system(client: Client) -> dict[str, Any] | None:
    """Return what admins may know; None for a key that may not, and while the server cannot tell who asks."""
    try:
        found: dict[str, Any] = client.once("/api/v1/system")
    except Refused:
        return None
    return found


def _show(out: Terminal, url: str, found: dict[str, Any], system: dict[str, Any] | None) -> None:
    word, style = ("ready", "green") if found["ready"] else ("not ready", "red")
    up = f", up for {ago(system['started_at'])}" if system else ""
    out.line(f"{url} is {out.paint(word, style)} (Corral {found['version']}{up})")
    for check in found["checks"]:
        mark, colour = ("✓", "green") if check["ok"] else ("✗", "red")
        out.line(f"{out.paint(mark, colour)} {check['name'].ljust(12)} {check['says']}")
    if system is None:
        return
    if queue := system["queue"]:
        runs = ", ".join(f"{count} {name}" for name, count in queue["runs"].items() if count) or "none"
        machines = queue["runners_online"] + queue["runners_offline"]
        out.line(f"  {'runs'.ljust(12)} {runs}")
        out.line(f"  {'runners'.ljust(12)} {queue['runners_online']} of {machines} online")
    others = [server for server in system["servers"] if not server["is_this"]]
    for server in others:
        state = "" if server["is_there"] else f", gone for {ago(server['seen_at'])}"
        out.line(f"  {'server'.ljust(12)} {server['name']} (Corral {server['version']}{state})")
    for line in system["advice"]:
        stderr().line(f"→ {line}", "yellow")
