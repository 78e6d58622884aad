"""From a message's sending to the call of its handler, beside a commit and a Redis stream by themselves. In process."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg
from redis.asyncio import Redis

from bench.raw import keep
from bench.report import Figure
from bench.servers import Bench
from bench.watch import at_rank
from corral import bus
from corral.agents import mail, roster
from corral.agents.mail import Letter, MessageType
from corral.base.ids import new_id
from corral.bus.redis import RedisBus
from corral.platform import database, orgs
from corral.platform.settings import Settings
from corral.runs.hints import decide
from tests.support import redis

_STREAM, _GROUP = "raw:mail", "raw"
_TABLES = (
    "CREATE TABLE inboxes (receiver TEXT PRIMARY KEY, seq BIGINT NOT NULL)",
    "CREATE TABLE mail (no {serial}, receiver TEXT NOT NULL, seq BIGINT NOT NULL, text TEXT NOT NULL)",
    "INSERT INTO inboxes VALUES ('ada', 0)",
)
_NUMBER = "UPDATE inboxes SET seq = seq + 1 WHERE receiver = {} RETURNING seq"
_STORE = "INSERT INTO mail (receiver, seq, text) VALUES ({}, {}, {})"

#: Commits a message for a receiver.
Commit = Callable[[], Coroutine[Any, Any, None]]
#: Sends a message, and returns once its handler was called.
Send = Callable[[], Coroutine[Any, Any, None]]


async def latency(bench: Bench) -> list[Figure]:
    """Send one message at a time."""
    rounds, messages = (6, 100) if bench.quick else (15, 200)
    folder = bench.folder / "mail"
    folder.mkdir()
    server = redis.start(folder, own=True)
    waited: dict[str, list[int]] = {"raw": [], "corral": []}
    try:
        async with _raw(bench, server.url) as raw, _corral(bench, server.url) as corral:
            for send in (raw, corral):
                await _timed(send, 100)  # warm
            # In turns, because the machine is not equally quick all the time.
            for _ in range(rounds):
                waited["raw"] += await _timed(raw, messages)
                waited["corral"] += await _timed(corral, messages)
    finally:
        if server.process:
            server.process.stop()
    ours, theirs = sorted(waited["corral"]), sorted(waited["raw"])
    return [
        Figure("mail", "sent to handled, p50", "ms", median(ours) / 1e6, median(theirs) / 1e6, at_most=2.0),
        Figure("mail", "sent to handled, p99", "ms", at_rank(ours, 0.99), at_rank(theirs, 0.99)),
    ]


async def _timed(send: Send, messages: int) -> list[int]:
    """Return the nanoseconds that each took."""
    waited = []
    for _ in range(messages):
        await asyncio.sleep(0.001)  # the reader has come back and waits
        began = time.perf_counter_ns()
        await send()
        waited.append(time.perf_counter_ns() - began)
    return waited


@asynccontextmanager
async def _corral(bench: Bench, redis_url: str) -> AsyncIterator[Send]:
    """An agent's mail, sent and heard of by one process."""
    heard = asyncio.Event()

    async def handle(_receiver: str) -> None:
        heard.set()

    with bench.place() as (folder, url):
        folder.mkdir(exist_ok=True)
        settings = Settings(data=folder, database_url=url)
        await database.connect(settings)
        channel = RedisBus(redis_url)
        bus.use(channel)
        channel.receive(handle)
        await channel.start()
        try:
            org_id = (await orgs.bootstrap(settings)).org_id
            fields = {"name": "Ada", "role": "r", "glyph": "x", "cli_name": "claude-code", "allowed_tools": ""}
            agent = await roster.create(org_id, new_id(), {**fields, "provider_config": {}})

            async def send() -> None:
                heard.clear()
                letter = Letter(type=MessageType.NOTE, sender=agent.id, receiver=agent.id, text="Hello")
                await decide(partial(mail.send, org_id, letter))
                await heard.wait()

            yield send
        finally:
            await channel.stop()
            await database.disconnect()


@asynccontextmanager
async def _raw(bench: Bench, redis_url: str) -> AsyncIterator[Send]:
    """The same message in one transaction, then XADD; a second connection waits in XREADGROUP."""
    heard = asyncio.Event()
    writer, reader = Redis.from_url(redis_url), Redis.from_url(redis_url)
    await writer.xgroup_create(_STREAM, _GROUP, id="0", mkstream=True)

    async def read() -> None:
        while True:
            if await reader.xreadgroup(_GROUP, "one", {_STREAM: ">"}, count=100, block=2000):
                heard.set()

    reading = asyncio.create_task(read())
    with bench.place() as (folder, url):
        folder.mkdir(exist_ok=True)
        async with _postgres(url) if url else _sqlite(folder) as commit:

            async def send() -> None:
                heard.clear()
                await commit()
                await writer.xadd(_STREAM, {"to": "ada"})
                await heard.wait()

            try:
                yield send
            finally:
                reading.cancel()
                with suppress(asyncio.CancelledError):
                    await reading
                await writer.aclose()
                await reader.aclose()


@asynccontextmanager
async def _sqlite(folder: Path) -> AsyncIterator[Commit]:
    connection = sqlite3.connect(folder / "raw.db", isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")
    for table in _TABLES:
        connection.execute(table.format(serial="INTEGER PRIMARY KEY"))

    async def commit() -> None:
        connection.execute("BEGIN IMMEDIATE")
        (seq,) = connection.execute(_NUMBER.format("?"), ("ada",)).fetchone()
        connection.execute(_STORE.format(*"???"), ("ada", seq, "Hello"))
        connection.commit()

    yield commit
    connection.close()


@asynccontextmanager
async def _postgres(url: str) -> AsyncIterator[Commit]:
    async with asyncpg.create_pool(url, min_size=1, max_size=10, reset=keep) as pool:
        for table in _TABLES:
            await pool.execute(table.format(serial="BIGSERIAL PRIMARY KEY"))

        async def commit() -> None:
            async with pool.acquire() as connection, connection.transaction():
                seq = await connection.fetchval(_NUMBER.format("$1"), "ada")
                await connection.execute(_STORE.format("$1", "$2", "$3"), "ada", seq, "Hello")

        yield commit
