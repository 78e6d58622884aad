"""Every watcher gets every event once and in order."""

from __future__ import annotations

import asyncio

from corral.platform import database
from corral.runs import feed, ingest
from corral.runs.hints import Hints
from corral.wire.events import EventType
from tests.runs.world import World, batch, started
from tests.support.waiting import PATIENCE

MESSAGE = EventType.AGENT_MESSAGE


class ListSink:
    """A watcher that remembers."""

    def __init__(self, room: int = 1 << 30) -> None:
        self.chunks: list[bytes] = []
        self.room = room
        self.refused = 0

    def write(self, chunk: bytes) -> bool:
        if len(self.chunks) >= self.room:
            self.refused += 1
            return False
        self.chunks.append(chunk)
        return True

    async def drained(self) -> None:
        self.room = 1 << 30
        await asyncio.sleep(0)

    def close(self) -> None: ...

    def ids(self) -> list[int]:
        lines = b"".join(self.chunks).splitlines()
        return [int(line[4:]) for line in lines if line.startswith(b"id: ")]


async def test_every_watcher_gets_every_event_once_in_order_however_late_or_slow(world: World) -> None:
    _, work = await started(world)
    run = await world.run(work.run_id)
    sinks = [ListSink(), ListSink(room=2), ListSink()]
    tasks = [asyncio.create_task(feed.feeds().watch(run.no, run.id, 0, sink)) for sink in sinks]
    for n in range(2, 40):
        await world.send(work, n, MESSAGE)
        await asyncio.sleep(0.001)  # sending need not wait for anything; watchers get their turn here
        if n == 20:
            sinks.append(late := ListSink())
            tasks.append(asyncio.create_task(feed.feeds().watch(run.no, run.id, 3, late)))
    await world.send(work, 40, (EventType.RUN_COMPLETED, {"text": "done"}))
    await asyncio.wait_for(asyncio.gather(*tasks), 20 * PATIENCE)
    for sink in sinks[:3]:
        assert sink.ids() == list(range(1, 42))
    assert late.ids() == list(range(4, 42))
    assert sinks[1].refused > 0


async def test_a_watcher_gets_what_no_hint_told_of_with_the_next_reread(world: World) -> None:
    _, work = await started(world)
    run = await world.run(work.run_id)
    sink = ListSink()
    task = asyncio.create_task(feed.feeds().watch(run.no, run.id, 2, sink))
    await asyncio.sleep(0)
    async with asyncio.timeout(20 * PATIENCE):
        while not feed.feeds()._feeds[run.no]._live:  # noqa: ASYNC110 - it has caught up, and waits
            await asyncio.sleep(0.01)
    await database.commit(
        ingest._store(ingest._Arrived(world.org_id, run.id, batch(work, 2, 3), ["{}", "{}"], Hints()))
    )
    assert sink.ids() == []
    await feed.feeds().reread()
    await world.send(work, 4, (EventType.RUN_COMPLETED, {}))
    await asyncio.wait_for(task, 15)
    assert sink.ids() == [3, 4, 5]
