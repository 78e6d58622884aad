"""What a request costs: on two servers beside one, and among 10,000 keys and 1,000 orgs beside a few.

Processor time of the servers' processes, on PostgreSQL and Redis whatever `--store` says, with limits that count.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench.client import Connection
from bench.lists import copies, run
from bench.report import Figure
from bench.servers import CWD, Bench
from corral.platform.keys import digest
from corral.platform.models import ApiKey, Org
from tests.support import redis
from tests.support.server import Server

_KEYS, _ORGS = 10_000, 1_000
_CLIENTS = 8
#: More than anybody sends here: each request is counted, and none refused.
_LIMIT = "1000000"
_LAUNCH = {"prompt": "Say hello", "cwd": CWD}


class Place(NamedTuple):
    """Servers that share a database and a Redis."""

    folder: Path
    url: str
    servers: list[Server]


async def servers(bench: Bench) -> list[Figure]:
    """Send the same requests to one server, and to two in turns, as a proxy would."""
    async with _places(bench, 1, 2) as (one, two):
        alone, both = await _in_turns([(one, [one.servers[0].key]), (two, [two.servers[0].key])], bench)
    return [Figure("many servers", "a request on two, beside one", "ms CPU", both, alone, at_most=1.1)]


async def keys(bench: Bench) -> list[Figure]:
    """Send the same requests to a server with a few keys and orgs, and to one with very many."""
    async with _places(bench, 1, 1) as (few, full):
        tokens = [f"crl_live_{secrets.token_urlsafe(32)}" for _ in range(1000)]
        await _fill(full, tokens)
        small, large = await _in_turns(
            [(few, [few.servers[0].key]), (full, [full.servers[0].key])], bench
        )  # fmt: skip
        (others,) = await _in_turns([(full, tokens)], bench)
    what = f"{_KEYS:,} keys, {_ORGS:,} orgs"
    return [
        Figure("many keys", f"a request among {what}, beside one", "ms CPU", large, small, at_most=1.1),
        Figure("many keys", "the same from a thousand of these keys by turns", "ms CPU", others, small),
    ]


async def _in_turns(places: Sequence[tuple[Place, list[str]]], bench: Bench) -> list[float]:
    """Return what a request costs in each place, in ms of processor time."""
    rounds, seconds = (3, 1.0) if bench.quick else (5, 2.0)
    costs: list[list[float]] = [[] for _ in places]
    for turn in range(rounds + 1):
        for (place, tokens), cost in zip(places, costs, strict=True):
            took = await _cost(place, tokens, seconds)
            if turn:  # the first warms up
                cost.append(took)
    return [median(cost) for cost in costs]


async def _cost(place: Place, tokens: list[str], seconds: float) -> float:
    """Send requests round robin for a while, each client with every key in turn."""
    before = sum(_used(server) for server in place.servers)
    until = time.perf_counter() + seconds

    async def client(number: int) -> int:
        mine = tokens[number::_CLIENTS] or tokens[:1]
        opened = {
            (key, turn): await Connection(server.url, key).open()
            for key in mine
            for turn, server in enumerate(place.servers)
        }
        count = 0
        try:
            while time.perf_counter() < until:
                turn = (number + count) % len(place.servers)
                await _ask(opened[mine[count % len(mine)], turn])
                count += 1
        finally:
            for connection in opened.values():
                connection.close()
        return count

    done = sum(await asyncio.gather(*(client(number) for number in range(_CLIENTS))))
    return (sum(_used(server) for server in place.servers) - before) / (3 * done) * 1000


async def _ask(connection: Connection) -> None:
    """A launch, a look at it, and a list."""
    run_id = (await connection.call("POST", "/api/v1/runs", _LAUNCH)).json()["id"]
    (await connection.call("GET", f"/api/v1/runs/{run_id}")).json()
    (await connection.call("GET", "/api/v1/runs?limit=10")).json()


def _used(server: Server) -> float:
    """Return the seconds of processor time that a server has taken."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _fill(place: Place, tokens: list[str]) -> None:
    """Spread keys over orgs, ten in each; some of them have these tokens."""
    other = {"id": "{id}", "hash": "{id}", "org_id": f"i % {_ORGS} + 1"}
    statements = [
        copies(Org, {"name": "'org ' || i", "id": "id + i"}, _ORGS, own=False),
        copies(ApiKey, {**other, "user_id": "NULL"}, _KEYS),
    ]
    for number, token in enumerate(tokens):
        statements.append(
            f"UPDATE api_keys SET hash = '{digest(token)}' "
            f"WHERE id = (SELECT id FROM api_keys WHERE user_id IS NULL ORDER BY id LIMIT 1 OFFSET {number})"
        )
    await run(statements, place.folder, place.url)


@asynccontextmanager
async def _places(bench: Bench, *counts: int) -> AsyncIterator[list[Place]]:
    """Start so many servers each, on a database and a Redis of their own."""
    many = Bench("postgres", quick=bench.quick)
    try:
        with ExitStack() as stack:
            places = []
            for count in counts:
                folder, url = stack.enter_context(many.place())
                folder.mkdir()
                store = redis.start(folder, own=True)
                assert store.process is not None
                stack.callback(store.process.stop)
                env = {"CORRAL_DATABASE_URL": url, "CORRAL_REDIS_URL": store.url, "CORRAL_RATE_LIMIT": _LIMIT}
                started: list[Server] = []
                for number in range(count):
                    server = Server(folder / str(number), env=env)
                    started.append(await asyncio.to_thread(server.start))
                    stack.callback(server.stop)
                places.append(Place(folder, url, started))
            yield places
    finally:
        many.close()
