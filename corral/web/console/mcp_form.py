"""The form that adds and changes an MCP server: its fields, and the columns they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corral.mcp import servers
from corral.mcp.servers import Server
from corral.web.console.overtaken import Change

_LONGEST = {"name": 64, "command": 4096, "url": 2000}
_MOST = 200  #: arguments, variables, headers


class McpForm(Change):
    """What the form holds. Of `args`, `env` and `headers` each line is one; a line that begins with a space goes on."""

    name: str = ""
    transport: str = servers.STDIO
    command: str = ""
    args: str = ""
    env: str = ""
    url: str = ""
    headers: str = ""
    enabled_for: str = servers.ALL
    agents: list[str] = []
    teams: list[str] = []


def problems(form: McpForm) -> dict[str, str]:
    """Return what is wrong with the form, by field; the rest is told by `servers`."""
    errors = {
        field: f"At most {most} characters, please."
        for field, most in _LONGEST.items()
        if len(getattr(form, field).strip()) > most
    }
    if form.transport not in {servers.STDIO, servers.HTTP}:
        errors["transport"] = "Choose one of these."
    if form.enabled_for not in {servers.ALL, servers.AGENTS, servers.TEAMS}:
        errors["enabled_for"] = "Choose one of these."
    for field, sign in (("args", ""), ("env", "="), ("headers", ":")):
        lines = _lines(getattr(form, field))
        if wrong := f"At most {_MOST}, please." if len(lines) > _MOST else _wrong(lines, sign):
            errors[field] = wrong
    return errors


def fields(form: McpForm, server: Server | None) -> dict[str, Any]:
    """Return the columns that a form without problems stands for; lines nobody has touched stay what they were."""
    is_stdio = form.transport == servers.STDIO
    before = filled(server) if server is not None else McpForm()
    told: dict[str, Any] = {
        "name": form.name.strip(),
        "transport": form.transport,
        "command": form.command.strip() if is_stdio else None,
        "args": _lines(form.args) if is_stdio else [],
        "env": _pairs(form.env, "=") if is_stdio else {},
        "url": None if is_stdio else form.url.strip(),
        "headers": {} if is_stdio else _pairs(form.headers, ":"),
        "enabled_for": form.enabled_for,
        "agents": form.agents if form.enabled_for == servers.AGENTS else [],
        "teams": form.teams if form.enabled_for == servers.TEAMS else [],
    }
    same = {
        name
        for name in ("args", "env", "headers")
        if told[name] and _unix(getattr(form, name)) == getattr(before, name)
    }
    return {name: value for name, value in told.items() if name not in same}


def filled(server: Server) -> McpForm:
    """Return the form as a server fills it."""
    return McpForm(
        name=server.name,
        transport=server.transport,
        command=server.command or "",
        args=_text(server.args),
        env=_text(f"{name}={value}" for name, value in server.env.items()),
        url=server.url or "",
        headers=_text(f"{name}: {value}" for name, value in server.headers.items()),
        enabled_for=server.enabled_for,
        agents=list(server.agents),
        teams=list(server.teams),
    )


def rules(chosen: list[str], others: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the rules about tools: those chosen beside each, as `deny:delete`, and those typed, by commas."""
    found: dict[str, list[str]] = {}
    for ruling, typed in others.items():
        named = [one.partition(":")[2] for one in chosen if one.partition(":")[0] == ruling]
        found[ruling] = list(dict.fromkeys([*named, *(part.strip() for part in typed.split(",") if part.strip())]))
    return found


def _wrong(lines: list[str], sign: str) -> str | None:
    """Return what is wrong with lines of a name, a sign and a value; without a sign they may be anything."""
    if not sign:
        return None
    names = set()
    for line in lines:
        name, found, _ = line.partition(sign)
        if not found or not name.strip():
            return f"“{line.splitlines()[0]}” is not a name, {sign} and a value."
        if name.strip() in names:
            return f"{name.strip()} stands there twice."
        names.add(name.strip())
    return None


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").rstrip("\n")


def _text(lines: Any) -> str:
    return "\n".join(line.replace("\n", "\n ") for line in lines)


def _lines(text: str) -> list[str]:
    lines: list[str] = []
    for line in _unix(text).split("\n"):
        if lines and line.startswith(" "):
            lines[-1] += f"\n{line[1:]}"
        elif line.strip():
            lines.append(line.lstrip())
    return lines


def _pairs(text: str, sign: str) -> dict[str, str]:
    named = [line.partition(sign) for line in _lines(text)]
    return {name.strip(): value.strip() if sign == ":" else value for name, _, value in named}
