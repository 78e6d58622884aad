"""A list of 50 out of 10,000 tasks: requests a second, beside a bare Sanic and Tortoise handler on the same rows."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg

from bench.client import Connection
from bench.report import Figure
from bench.servers import Bench, Corral
from tests.support import postgres
from tests.support.processes import Process, base_env, free_port

_TASKS, _SHOWN, _FIELDS = 10_000, 50, 13
_CLIENTS = 8
#: What copies of a task have as it has.
_SAME = (
    "org_id, title, input, assignee_id, created_by, priority, root_id, depth, retries, tries, content_hash, "
    "created_at, updated_at"
)
#: Of the copies of task 1 one in five has not been started, and the list says so; the others are done.
_COPY = (
    f"WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < {_TASKS}) "
    f"INSERT INTO tasks (id, status, result, {_SAME}) SELECT {{id}}, "
    "CASE WHEN i % 5 = 0 THEN 'pending' ELSE 'done' END, CASE WHEN i % 5 > 0 THEN 'All good' END, "
    f"{_SAME} FROM tasks, n WHERE no = 1"
)


async def listing(bench: Bench) -> list[Figure]:
    """Ask both for the newest page, with several clients at once."""
    rounds, seconds = (4, 1.0) if bench.quick else (8, 2.0)
    rates: dict[str, list[float]] = {"corral": [], "bare": []}
    with bench.place() as (folder, database):
        target = Corral(folder, database)
        try:
            await _fill(target, folder, database)
            with bare(folder, database) as (url, key):
                ours = [await Connection(target.url, target.key).open() for _ in range(_CLIENTS)]
                theirs = [await Connection(url, key).open() for _ in range(_CLIENTS)]
                for turn in range(rounds + 1):
                    corral = await rate(ours, f"/api/tasks?limit={_SHOWN}", seconds, _SHOWN)
                    plain = await rate(theirs, f"/tasks?limit={_SHOWN}&fields={_FIELDS}", seconds, _SHOWN)
                    if turn:  # the first warms up
                        rates["corral"].append(corral)
                        rates["bare"].append(plain)
        finally:
            target.stop()
    what = f"{_SHOWN} of {_TASKS:,}, beside a bare handler"
    return [Figure("task list", what, "req/s", median(rates["corral"]), median(rates["bare"]), at_least=0.7)]


async def rate(clients: list[Connection], path: str, seconds: float, shown: int) -> float:
    """Return the answers a second, of which each has so many rows."""
    began = time.perf_counter()

    async def ask(client: Connection) -> int:
        count = 0
        while time.perf_counter() - began < seconds:
            reply = await client.call("GET", path)
            count += 1
            assert reply.status == 200, reply.body
        assert len(rows(reply.json())) == shown, path
        return count

    counts = await asyncio.gather(*(ask(client) for client in clients))
    return sum(counts) / (time.perf_counter() - began)


def rows(answer: Any) -> list[Any]:
    """Return the rows of a list's answer, which stand in it alone or beside something."""
    if isinstance(answer, list):
        return answer
    return next(value for value in answer.values() if isinstance(value, list))


async def _fill(target: Corral, folder: Path, database: str) -> None:
    """Make one task through the API and the others as copies of it."""
    people = await Connection(target.url, target.key).open()
    agent = {"name": "Ada", "role": "r", "model": "m", "provider": "anthropic", "glyph": "x"}
    ada = (await people.call("POST", "/api/agents", agent)).json()
    task = {"title": "Write the release notes", "input": "Look at what changed since the last tag. " * 5}
    (await people.call("POST", "/api/tasks", {**task, "assignee": ada["id"]})).json()
    people.close()
    copy = _COPY.format(id="gen_random_uuid()::text" if database else "lower(hex(randomblob(18)))")
    if database:
        connection = await asyncpg.connect(database)
        await connection.execute(copy)
        await connection.execute("ANALYZE tasks")
        await connection.close()
    else:
        with closing(sqlite3.connect(folder / "data" / "corral.db")) as file:
            file.execute(copy)
            file.commit()


@contextmanager
def bare(folder: Path, database: str) -> Iterator[tuple[str, str]]:
    """The bare handler, on the same database."""
    port, key = free_port(), secrets.token_urlsafe(32)
    where = ("--data", str(folder / "data"), "--database", database, "--port", str(port))
    process = Process(
        "bare",
        [sys.executable, "-m", "bench.bare", *where],
        env={**base_env(folder), "BENCH_KEY": key},
        log=folder / "bare.log",
        cwd=postgres.REPOSITORY,
    )
    process.start()
    try:
        process.wait_for_line("listening")
        yield f"http://127.0.0.1:{port}", key
    finally:
        process.stop()
