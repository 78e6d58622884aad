"""Background loops: kept going, backed off when they fail, woken, and stopped without being cut in half."""

from __future__ import annotations

import asyncio

from corral.base.backoff import Backoff
from corral.base.supervisor import Supervisor


async def test_a_loop_that_fails_is_tried_again_and_others_go_on() -> None:
    rounds: list[float] = []
    failures = 0
    enough = asyncio.Event()

    async def good(now: float) -> None:
        rounds.append(now)
        if len(rounds) >= 3 and failures >= 2:
            enough.set()

    async def bad(now: float) -> None:
        nonlocal failures
        failures += 1
        raise RuntimeError("not today")

    supervisor = Supervisor(clock=lambda: 42.0)
    supervisor.add("good", good, every=0.01)
    supervisor.add("bad", bad, every=0.01)
    supervisor.start()
    await asyncio.wait_for(enough.wait(), 20)
    await supervisor.stop()
    assert set(rounds) == {42.0}


async def test_a_woken_loop_does_not_wait_for_its_time() -> None:
    begun = asyncio.Event()

    async def run_once(now: float) -> None:
        begun.set()

    supervisor = Supervisor()
    loop = supervisor.add("slow", run_once, every=3600)
    supervisor.start()
    await asyncio.wait_for(begun.wait(), 10)
    begun.clear()
    loop.wake()
    await asyncio.wait_for(begun.wait(), 10)
    await supervisor.stop()


async def test_a_round_under_way_may_finish_and_one_that_hangs_is_cut_off() -> None:
    finished, begun = asyncio.Event(), asyncio.Event()

    async def brief(now: float) -> None:
        begun.set()
        for _ in range(5):
            await asyncio.sleep(0)
        finished.set()

    async def endless(now: float) -> None:
        await asyncio.Event().wait()

    supervisor = Supervisor()
    supervisor.add("brief", brief, every=3600)
    supervisor.add("endless", endless, every=3600)
    supervisor.start()
    await asyncio.wait_for(begun.wait(), 10)
    await supervisor.stop(grace=0.5)
    await supervisor.stop()
    assert finished.is_set()


async def test_a_round_that_takes_too_long_counts_as_failed() -> None:
    rounds = 0
    again = asyncio.Event()

    async def hang(now: float) -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 2:
            again.set()
        await asyncio.Event().wait()

    supervisor = Supervisor()
    supervisor.add("hang", hang, every=0.01, limit=0.05)
    supervisor.start()
    await asyncio.wait_for(again.wait(), 10)
    await supervisor.stop(grace=0.0)


def test_delays_grow_to_a_limit_and_are_spread() -> None:
    backoff = Backoff(first=1.0, most=8.0)
    delays = [backoff.next() for _ in range(40)]
    for delay, whole in zip(delays, [1, 2, 4, *[8] * 37], strict=True):
        assert whole / 2 <= delay <= whole
    assert len(set(delays[4:])) > 10
    backoff.reset()
    assert backoff.next() <= 1.0
