"""One contract for both buses' mail: who has some gets a turn soon, never two at a time, and again if one failed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Protocol

import pytest
from redis.asyncio import Redis as Client

from corral.bus import Bus
from corral.bus.memory import MemoryBus
from corral.bus.redis import RedisBus
from tests.support.redis import Redis
from tests.support.waiting import PATIENCE

#: What is 15 s in earnest.
SOON = 0.3


class Office:
    """A server's handler, of which a test decides what it does."""

    def __init__(self) -> None:
        self.handled: list[str] = []
        self.at_work: Counter[str] = Counter()
        self.most_at_work: Counter[str] = Counter()
        self.ended = 0
        self.work: Callable[[str], Coroutine[Any, Any, None]] | None = None

    async def handle(self, receiver: str) -> None:
        self.handled.append(receiver)
        self.at_work[receiver] += 1
        self.most_at_work[receiver] = max(self.most_at_work[receiver], self.at_work[receiver])
        self.most_at_work["all"] = max(self.most_at_work["all"], self.at_work.total())
        try:
            if self.work is not None:
                await self.work(receiver)
        finally:
            self.at_work[receiver] -= 1
            self.ended += 1


class Open(Protocol):
    async def __call__(self, office: Office | None) -> Bus: ...


@pytest.fixture(params=["memory", "redis"])
async def open_bus(request: pytest.FixtureRequest) -> AsyncIterator[Open]:
    """Make a server's bus; without an office it only posts."""
    opened: list[Bus] = []

    async def make(office: Office | None) -> Bus:
        bus: Bus
        if request.param == "memory":
            bus = opened[0] if opened else MemoryBus(pause=SOON)
        else:
            bus = RedisBus(request.getfixturevalue("own_redis").url, claim_after=SOON)
        if office is not None:
            bus.receive(office.handle)
        if bus not in opened:
            await bus.start()
        opened.append(bus)
        return bus

    yield make
    for bus in dict.fromkeys(opened):
        await bus.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20 * PATIENCE):
        while not condition():  # noqa: ASYNC110 - the condition is another server's
            await asyncio.sleep(0.01)


async def test_whoever_has_mail_is_looked_after(open_bus: Open) -> None:
    office = Office()
    bus = await open_bus(office)
    for n in range(50):
        bus.mail(f"agent-{n}")
    await until(lambda: set(office.handled) == {f"agent-{n}" for n in range(50)})


async def test_mail_that_comes_during_a_turn_gets_another_turn_and_all_of_it_together_just_one(open_bus: Open) -> None:
    office, go_on = Office(), asyncio.Event()

    async def work(_receiver: str) -> None:
        await go_on.wait()

    office.work = work
    bus = await open_bus(office)
    bus.mail("a")
    await until(lambda: office.handled == ["a"])
    for _ in range(20):
        bus.mail("a")
    bus.mail("b")
    await until(lambda: "b" in office.handled)  # what was posted before is there as well
    go_on.set()
    await until(lambda: office.ended == 3)
    bus.mail("c")
    await until(lambda: office.ended == 4)
    assert Counter(office.handled) == {"a": 2, "b": 1, "c": 1}
    assert office.most_at_work["a"] == 1


async def test_receivers_are_looked_after_side_by_side_but_not_without_bounds(open_bus: Open) -> None:
    office, go_on = Office(), asyncio.Event()

    async def work(_receiver: str) -> None:
        await go_on.wait()

    office.work = work
    bus = await open_bus(office)
    for n in range(600):
        bus.mail(f"agent-{n}")
    await until(lambda: len(office.handled) == 16)
    go_on.set()
    await until(lambda: office.ended == 600)
    assert office.most_at_work["all"] == 16
    assert len(set(office.handled)) == 600


async def test_what_failed_is_tried_again_and_keeps_nobody_else_waiting(open_bus: Open) -> None:
    office = Office()

    async def work(receiver: str) -> None:
        if receiver == "bad" and office.handled.count("bad") < 3:
            raise ValueError

    office.work = work
    bus = await open_bus(office)
    bus.mail("bad")
    bus.mail("good")
    await until(lambda: office.handled.count("bad") == 3)
    assert office.handled.count("good") == 1
    bus.mail("good")
    await until(lambda: office.handled.count("good") == 2)
    assert office.handled.count("bad") == 3  # and no more, once it went well


async def test_a_bus_that_stops_lets_turns_end_and_begins_no_more(open_bus: Open) -> None:
    office, go_on = Office(), asyncio.Event()

    async def work(_receiver: str) -> None:
        await go_on.wait()

    office.work = work
    bus = await open_bus(office)
    bus.mail("a")
    await until(lambda: office.handled == ["a"])
    bus.mail("a")
    stopping = asyncio.create_task(bus.stop())
    await asyncio.sleep(0)
    go_on.set()
    await stopping
    bus.mail("b")
    await asyncio.sleep(0)
    assert office.handled == ["a"]
    assert office.ended == 1


