from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
from redis.asyncio import Redis as Client

from corral.base.ids import new_id
from corral.platform.limits import Verdict
from corral.platform.shared_limits import SharedLimiter
from tests.support.redis import Redis
from tests.support.waiting import PATIENCE, eventually


@pytest.fixture
async def three(redis: Redis) -> AsyncIterator[list[SharedLimiter]]:
    """The limiters of three servers."""
    made = [SharedLimiter(redis.url) for _ in range(3)]
    for limiter in made:
        await limiter.start()
    yield made
    for limiter in made:
        await limiter.stop()


@pytest.fixture
async def one(own_redis: Redis) -> AsyncIterator[SharedLimiter]:
    made = SharedLimiter(own_redis.url)
    await made.start()
    yield made
    await made.stop()


async def ask(limiter: SharedLimiter, who: str, limit: int) -> Verdict:
    told = limiter.hit(who, limit)
    return told if isinstance(told, Verdict) else await told


async def back(limiter: SharedLimiter) -> None:
    """Return when requests are counted by Redis again."""
    await asyncio.to_thread(eventually, lambda: limiter._line is not None, what="Redis is asked")


@contextmanager
def frozen(redis: Redis) -> Iterator[None]:
    """A Redis that takes what it is sent and never answers."""
    assert redis.process is not None
    os.kill(redis.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(redis.process.pid, signal.SIGCONT)


async def test_of_240_at_once_at_three_servers_120_pass(three: list[SharedLimiter]) -> None:
    who = new_id()
    told = await asyncio.gather(*(ask(three[n % 3], who, 120) for n in range(240)))
    assert sum(verdict.passes for verdict in told) == 120
    assert sorted(verdict.remaining for verdict in told if verdict.passes) == list(range(120))
    refused = [verdict for verdict in told if not verdict.passes]
    assert {verdict.remaining for verdict in refused} == {0}
    assert all(55 <= verdict.reset <= 60 for verdict in refused)


async def test_a_refused_request_does_not_count_and_a_key_expires_with_its_window(
    three: list[SharedLimiter], redis: Redis
) -> None:
    who = new_id()
    assert (await ask(three[0], who, 1)).passes
    assert not (await ask(three[1], who, 1)).passes
    async with Client.from_url(redis.url) as client:
        assert await client.llen(f"corral:limit:{who}") == 1
        assert 0 < await client.pttl(f"corral:limit:{who}") <= 60_000


async def test_what_is_older_than_a_minute_on_the_clock_of_redis_has_fallen_out(
    three: list[SharedLimiter], redis: Redis
) -> None:
    who = new_id()
    async with Client.from_url(redis.url) as client:
        seconds, micros = await client.time()
        now = seconds * 1_000_000 + micros
        ages = [61, 60, 30, 20, 10]
        await client.rpush(f"corral:limit:{who}", *(now - age * 1_000_000 for age in ages))
    verdict = await ask(three[0], who, 4)
    assert (verdict.passes, verdict.remaining) == (True, 0)
    assert 28 <= verdict.reset <= 30
    refused = await ask(three[1], who, 2)  # lowered: three have to fall out before another passes
    assert not refused.passes
    assert 48 <= refused.reset <= 50


async def test_a_clock_of_redis_that_was_set_back_keeps_nobody_out(three: list[SharedLimiter], redis: Redis) -> None:
    who = new_id()
    async with Client.from_url(redis.url) as client:
        seconds, _ = await client.time()
        await client.rpush(f"corral:limit:{who}", *((seconds + 3600) * 1_000_000 for _ in range(2)))
    assert [(await ask(three[0], who, 2)).passes for _ in range(3)] == [True, True, False]


async def test_a_flush_merely_forgets_the_window(one: SharedLimiter, own_redis: Redis) -> None:
    assert [(await ask(one, "k", 1)).passes for _ in range(2)] == [True, False]
    async with Client.from_url(own_redis.url) as client:
        await client.flushall()
    assert [(await ask(one, "k", 1)).passes for _ in range(2)] == [True, False]


async def test_a_redis_that_forgot_the_script_is_told_it_again(one: SharedLimiter, own_redis: Redis) -> None:
    async with Client.from_url(own_redis.url) as client:
        await client.script_flush()
    assert (await ask(one, "k", 1)).passes
    await back(one)


async def test_while_redis_is_away_each_server_counts_alone_and_goes_on_from_what_it_knew(
    one: SharedLimiter, own_redis: Redis
) -> None:
    assert own_redis.process is not None
    for _ in range(2):
        assert (await ask(one, "k", 3)).passes
    own_redis.process.kill()
    began = time.monotonic()
    told = [await ask(one, "k", 3) for _ in range(20)]
    assert time.monotonic() - began < 3 * PATIENCE  # and not half a second for each
    assert [verdict.passes for verdict in told] == [True] + [False] * 19
    own_redis.process.start()
    await back(one)
    assert (await ask(one, "k", 3)).passes


async def test_a_redis_that_hangs_is_noticed_within_half_a_second_and_once(
    one: SharedLimiter, own_redis: Redis
) -> None:
    with frozen(own_redis):
        began = time.monotonic()
        told = await asyncio.gather(*(ask(one, str(n), 1) for n in range(50)))
        assert all(verdict.passes for verdict in told)
        assert time.monotonic() - began < 5 * PATIENCE
        assert isinstance(one.hit("another", 1), Verdict)  # at once
    await back(one)


async def test_a_server_starts_without_redis_and_finds_it_when_it_comes(own_redis: Redis) -> None:
    assert own_redis.process is not None
    own_redis.process.kill()
    limiter = SharedLimiter(own_redis.url)
    await limiter.start()
    try:
        assert isinstance(limiter.hit("k", 1), Verdict)
        own_redis.process.start()
        await back(limiter)
    finally:
        await limiter.stop()


async def test_a_redis_that_takes_no_writes_fails_no_request(one: SharedLimiter, own_redis: Redis) -> None:
    async with Client.from_url(own_redis.url) as client:
        await client.config_set("maxmemory", "1")
        assert [(await ask(one, "k", 1)).passes for _ in range(2)] == [True, False]
