"""`corral doctor`: what is configured, reachable and missing here, and how to fix it."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import typer

from corral import __version__
from corral.base.env import read
from corral.base.errors import CorralError
from corral.cli import options
from corral.cli.client import Client
from corral.cli.datadir import DataDir, default_path
from corral.cli.errors import CommandError, Refused
from corral.cli.terminal import Terminal, one_line, stderr, stdout
from corral.wire.agents import key_name

_MARKS = {"ok": ("✓", "green"), "note": ("–", "yellow"), "broken": ("✗", "red")}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `state` is ok, note (fine, but worth knowing) or broken."""

    name: str
    state: str
    detail: str
    fix: str = ""


def doctor(as_json: options.Json = False, data: options.Data = None) -> None:
    """Look at everything Corral needs here. Exits 1 if something is broken, and says how to fix it."""
    out, directory = stdout(), DataDir(data.absolute() if data else default_path(os.environ))
    findings: list[Finding] = []
    for look in _checks(directory, told=data is None):
        for finding in _looked(look):
            findings.append(finding)
            if not as_json:
                _show(out, finding)
    broken = [finding for finding in findings if finding.state == "broken"]
    if as_json:
        out.json({"ok": not broken, "findings": [asdict(finding) for finding in findings]})
    elif broken:
        stderr().line(f"{len(broken)} to fix: {', '.join(finding.name for finding in broken)}", "red")
    else:
        out.line("Everything is in order.", "green")
    raise typer.Exit(1 if broken else 0)


def _checks(directory: DataDir, *, told: bool) -> list[Callable[[], Iterator[Finding]]]:
    return [
        _program,
        lambda: _directory(directory),
        lambda: _server(directory, told=told),
        _database,
        _redis,
        _allowed,
        _clis,
    ]


