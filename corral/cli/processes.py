"""`corral up`, `serve`, `runner`, `migrate` and `demo`: the commands that are Corral's processes."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from corral.base.env import read
from corral.cli.datadir import DataDir, default_path
from corral.cli.errors import Misused
from corral.cli.options import Json

_Host = Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")]
_Port = Annotated[int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.", show_default="3000")]
_Data = Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Data directory.", show_default="~/.corral")]


def up(
    host: _Host = None,
    port: _Port = None,
    data: _Data = None,
    no_runner: Annotated[bool, typer.Option("--no-runner", help="Without a runner on this machine.")] = False,
) -> None:
    """Start Corral here: server, console, and a runner that may work in this directory (or ALLOWED_DIRS)."""
    _lean()
    from corral.cli.up import up as start

    settings = _settings(host, port, (data or default_path(os.environ)).absolute())
    _run(start(settings, command="corral up", runner_env=None if no_runner else dict(os.environ)))


def serve(host: _Host = None, port: _Port = None, data: _Data = None) -> None:
    """Start the server alone, as one of many: needs CORRAL_DATABASE_URL, or --data for SQLite."""
    _lean()
    from corral.cli.up import serve as start

    told = data or (default_path(os.environ) if os.environ.get("CORRAL_DATA") else None)
    if told is None and not read(os.environ, "CORRAL_DATABASE_URL"):
        raise Misused(
            "CORRAL_DATABASE_URL is not set",
            field="CORRAL_DATABASE_URL",
            hint="Set it to postgres://user:password@host/name, or use SQLite in a directory: corral serve --data DIR",
        )
    settings = _settings(host, port, (told or default_path(os.environ)).absolute())
    _run(start(settings, directory=DataDir(settings.data) if told else None))


def runner(
    *,
    url: Annotated[str | None, typer.Option(help="The server; or CORRAL_URL.")] = None,
    name: Annotated[
        str | None, typer.Option(help="The name people see; or RUNNER_NAME.", show_default="host name")
    ] = None,
    allow: Annotated[
        list[str] | None, typer.Option(help="A directory that agents may work in; repeatable; or ALLOWED_DIRS.")
    ] = None,
    label: Annotated[list[str] | None, typer.Option(help="A label that runs may ask for; repeatable.")] = None,
    max_pods: Annotated[int | None, typer.Option(min=1, help="How many runs at a time.", show_default="4")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Its identity and spool; or CORRAL_DATA.", show_default="~/.corral/runner")
    ] = None,
) -> None:
    """Start a runner: it only makes outbound calls. Its key comes from CORRAL_API_KEY or CORRAL_API_KEY_FILE."""
    flags = {
        "CORRAL_URL": url,
        "RUNNER_NAME": name,
        "ALLOWED_DIRS": ",".join(str(Path(one).expanduser().absolute()) for one in allow or []),
        "CORRAL_LABELS": ",".join(label or []),
        "CORRAL_MAX_PODS": str(max_pods or ""),
        "CORRAL_DATA": str(data.absolute()) if data else "",
    }
    env = {**os.environ, **{variable: value for variable, value in flags.items() if value}}
    # A new program in the same process: what parsed these flags would cost an idle runner 20 MB for ever.
    os.execve(sys.executable, [sys.executable, "-P", "-m", "corral", "runner"], env)  # noqa: S606


def migrate(
    data: _Data = None,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit with 1 if migrations are missing.")
    ] = False,
    wait: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long to wait for another that migrates.")
    ] = 600,
    as_json: Json = False,
) -> None:
    """Bring the database's tables up to date. Every server does so at its start; this does it before."""
    from corral.cli.migrating import migrate as start

    start(_settings(None, None, (data or default_path(os.environ)).absolute()), check=check, wait=wait, as_json=as_json)


def demo(
    host: _Host = None,
    port: _Port = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Data directory.", show_default="~/.corral-demo")
    ] = None,
) -> None:
    """Start Corral with a scripted model behind the real Claude Code: no account, no key, no cost."""
    _lean()
    from corral.cli.demo import demo as start

    _run(start(_settings(host, port, (data or default_path(os.environ, demo=True)).absolute()), os.environ))


def _lean() -> None:
    """Load a server's libraries without rich and without looks for garbage in them: each is a tenth of the start.

    structlog draws with rich where it is installed, for 4 MB as well. `serving` goes on to look for garbage.
    """
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
    gc.disable()


def _run(server: Coroutine[Any, Any, None]) -> None:
    """Run a server to its end, on the quicker loop where there is one (not on Windows, not on PyPy)."""
    import asyncio
    import importlib.util

    if importlib.util.find_spec("uvloop") is None:
        asyncio.run(server)
        return
    import uvloop

    uvloop.run(server)


def _settings(host: str | None, port: int | None, data: Path) -> Any:
    from corral.platform.settings import from_env

    return from_env(os.environ, data=data, host=host, port=port)
