"""`corral migrate`: bring a database's tables up to date, or say whether they are."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, nullcontext

from corral.cli.datadir import DataDir
from corral.cli.errors import CommandError
from corral.cli.terminal import stdout
from corral.platform import database
from corral.platform.settings import Settings


def migrate(settings: Settings, *, check: bool, wait: float, as_json: bool) -> None:
    """Apply what is missing and say what that was; only look, and fail if there is something, for a `check`."""
    if check:
        _check(settings, as_json=as_json)
        return
    with _held(settings):
        applied = asyncio.run(database.migrate(settings, seconds=wait))
    out = stdout()
    if as_json:
        out.json({"applied": applied})
        return
    for name in applied:
        out.line(f"applied {name}")
    out.line("The database is up to date.", "green")


def _check(settings: Settings, *, as_json: bool) -> None:
    missing = asyncio.run(_missing(settings))
    out = stdout()
    if as_json:
        out.json({"pending": missing})
    else:
        for name in missing:
            out.line(f"pending {name}")
    if missing:
        raise CommandError(
            f"{len(missing)} {'migration is' if len(missing) == 1 else 'migrations are'} missing.",
            hint="Run `corral migrate`; a server does so at its start.",
        )
    if not as_json:
        out.line("The database is up to date.", "green")


async def _missing(settings: Settings) -> list[str]:
    """Look without the directory's lock: a server that runs there does not mind, and need not be stopped."""
    if settings.is_embedded and not (settings.data / "corral.db").exists():
        raise CommandError(
            f"There is no database in {settings.data} yet.", hint="`corral migrate`, or a server's start, makes it."
        )
    return await database.pending(settings)


def _held(settings: Settings) -> AbstractContextManager[object]:
    return DataDir(settings.data).locked("corral migrate") if settings.is_embedded else nullcontext()
