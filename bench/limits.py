"""What does a limit check cost? In memory, and over all servers in Redis beside a bare round trip to it."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median, quantiles

from redis.asyncio import Redis as Client

from bench.report import Figure
from bench.servers import Bench
from corral.platform.limits import MemoryLimiter, Verdict
from corral.platform.shared_limits import SharedLimiter
from tests.support import redis

_KEYS, _LIMIT = 1000, 120
#: Checks, and rounds of them: ours and the raw ones take turns, because the machine is not always as quick.
_CHECKS, _ROUNDS = 2000, 5
_AT_ONCE = 32


async def checks(bench: Bench) -> list[Figure]:
    """Check the requests of a thousand keys, one after the other, and many at once."""
    count = _CHECKS // (4 if bench.quick else 1)
    memory = MemoryLimiter()

    async def embedded(n: int) -> None:
        memory.hit(_who(n), _LIMIT)

    alone = await _times(embedded, count * 10)
    with tempfile.TemporaryDirectory(prefix="corral-") as folder:
        server = redis.start(Path(folder), own=True)
        assert server.process is not None
        limiter, client = SharedLimiter(server.url), Client.from_url(server.url)
        await limiter.start()
        try:

            async def shared(n: int) -> None:
                told = limiter.hit(_who(n), _LIMIT)
                assert not isinstance(told, Verdict)
                await told

            async def raw(_: int) -> None:
                await client.ping()

            await _times(raw, 100)
            ours, bare, crowd = [], [], []
            for _ in range(_ROUNDS):
                bare.append(await _times(raw, count))
                ours.append(await _times(shared, count))
                began = time.perf_counter()
                await asyncio.gather(*(_times(shared, count // _AT_ONCE) for _ in range(_AT_ONCE)))
                crowd.append(count // _AT_ONCE * _AT_ONCE / (time.perf_counter() - began))
        finally:
            await limiter.stop()
            await client.aclose()
            server.process.stop()
    of = f"of {_KEYS:,} keys"
    return [
        Figure("limits", f"a check {of} in memory, p99", "µs", _p99(alone) * 1e6, at_most=50),
        Figure("limits", f"a check {of} in Redis, p99", "ms", median(map(_p99, ours)) * 1e3, at_most=1),
        Figure(
            "limits", f"a check {of} in Redis, p99, beside PING", "ms",
            median(map(_p99, ours)) * 1e3, median(map(_p99, bare)) * 1e3,
        ),
        Figure("limits", f"a check {of} in Redis, median, beside PING", "ms", _mid(ours) * 1e3, _mid(bare) * 1e3),
        Figure("limits", f"checks {of} in Redis, {_AT_ONCE} at once", "1/s", median(crowd)),
    ]  # fmt: skip


async def _times(check: Callable[[int], Awaitable[None]], count: int) -> list[float]:
    taken = []
    for n in range(count):
        began = time.perf_counter()
        await check(n)
        taken.append(time.perf_counter() - began)
    return taken


def _who(n: int) -> str:
    return f"key-{n % _KEYS}"


def _p99(taken: list[float]) -> float:
    return quantiles(taken, n=100)[98]


def _mid(rounds: list[list[float]]) -> float:
    return median(median(one) for one in rounds)
