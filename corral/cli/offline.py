"""Serve the data directory for the length of one command, on a loopback port that nobody else is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue

from corral.base.errors import CorralError
from corral.cli.client import Client
from corral.cli.datadir import DataDir
from corral.cli.errors import CommandError
from corral.cli.serving import serving
from corral.cli.welcome import Started
from corral.platform.settings import from_env


@contextmanager
def served(directory: DataDir) -> Iterator[Client]:
    """Yield a client of a server in this process. The caller holds the directory's lock."""
    import os

    settings = from_env({**os.environ, "CORRAL_RATE_LIMIT": "0"}, data=directory.path, host="127.0.0.1", port=0)
    answers: SimpleQueue[tuple[Started, asyncio.AbstractEventLoop, asyncio.Event] | BaseException] = SimpleQueue()

    async def serve() -> None:
        done = asyncio.Event()
        async with serving(settings, directory) as started:
            answers.put((started, asyncio.get_running_loop(), done))
            await done.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits for the answer
            answers.put(error)

    thread = threading.Thread(target=run, name="offline server", daemon=True)
    thread.start()
    answer = answers.get(timeout=30)
    if isinstance(answer, CorralError):
        raise answer
    if isinstance(answer, BaseException):
        raise CommandError(f"{directory.path} cannot be opened: {answer}") from answer
    started, loop, done = answer
    try:
        yield Client(started.here, directory.key())
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(timeout=10)