async def test_a_turn_that_does_not_end_is_cut_off_at_the_stop(open_bus: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corral.bus.mailroom._GRACE", 0.05)
    office = Office()

    async def work(_receiver: str) -> None:
        await asyncio.Event().wait()

    office.work = work
    bus = await open_bus(office)
    bus.mail("a")
    await until(lambda: office.handled == ["a"])
    await bus.stop()
    assert office.ended == 1


async def test_mail_without_anybody_to_handle_it_does_no_harm(open_bus: Open) -> None:
    bus = await open_bus(None)
    bus.mail("a")


async def test_two_servers_share_the_mail(own_redis: Redis) -> None:
    offices = [Office(), Office()]
    buses = [RedisBus(own_redis.url), RedisBus(own_redis.url)]
    for bus, office in zip(buses, offices, strict=True):
        bus.receive(office.handle)
        await bus.start()
    try:
        sent = [f"agent-{n}" for n in range(200)]
        for receiver in sent:
            buses[0].mail(receiver)
            await asyncio.sleep(0)
        await until(lambda: sum(office.ended for office in offices) == 200)
        assert sorted(offices[0].handled + offices[1].handled) == sorted(sent)
        await until_acknowledged(own_redis)
    finally:
        for bus in buses:
            await bus.stop()


async def test_mail_that_a_dead_server_held_is_claimed_by_another(own_redis: Redis) -> None:
    office = Office()
    async with posting(own_redis) as client:
        await client.xgroup_create("corral:mail", "corral", id="0", mkstream=True)
        for receiver in ("a", "b"):
            await client.xadd("corral:mail", {"to": receiver})
        await client.xreadgroup("corral", "dead", {"corral:mail": ">"})
        bus = RedisBus(own_redis.url, claim_after=SOON)
        bus.receive(office.handle)
        await bus.start()
        try:
            await until(lambda: sorted(office.handled) == ["a", "b"])
            await until_acknowledged(own_redis)
        finally:
            await bus.stop()


async def test_mail_whose_turn_was_cut_off_by_a_stop_goes_to_another_server(
    own_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corral.bus.mailroom._GRACE", 0.05)
    stuck, other = Office(), Office()

    async def work(_receiver: str) -> None:
        await asyncio.Event().wait()

    stuck.work = work
    first, second = RedisBus(own_redis.url, claim_after=SOON), RedisBus(own_redis.url, claim_after=SOON)
    first.receive(stuck.handle)
    await first.start()
    first.mail("a")
    await until(lambda: stuck.handled == ["a"])
    second.receive(other.handle)
    await second.start()
    try:
        await first.stop()
        await until(lambda: other.handled == ["a"])
    finally:
        await second.stop()


async def test_a_turn_that_takes_long_stays_with_its_server(own_redis: Redis) -> None:
    office, go_on = Office(), asyncio.Event()

    async def work(_receiver: str) -> None:
        await go_on.wait()

    office.work = work
    bus = RedisBus(own_redis.url, claim_after=SOON)
    bus.receive(office.handle)
    await bus.start()
    try:
        bus.mail("a")
        await until(lambda: office.handled == ["a"])
        idle = [0]
        async with posting(own_redis) as client, asyncio.timeout(20 * PATIENCE):
            while idle[-1] >= max(idle):  # until it is held anew, which is what keeps others from claiming it
                (held,) = await client.xpending_range("corral:mail", "corral", "-", "+", 10)
                idle.append(int(held["time_since_delivered"]))
                await asyncio.sleep(0.01)
        go_on.set()
        await until_acknowledged(own_redis)
        assert office.handled == ["a"]
    finally:
        await bus.stop()


async def test_mail_flows_again_after_redis_was_flushed_or_killed(own_redis: Redis) -> None:
    office = Office()
    bus = RedisBus(own_redis.url, claim_after=SOON)
    bus.receive(office.handle)
    await bus.start()
    process = own_redis.process
    assert process is not None
    try:
        bus.mail("before")
        await until(lambda: office.handled == ["before"])
        for n in range(3):
            async with posting(own_redis) as client:
                await client.flushall()
            await handled_at_last(bus, office, f"flushed-{n}")
        process.kill()
        bus.mail("lost")
        process.start()
        await handled_at_last(bus, office, "restarted")
    finally:
        await bus.stop()


async def test_an_entry_that_was_trimmed_while_it_was_held_is_forgotten(own_redis: Redis) -> None:
    async with posting(own_redis) as client:
        await client.xgroup_create("corral:mail", "corral", id="0", mkstream=True)
        await client.xadd("corral:mail", {"to": "a"})
        await client.xreadgroup("corral", "dead", {"corral:mail": ">"})
        await client.xtrim("corral:mail", maxlen=0)
        office = Office()
        bus = RedisBus(own_redis.url, claim_after=SOON)
        bus.receive(office.handle)
        await bus.start()
        try:
            await until_acknowledged(own_redis)
            assert office.handled == []
        finally:
            await bus.stop()


async def test_consumers_that_are_gone_are_taken_off_the_group(
    own_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corral.bus.redis_mail._GONE_AFTER", -1)
    async with posting(own_redis) as client:
        await client.xgroup_create("corral:mail", "corral", id="0", mkstream=True)
        await client.xgroup_createconsumer("corral:mail", "corral", "gone")
        bus = RedisBus(own_redis.url, claim_after=SOON)
        bus.receive(Office().handle)
        await bus.start()
        try:
            async with asyncio.timeout(20 * PATIENCE):
                while b"gone" in [one["name"] for one in await client.xinfo_consumers("corral:mail", "corral")]:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        finally:
            await bus.stop()


def posting(redis: Redis) -> Client:
    client: Client = Client.from_url(redis.url)
    return client


async def handled_at_last(bus: Bus, office: Office, receiver: str) -> None:
    """A hint may be lost around an outage: send it until it arrives."""
    async with asyncio.timeout(20 * PATIENCE):
        while receiver not in office.handled:
            bus.mail(receiver)
            await asyncio.sleep(0.05)


async def until_acknowledged(redis: Redis) -> None:
    async with posting(redis) as client, asyncio.timeout(20 * PATIENCE):
        while (await client.xpending("corral:mail", "corral"))["pending"]:  # noqa: ASYNC110 - Redis knows
            await asyncio.sleep(0.02)
