"""Where a command talks: the server it was told, the one that holds the data directory, or one of its own.

There is one way to do anything: HTTP. Where no server runs, the command holds the directory and serves itself on a
loopback port for as long as it takes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from corral.base.env import read
from corral.cli.client import Client
from corral.cli.datadir import DataDir, default_path
from corral.cli.errors import CommandError, Unreachable

_PATIENCE = 15.0


@contextmanager
def connected(data: Path | None = None, *, live: bool = False) -> Iterator[Client]:
    """Yield a client. `live` asks for a running server, because the command makes no sense without one."""
    client = None if data else _told()
    if client is not None:
        yield client
        return
    directory = DataDir(data.absolute() if data else default_path(os.environ))
    deadline = time.monotonic() + _PATIENCE
    while True:
        if (info := directory.server()) is not None:
            yield Client(info.url, _key(directory))
            return
        _refuse_what_cannot_work(directory, live=live and not directory.is_held())
        with directory.try_locked("a command") as held:
            if held:
                from corral.cli.offline import served

                with served(directory) as client:
                    yield client
                return
        if time.monotonic() > deadline:
            raise Unreachable(f"{directory.path} is in use by {directory.holder()}, which does not answer")
        time.sleep(0.05)  # a server that starts, or another command's moment


def told_url() -> str:
    """Return the server this shell is set to talk to, or nothing."""
    return read(os.environ, "CORRAL_URL")


def _told() -> Client | None:
    url = told_url()
    if not url:
        return None
    key = read(os.environ, "CORRAL_API_KEY")
    if not key:
        raise CommandError(
            f"CORRAL_URL is {url}, but CORRAL_API_KEY is not set",
            hint="Set CORRAL_API_KEY too, or unset CORRAL_URL to use the server on this machine.",
        )
    return Client(url, key)


def _key(directory: DataDir) -> str:
    if key := directory.key():
        return key
    raise CommandError(
        f"{directory.key_file} cannot be read", hint="Run the command as the user who started the server."
    )


def _refuse_what_cannot_work(directory: DataDir, *, live: bool) -> None:
    if not directory.path.exists() and not read(os.environ, "CORRAL_DATABASE_URL"):
        raise Unreachable(
            f"There is no Corral on this machine yet: {directory.path} does not exist",
            hint="Start one with `corral up`, or set CORRAL_URL and CORRAL_API_KEY to use one elsewhere.",
        )
    if live:
        raise Unreachable(
            f"No server is running in {directory.path}",
            hint="Start it with `corral up`, or set CORRAL_URL and CORRAL_API_KEY to use one elsewhere.",
        )
