"""A server of this process: started, with the way in for its owner, and ended."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import os
import platform
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from corral.base import logs
from corral.base.env import read
from corral.base.ids import new_token
from corral.cli.datadir import DataDir
from corral.cli.welcome import Started
from corral.platform import acting, keys, sign_in
from corral.platform.access import RUNNER
from corral.platform.orgs import Bootstrapped
from corral.platform.settings import Settings


@asynccontextmanager
async def serving(
    settings: Settings, directory: DataDir | None, hurry: asyncio.Event | None = None, *, with_runner: bool = False
) -> AsyncIterator[Started]:
    """Serve until the context ends. In `directory`, which the caller holds, local commands and a runner find keys."""
    from corral.web.app import serve  # the server's libraries, and only now

    # Before anything can go wrong: what logs without a set-up shows every variable, tokens among them.
    logs.set_up(read(os.environ, "CORRAL_LOG_FORMAT", "auto"), read(os.environ, "CORRAL_LOG_LEVEL", "info"))

    async with serve(settings, hurry=hurry) as server:
        first = server.bootstrapped
        with acting.as_(acting.OPERATOR):
            if directory is not None:
                machine = platform.node() or "this machine"
                await _ensure_key(directory.key_file, first, f"commands on {machine}", "*")
                if with_runner:
                    await _ensure_key(directory.runner_key_file, first, f"runner of {machine}", RUNNER)
            link = await sign_in.make_link(first.org_id, first.owner_id)
        # What is loaded now stays: each full search for garbage would look through all of it, for a tenth of a second.
        gc.freeze()
        gc.enable()
        here = dataclasses.replace(server.settings, public_url="").url
        yield Started(server.settings.url, here, link.url(server.settings), first.new_key, server.leave)


async def _ensure_key(path: Path, first: Bootstrapped, name: str, scope: str) -> None:
    """Make sure that the file holds a live key of the first org; a database that changed gets a new one."""
    if path.exists() and await keys.authenticate(path.read_text(encoding="utf-8").strip()):
        return
    token = keys.PREFIX + new_token(32)
    fresh = path.with_suffix(".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(token + "\n")
    fresh.replace(path)
    await keys.create(first.org_id, name=name, scopes=[scope], user_id=first.owner_id, token=token)
