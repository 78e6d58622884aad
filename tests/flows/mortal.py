"""Servers that die at their n-th write: forked from a process that has everything loaded, so that dozens take seconds.

A write is a statement that changed rows of a delegation, or the commit of such ones. The server is gone right after
it: before its transaction commits, or before anybody hears of what was committed.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import signal
import sqlite3
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

from tests.support.http import Api
from tests.support.processes import die_with_parent

DIED = 137
KEY = "crl_live_" + "mortal" * 8
#: Loaded once, by the process that servers are forked from; pytest is what each of them takes for its main module.
LOADED = ("pytest", "tests.flows.mortal", "tests.flows.warm")
TABLES = ("agents", "tasks", "messages", "runs", "events", "calls", "inputs", "commands", "approvals")
_CHANGES = re.compile(rf"\b(?:INSERT INTO|UPDATE|DELETE FROM) (?:{'|'.join(TABLES)})\b")
#: Takes a row's lock and changes nothing.
_LOCKS = re.compile(r"UPDATE (\w+) SET (\w+) = \2 WHERE")


class Writes:
    """Counts them, and ends the process at the one it is told."""

    def __init__(self) -> None:
        self.count = 0
        self.last = 0  #: the process ends right after so many; 0 is never
        self.counted: Callable[[str], None] = lambda _: None

    def note(self, what: str) -> None:
        self.count += 1
        self.counted(what)
        if self.count == self.last:
            os._exit(DIED)


WRITES = Writes()


class Cursor(sqlite3.Cursor):
    """Notices which statements changed rows."""

    text = ""
    before = 0

    def execute(self, text: str, *args: Any) -> Cursor:
        self.text, self.before = text, self.connection.total_changes
        super().execute(text, *args)
        return self

    def executemany(self, text: str, *args: Any) -> Cursor:
        self.text, self.before = text, self.connection.total_changes
        super().executemany(text, *args)
        self._look()
        return self

    def fetchall(self) -> list[Any]:
        rows = super().fetchall()  # until here SQLite may be at it
        self._look()
        return rows

    def _look(self) -> None:
        if self.connection.total_changes != self.before and _CHANGES.search(self.text) and not _LOCKS.match(self.text):
            self.before = self.connection.total_changes
            if isinstance(self.connection, Connection):
                self.connection.is_changed = self.connection.in_transaction
            WRITES.note(self.text)


class Connection(sqlite3.Connection):
    """A database file in a process that dies."""

    is_changed = False

    def execute(self, text: str, *args: Any) -> Cursor:
        return self.cursor(Cursor).execute(text, *args)

    def executemany(self, text: str, *args: Any) -> Cursor:
        return self.cursor(Cursor).executemany(text, *args)

    def commit(self) -> None:
        super().commit()
        if self.is_changed:
            self.is_changed = False
            WRITES.note("COMMIT")

    def rollback(self) -> None:
        super().rollback()
        self.is_changed = False


class Mortal:
    """A server on a data directory. It ends at its write number so-and-so, and can be started again to live on."""

    def __init__(self, data: Path, dies_at: int = 0) -> None:
        self.data = data
        self.deaths = 0
        self._begin(dies_at)

    def revive(self) -> None:
        """Start it again, if it died as it was told; any other end is a failure."""
        self._process.join(10)
        assert self._process.exitcode == DIED, f"the server ended with {self._process.exitcode}"
        self.deaths += 1
        self.api.close()
        self._begin(0)

    def written(self) -> list[str]:
        """What it has written so far."""
        self._pipe.send(None)
        counted: list[str] = self._pipe.recv()
        return counted

    def stop(self) -> None:
        self.api.close()
        self._process.kill()
        self._process.join()

    def _begin(self, dies_at: int) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(LOADED))
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=run, args=(self.data, dies_at, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self.api = Api(self._pipe.recv(), KEY)


def run(data: Path, dies_at: int, pipe: Pipe) -> None:
    """The server's process."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(serve(data, dies_at, pipe))


async def serve(data: Path, dies_at: int, pipe: Pipe) -> None:
    from corral.platform.settings import Settings
    from corral.web import app

    connect, counted = sqlite3.connect, list[str]()

    def mortal(*args: Any, **options: Any) -> sqlite3.Connection:
        return connect(*args, **options, factory=Connection)

    sqlite3.connect = mortal  # type: ignore[assignment]
    WRITES.counted = counted.append
    async with app.serve(Settings(data=data, port=0, bootstrap_key=KEY, rate_limit=0)) as server:
        WRITES.count, WRITES.last = 0, dies_at
        counted.clear()
        pipe.send(server.settings.url)
        while True:
            await asyncio.to_thread(pipe.recv)
            pipe.send(counted)
