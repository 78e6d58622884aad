"""`python -m bench.raw`: the raw baseline, an honest and fast lower bound of what the same work costs.

One Sanic process, a bearer check, one commit a job, no ORM, the store settings of the product: SQLite in WAL with
synchronous=NORMAL on the loop's own thread, or a pool of asyncpg. It knows no orgs, scopes, expiring leases, validation
or resuming. `--fanout direct` writes one encoded chunk to every watcher's transport; `--fanout tasks` is a queue and a
task for each.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import os
import secrets
import signal
import sqlite3
import time
import uuid
from collections import deque
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import asyncpg
import msgspec
import uvloop
from sanic import HTTPResponse, Request, Sanic
from sanic.response import raw as answer

_TABLES = """
CREATE TABLE jobs (
    no {serial}, id TEXT NOT NULL UNIQUE, status TEXT NOT NULL, prompt TEXT NOT NULL, cwd TEXT NOT NULL, lease TEXT,
    last_seq BIGINT NOT NULL DEFAULT 0, created_at BIGINT NOT NULL
);
CREATE INDEX jobs_ready ON jobs (no) WHERE status = 'queued';
CREATE TABLE events (
    job TEXT NOT NULL, seq BIGINT NOT NULL, type TEXT NOT NULL, payload TEXT NOT NULL, created_at BIGINT NOT NULL,
    PRIMARY KEY (job, seq)
);
"""
_INSERT = "INSERT INTO jobs (id, status, prompt, cwd, created_at) VALUES ({}, 'queued', {}, {}, {})"
_CLAIM = (
    "UPDATE jobs SET status = 'running', lease = {} WHERE no = (SELECT no FROM jobs WHERE status = 'queued' "
    "ORDER BY no LIMIT 1 {}) RETURNING id, prompt, cwd, lease"
)


class Submit(msgspec.Struct):
    input: str
    cwd: str


class PollBody(msgspec.Struct):
    wait_seconds: float


class Event(msgspec.Struct):
    type: str
    payload: msgspec.Raw


class Report(msgspec.Struct):
    lease: str
    events: list[Event]


class Job(NamedTuple):
    id: str
    prompt: str
    cwd: str
    lease: str


class Store(Protocol):
    async def submit(self, job: str, body: Submit) -> None: ...

    async def claim(self) -> Job | None: ...

    async def append(self, job: str, report: Report, now: int) -> int | None:
        """Return the last sequence, None if the lease is another."""


class Sqlite:
    """Statements run where the request does: a commit costs less than a hop to a thread."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "journal_size_limit=67108864"):
            self.connection.execute(f"PRAGMA {pragma}")
        self.connection.executescript(_TABLES.format(serial="INTEGER PRIMARY KEY"))

    async def submit(self, job: str, body: Submit) -> None:
        self.connection.execute(_INSERT.format(*"????"), (job, body.input, body.cwd, now_ms()))

    async def claim(self) -> Job | None:
        row = self.connection.execute(_CLAIM.format("?", ""), (secrets.token_urlsafe(32),)).fetchone()
        return Job(*row) if row else None

    async def append(self, job: str, report: Report, now: int) -> int | None:
        execute = self.connection.execute
        execute("BEGIN IMMEDIATE")
        row = execute(
            "UPDATE jobs SET last_seq = last_seq + ?, status = ? WHERE id = ? AND lease = ? RETURNING last_seq",
            (len(report.events), status(report), job, report.lease),
        ).fetchone()
        if row is not None:
            first = row[0] - len(report.events) + 1
            self.connection.executemany(
                "INSERT INTO events (job, seq, type, payload, created_at) VALUES (?, ?, ?, ?, ?)",
                [(job, seq, e.type, bytes(e.payload).decode(), now) for seq, e in enumerate(report.events, first)],
            )
        execute("COMMIT")
        return row[0] if row else None