def _looked(look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except CorralError as error:
        yield Finding(error.field or "settings", "broken", error.message, f"Correct {error.field or 'it'}.")


def _show(out: Terminal, finding: Finding) -> None:
    mark, style = _MARKS[finding.state]
    out.line(f"{out.paint(mark, style)} {finding.name.ljust(15)} {finding.detail}")
    if finding.fix:
        out.line(f"  {' ' * 15} → {finding.fix}", "bold")


def _program() -> Iterator[Finding]:
    python = ".".join(str(part) for part in sys.version_info[:3])
    yield Finding("corral", "ok", f"{__version__}, Python {python}, {sys.platform}")
    newest = sqlite3.sqlite_version_info >= (3, 35)
    fix = "" if newest else "Install a Python whose sqlite3 has SQLite 3.35 or newer, or use CORRAL_DATABASE_URL."
    yield Finding("sqlite", "ok" if newest else "broken", sqlite3.sqlite_version, fix)


def _directory(directory: DataDir) -> Iterator[Finding]:
    path = directory.path
    if not path.exists():
        yield Finding("data directory", "note", f"{path} does not exist yet", "`corral up` makes it.")
        return
    if not os.access(path, os.W_OK | os.X_OK):
        fix = f"Run as its owner, or: chown -R {os.environ.get('USER', '$USER')} {path}"
        yield Finding("data directory", "broken", f"{path} cannot be written", fix)
        return
    stat = os.statvfs(path)
    free = stat.f_bavail * stat.f_frsize
    full = "Free some space on this disk." if free < 200_000_000 else ""
    yield Finding("data directory", "broken" if full else "ok", f"{path}, {free / 1e9:.1f} GB free", full)
    yield from _key_file(directory.key_file)


def _key_file(path: Path) -> Iterator[Finding]:
    try:
        mode = path.stat().st_mode & 0o777
    except FileNotFoundError:
        yield Finding("local key", "note", "none yet", "The first `corral up` makes it.")
        return
    if mode & 0o077:
        yield Finding("local key", "broken", f"{path} can be read by others (mode {mode:o})", f"chmod 600 {path}")
    else:
        yield Finding("local key", "ok", str(path))


def _server(directory: DataDir, *, told: bool) -> Iterator[Finding]:
    url = read(os.environ, "CORRAL_URL") if told else ""
    if url:
        key, fix = read(os.environ, "CORRAL_API_KEY"), "Set CORRAL_API_KEY to a key of this server."
        yield from (
            [Finding("server", "broken", f"{url}, but CORRAL_API_KEY is not set", fix)] if not key else _ask(url, key)
        )
        return
    info = directory.server()
    if info is not None:
        yield from _ask(info.url, directory.key())
    elif directory.is_held():
        words = f"{directory.holder()} holds the directory, but no server answers"
        yield Finding("server", "broken", words, "Wait for it, or end it.")
    else:
        yield Finding("server", "note", "not running here", "Start it with `corral up`; keys and lists work without.")


def _ask(url: str, key: str) -> Iterator[Finding]:
    try:
        client = Client(url, key)
        client.get("/api/health")
        runners = client.get("/api/v1/runners")["runners"]
    except Refused as error:
        if error.status in {401, 403}:
            fix = "Make another where the server runs: corral keys create NAME"
            yield Finding("server", "ok", f"{url} answers")
            yield Finding("key", "broken" if error.status == 401 else "note", error.message, fix)
        else:
            yield Finding("server", "broken", f"{url}: {error.message}", "Look into the server's own output.")
    except CommandError as error:
        yield Finding("server", "broken", error.message, "Start it, or correct CORRAL_URL.")
    else:
        yield Finding("server", "ok", f"{url} answers and knows the key")
        online = [runner["name"] for runner in runners if runner["status"] == "online"]
        if online:
            yield Finding("runners", "ok", f"online: {', '.join(online)}")
        else:
            fix = "`corral up` brings one; elsewhere start `corral runner`."
            yield Finding("runners", "note", f"{len(runners)} known, none online", fix)
        yield from _provider_keys(client)


def _provider_keys(client: Client) -> Iterator[Finding]:
    """Look whether the agents that run inside the platform have a key for their provider: their own, or the org's."""
    try:
        agents = [agent for agent in client.get("/api/agents") if not agent["cli_name"]]
        secrets = [*client.get("/api/secrets"), *client.get("/api/secrets", scope="agent")] if agents else []
    except Refused:  # a key that may not see them
        return
    there = {(secret["agentId"], secret["key"]) for secret in secrets}
    lacking: dict[str, list[str]] = {}
    for agent in agents:
        name = key_name(agent["provider"])
        if there.isdisjoint({(agent["id"], name), (None, name)}):
            lacking.setdefault(name, []).append(one_line(agent["name"]))
    for name, whose in lacking.items():
        fix = f'Store it as a secret: POST /api/secrets with {{"key": "{name}", "value": …}}'
        yield Finding("secrets", "broken", f"no {name}, which {', '.join(whose)} cannot work without", fix)
    if agents and not lacking:
        yield Finding("secrets", "ok", "the agents of providers have their keys")


def _database() -> Iterator[Finding]:
    url = read(os.environ, "CORRAL_DATABASE_URL")
    if not url:
        yield Finding("database", "ok", "SQLite in the data directory (CORRAL_DATABASE_URL is not set)")
    else:
        yield _reach("database", url, _try_postgres)


def _redis() -> Iterator[Finding]:
    url = read(os.environ, "CORRAL_REDIS_URL")
    if not url:
        yield Finding("redis", "ok", "not used: one server process needs none (CORRAL_REDIS_URL is not set)")
    else:
        yield _reach("redis", url, _try_redis)


def _reach(name: str, url: str, attempt: Callable[[str], str]) -> Finding:
    where = urlsplit(url)
    shown = f"{where.hostname}:{where.port or 'default port'}{where.path}"  # never the password
    try:
        return Finding(name, "ok", f"{shown}: {attempt(url)}")
    except Exception as error:  # noqa: BLE001 - whatever the driver says is the finding
        words = str(error).replace(url, shown) or type(error).__name__
        return Finding(name, "broken", f"{shown}: {words}", f"Start it, or correct CORRAL_{name.upper()}_URL.")


def _try_postgres(url: str) -> str:
    import asyncio

    import asyncpg

    async def ask() -> str:
        connection = await asyncpg.connect(url, timeout=5)
        try:
            return f"PostgreSQL {await connection.fetchval('SHOW server_version', timeout=5)}"
        finally:
            await connection.close(timeout=5)

    return asyncio.run(ask())


def _try_redis(url: str) -> str:
    import redis

    with redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5) as client:
        return f"Redis {client.info('server')['redis_version']}"


def _allowed() -> Iterator[Finding]:
    from corral.base.paths import split_list

    text = read(os.environ, "ALLOWED_DIRS")
    if not text:
        yield Finding("ALLOWED_DIRS", "note", f"not set: `corral up` here would allow {Path.cwd()}")
        return
    named = split_list(text, windows=os.name == "nt")
    wrong = [one for one in named if not Path(one).expanduser().is_dir()]
    if wrong:
        yield Finding(
            "ALLOWED_DIRS", "broken", f"no directory: {', '.join(wrong)}", "Name directories that exist here."
        )
    else:
        yield Finding("ALLOWED_DIRS", "ok", ", ".join(named))


def _clis() -> Iterator[Finding]:
    """Look with the environment that a runner started here would give to its CLIs."""
    import asyncio

    from corral.base import logs
    from corral.runner import clis, environment

    logs.set_up(level="error")
    pass_env = read(os.environ, "CORRAL_PASS_ENV").split(",")
    found = asyncio.run(clis.detect(environment.scrub(os.environ, pass_env)))
    if not found:
        fix = "pip install 'corral[claude]'"
        yield Finding("agent CLIs", "note", "none here: a runner on this machine could run nothing", fix)
    for cli in found:
        if cli.signed_in:
            yield Finding(cli.engine.value, "ok", f"{cli.version}, signed in {cli.detail}")
        else:
            yield Finding(cli.engine.value, "note", f"{cli.version} is not signed in", cli.detail)
