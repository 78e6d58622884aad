"""What is for operators alone: done in the server's database, by whoever may open that. No request can ask for it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from corral.base.env import read
from corral.cli.datadir import default_path
from corral.cli.errors import CommandError, Unreachable

T = TypeVar("T")


def operate(data: Path | None, work: Callable[[], Awaitable[T]]) -> T:
    """Do something in the database of this machine's server, which may be serving from it."""
    from corral.platform import acting, database, plan_file, plans
    from corral.platform.settings import from_env

    if read(os.environ, "CORRAL_URL") and data is None and not read(os.environ, "CORRAL_DATABASE_URL"):
        raise CommandError(
            "CORRAL_URL names a server elsewhere, and this is for who operates that",
            hint="Run it on the server's machine, with CORRAL_DATABASE_URL or --data DIR.",
        )
    settings = from_env(os.environ, data=(data or default_path(os.environ)).absolute())
    if settings.is_embedded and not (settings.data / "corral.db").exists():
        raise Unreachable(
            f"There is no Corral in {settings.data} yet", hint="Start one with `corral up`, or use --data DIR."
        )
    plans.use(plan_file.read(settings.plans))

    async def at_work() -> T:
        await database.connect(settings)
        try:
            with acting.as_(acting.OPERATOR):
                return await work()
        finally:
            await database.disconnect()

    return asyncio.run(at_work())


async def org_of(typed: str) -> int:
    """Return the org's number; its name may be typed."""
    from corral.platform.database import fetch

    rows = await fetch(
        "SELECT id, name FROM orgs WHERE name = $1 OR id = $2", typed, int(typed) if typed.isdecimal() else 0
    )
    if len(rows) == 1:
        return int(rows[0]["id"])
    if rows:
        numbers = ", ".join(str(row["id"]) for row in rows)
        raise CommandError(f"{len(rows)} orgs are called {typed}", hint=f"Use one of their numbers: {numbers}")
    raise CommandError(f"There is no org {typed}", hint="Name it by its number, or as the console shows it.")