class Postgres:
    """One statement a unit, so one round trip and one commit."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool

    async def submit(self, job: str, body: Submit) -> None:
        async with self.pool.acquire() as connection:
            await connection.execute(_INSERT.format("$1", "$2", "$3", "$4"), job, body.input, body.cwd, now_ms())

    async def claim(self) -> Job | None:
        async with self.pool.acquire() as connection:
            row = await connection.fetchrow(_CLAIM.format("$1", "FOR UPDATE SKIP LOCKED"), secrets.token_urlsafe(32))
        return Job(*row) if row else None

    async def append(self, job: str, report: Report, now: int) -> int | None:
        async with self.pool.acquire() as connection:
            last: int | None = await connection.fetchval(
                "WITH job AS (UPDATE jobs SET last_seq = last_seq + $3, status = $4 WHERE id = $1 AND lease = $2 "
                "RETURNING id, last_seq), stored AS (INSERT INTO events (job, seq, type, payload, created_at) "
                "SELECT id, last_seq - $3 + nth, type, payload, $7 FROM job, "
                "unnest($5::text[], $6::text[]) WITH ORDINALITY AS e(type, payload, nth)) SELECT last_seq FROM job",
                job,
                report.lease,
                len(report.events),
                status(report),
                [event.type for event in report.events],
                [bytes(event.payload).decode() for event in report.events],
                now,
            )
        return last


def status(report: Report) -> str:
    return "completed" if report.events[-1].type == "run.completed" else "running"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Direct:
    """Fan-out as cheap as it gets: the chunk is framed once and handed to each transport."""

    def __init__(self) -> None:
        self.watchers: dict[str, set[Any]] = {}

    async def watch(self, job: str, request: Request) -> None:
        response = await request.respond(content_type="text/event-stream")
        assert response is not None
        await response.send(": watching\n\n")
        watchers = self.watchers.setdefault(job, set())
        assert request.transport is not None
        watchers.add(request.transport)
        try:
            await asyncio.get_running_loop().create_future()  # ends when the client hangs up
        finally:
            watchers.discard(request.transport)

    def push(self, job: str, chunk: bytes) -> None:
        framed = b"%x\r\n%b\r\n" % (len(chunk), chunk)
        for transport in self.watchers.get(job, ()):
            transport.write(framed)


class Tasks:
    """Fan-out as it is commonly written: a queue and a waking task for each watcher."""

    def __init__(self) -> None:
        self.watchers: dict[str, set[asyncio.Queue[bytes]]] = {}

    async def watch(self, job: str, request: Request) -> None:
        response = await request.respond(content_type="text/event-stream")
        assert response is not None
        await response.send(": watching\n\n")
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        watchers = self.watchers.setdefault(job, set())
        watchers.add(queue)
        try:
            while True:
                await response.send(await queue.get())
        finally:
            watchers.discard(queue)

    def push(self, job: str, chunk: bytes) -> None:
        for queue in self.watchers.get(job, ()):
            queue.put_nowait(chunk)


class Waiting:
    """The polls that wait, oldest first."""

    def __init__(self) -> None:
        self.polls: deque[asyncio.Future[None]] = deque()

    def wake(self) -> None:
        while self.polls:
            poll = self.polls.popleft()
            if not poll.done():
                poll.set_result(None)
                return

    async def wait(self, seconds: float) -> None:
        poll: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.polls.append(poll)
        timer = asyncio.get_running_loop().call_later(seconds, _rouse, poll)
        try:
            await poll
        finally:
            timer.cancel()


def _rouse(poll: asyncio.Future[None]) -> None:
    if not poll.done():
        poll.set_result(None)


def application(  # noqa: C901 - one page, top to bottom
    store: Store, key: str, fanout: Direct | Tasks
) -> Sanic[Any, Any]:
    """Return the whole server."""
    app = Sanic("raw", configure_logging=False)
    app.config.ACCESS_LOG = False
    waiting = Waiting()
    wanted = sha256(key.encode()).digest()
    encode = msgspec.json.Encoder().encode
    submitted = msgspec.json.Decoder(Submit).decode
    polled = msgspec.json.Decoder(PollBody).decode
    reported = msgspec.json.Decoder(Report).decode

    def refused(request: Request) -> HTTPResponse | None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if hmac.compare_digest(sha256(token.encode()).digest(), wanted):
            return None
        return answer(b"", status=401)

    @app.get("/health")
    async def health(request: Request) -> HTTPResponse:
        return answer(b'"ok"')

    @app.post("/jobs")
    async def submit(request: Request) -> HTTPResponse:
        if refusal := refused(request):
            return refusal
        job = str(uuid.uuid4())
        await store.submit(job, submitted(request.body))
        waiting.wake()
        return answer(encode({"id": job}), status=201, content_type="application/json")

    @app.post("/poll")
    async def poll(request: Request) -> HTTPResponse:
        if refusal := refused(request):
            return refusal
        deadline = time.monotonic() + polled(request.body).wait_seconds
        while (job := await store.claim()) is None and (left := deadline - time.monotonic()) > 0:
            await waiting.wait(left)
        return answer(encode(job._asdict() if job else {}), content_type="application/json")

    @app.post("/jobs/<job>/events")
    async def events(request: Request, job: str) -> HTTPResponse:
        if refusal := refused(request):
            return refusal
        report = reported(request.body)
        now = now_ms()
        last = await store.append(job, report, now)
        if last is None:
            return answer(b"", status=409)
        if fanout.watchers:
            fanout.push(job, sse(job, report.events, last - len(report.events) + 1, now))
        return answer(encode({"n": last}), content_type="application/json")

    @app.get("/jobs/<job>/stream")
    async def stream(request: Request, job: str) -> HTTPResponse | None:
        if refusal := refused(request):
            return refusal
        await fanout.watch(job, request)
        return None

    return app


def sse(job: str, events: Sequence[Event], first: int, now: int) -> bytes:
    return "".join(
        [
            f'id: {seq}\ndata: {{"id":{seq},"run_id":"{job}","sequence":{seq},"event_type":"{event.type}",'
            f'"payload":{bytes(event.payload).decode()},"created_at":{now}}}\n\n'
            for seq, event in enumerate(events, first)
        ]
    ).encode()


async def serve(options: argparse.Namespace) -> None:
    if options.database.startswith("postgres"):
        pool = await asyncpg.create_pool(options.database, min_size=1, max_size=10, reset=keep)
        await pool.execute(_TABLES.format(serial="BIGSERIAL PRIMARY KEY"))
        store: Store = Postgres(pool)
    else:
        store = Sqlite(Path(options.database))
    app = application(store, os.environ["BENCH_KEY"], Tasks() if options.fanout == "tasks" else Direct())
    server = await app.create_server("127.0.0.1", options.port, return_asyncio_server=True, backlog=2048)
    assert server is not None
    await server.startup()  # type: ignore[no-untyped-call]
    await server.before_start()  # type: ignore[no-untyped-call]
    await server.start_serving()  # type: ignore[no-untyped-call]
    await server.after_start()  # type: ignore[no-untyped-call]
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    print("listening", flush=True)
    await stopped.wait()


async def keep(_connection: object) -> None:
    """Leave a connection as it is when it goes back to the pool, as the product does."""


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", required=True, help="a SQLite file, or a postgres:// URL")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--fanout", choices=("direct", "tasks"), default="direct")
    uvloop.run(serve(parser.parse_args()))
