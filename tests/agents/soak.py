"""Servers that handle mail and may be killed at any moment: forked, so that the next one is there at once."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from corral.agents import inbox
from corral.platform.database import Row, Unit, sql
from corral.platform.settings import Settings
from corral.runs.hints import Hints
from corral.runs.queue import Prepared
from corral.web import app
from tests.flows.mortal import LOADED
from tests.support.processes import die_with_parent

#: A row for each effect, written by the transaction that has it.
TABLE = "CREATE TABLE effects (no BIGSERIAL PRIMARY KEY, receiver TEXT NOT NULL, inbox_seq BIGINT NOT NULL)"
_real_effect = inbox._effect


class Server:
    """One of several servers on the same database and Redis."""

    def __init__(self, data: Path, database_url: str, redis_url: str) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(LOADED))
        ready, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=run, args=(data, database_url, redis_url, theirs), daemon=True)
        self._process.start()
        theirs.close()
        ready.recv()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        assert self._process.exitcode == -signal.SIGKILL


def run(data: Path, database_url: str, redis_url: str, ready: Connection) -> None:
    """The server's process."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    inbox._effect = effect
    uvloop.run(serve(Settings(data=data, port=0, database_url=database_url, redis_url=redis_url), ready))


async def serve(settings: Settings, ready: Connection) -> None:
    async with app.serve(settings):
        ready.send(None)
        await asyncio.Event().wait()


def effect(message: Row, prepared: Prepared | str | None, hints: Hints) -> Unit[None]:
    """Note that the effect was had, in its transaction."""
    yield sql("INSERT INTO effects (receiver, inbox_seq) VALUES ($1, $2)", message["receiver"], message["inbox_seq"])
    yield from _real_effect(message, prepared, hints)
