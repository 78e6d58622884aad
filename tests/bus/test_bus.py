"""One contract for both buses: hints reach whoever listens, soon, and never harm who publishes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from corral.bus import Bus
from corral.bus.memory import MemoryBus
from corral.bus.redis import RedisBus
from tests.support.redis import Redis
from tests.support.waiting import PATIENCE


class Pair:
    """Two servers' buses (the same one, where there is only one process)."""

    def __init__(self, here: Bus, there: Bus) -> None:
        self.here, self.there = here, there


@pytest.fixture(params=["memory", "redis"])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    buses: list[Bus]
    if request.param == "memory":
        buses = [MemoryBus()] * 2
    else:
        redis: Redis = request.getfixturevalue("redis")
        buses = [RedisBus(redis.url), RedisBus(redis.url)]
    for bus in set(buses):
        await bus.start()
    yield Pair(*buses)
    for bus in set(buses):
        await bus.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10 * PATIENCE):
        while not condition():  # noqa: ASYNC110 - the condition is another server's
            await asyncio.sleep(0.01)


async def connected(pair: Pair, topic: str) -> None:
    """Wait until the other server hears what is published here."""
    heard: list[bytes] = []
    stop = pair.there.listen(topic, heard.append)
    async with asyncio.timeout(10 * PATIENCE):
        while not heard:
            pair.here.publish(topic, b"?")
            await asyncio.sleep(0.05)
    stop()


async def test_a_hint_reaches_listeners_of_its_topic_in_every_process_in_order(pair: Pair) -> None:
    await connected(pair, "warm")
    here: list[bytes] = []
    there: list[bytes] = []
    pair.here.listen("a", here.append)
    pair.there.listen("a", there.append)
    await connected(pair, "a")
    here.clear()
    there.clear()
    for n in range(50):
        pair.here.publish("a", b"%d" % n)
    pair.here.publish("b", b"other")
    expected = [b"%d" % n for n in range(50)]
    assert here == expected
    await until(lambda: expected[-1] in there)
    assert [hint for hint in there if hint != b"?"] == expected


async def test_topics_that_come_and_go_while_the_bus_connects_are_heard(
    redis: Redis,
) -> None:
    here, there = RedisBus(redis.url), RedisBus(redis.url)
    await here.start()
    await there.start()
    heard: set[str] = set()
    try:
        for n in range(20):
            stop = there.listen(f"t{n}", lambda _hint, topic=f"t{n}": heard.add(topic))  # type: ignore[misc]
            await asyncio.sleep(0)
            if n % 2:
                stop()
                there.listen(f"t{n}", lambda _hint, topic=f"t{n}": heard.add(topic))  # type: ignore[misc]
        async with asyncio.timeout(10 * PATIENCE):
            while len(heard) < 20:
                for n in range(20):
                    here.publish(f"t{n}")
                await asyncio.sleep(0.05)
    finally:
        await here.stop()
        await there.stop()


async def test_data_is_made_only_when_somebody_might_listen(pair: Pair) -> None:
    if isinstance(pair.here, RedisBus):
        pytest.skip("other servers may listen, so it is always made")
    made: list[int] = []

    def make() -> bytes:
        made.append(1)
        return b""

    pair.here.publish("a", make)
    assert made == []


async def test_who_stopped_listening_hears_nothing_more_and_may_stop_twice(pair: Pair) -> None:
    heard: list[bytes] = []
    stop = pair.here.listen("a", heard.append)
    pair.here.publish("a", b"1")
    stop()
    stop()
    pair.here.publish("a", b"2")
    assert heard == [b"1"]


async def test_a_listener_that_fails_does_not_keep_the_others_from_hearing(pair: Pair) -> None:
    heard: list[bytes] = []

    def fail(_hint: bytes) -> None:
        raise ValueError

    pair.here.listen("a", fail)
    pair.here.listen("a", heard.append)
    pair.here.publish("a", b"1")
    assert heard == [b"1"]


async def test_publishing_goes_on_while_redis_is_away_and_hints_flow_again_when_it_is_back(own_redis: Redis) -> None:
    here, there = RedisBus(own_redis.url), RedisBus(own_redis.url)
    process = own_redis.process
    assert process is not None
    await here.start()
    await there.start()
    pair = Pair(here, there)
    try:
        await connected(pair, "a")
        process.kill()
        heard: list[bytes] = []
        here.listen("a", heard.append)
        here.publish("a", b"alone")
        assert heard == [b"alone"]
        assert not await here.healthy()
        process.start()
        await connected(pair, "a")
        assert await here.healthy()
    finally:
        await here.stop()
        await there.stop()
