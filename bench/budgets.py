"""What do budgets cost? Ingest with and without any set, and the look after them that a server takes each second."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

from bench import usage
from bench.report import Figure
from bench.servers import Bench
from corral.base.ids import new_id
from corral.platform import database
from corral.platform.settings import Settings
from corral.runs import ingest, treasury
from corral.usage import budgets, meter
from corral.wire.events import EventBatch, EventType, Usage
from corral.wire.runner import Assignment
from tests.runs.world import World, numbered, opened

_LINES, _RUNS, _BUDGETS = 1_000_000, 500, 20
#: Seconds of a round of ingest, and rounds.
_SECONDS, _ROUNDS = 1.0, 9
#: What nobody spends here.
_LIMIT = 1_000_000 * 1_000_000
_EVENTS = (EventType.AGENT_MESSAGE,) * 5


async def money(bench: Bench) -> list[Figure]:
    """Live runs that send batches of events with a usage line each, on a ledger of a month; budgets of every scope."""
    part = 4 if bench.quick else 1
    lines, runs = _LINES // part, _RUNS // part
    with bench.place() as (folder, url):
        folder.mkdir(exist_ok=True)
        world = await opened(Settings(data=Path(folder), database_url=url))
        try:
            await usage.fill(world.org_id, lines)
            works = [Work(world, assignment) for assignment in await _at_work(world, runs)]
            rates: dict[bool, list[float]] = {False: [], True: []}
            for _ in range(3 if bench.quick else _ROUNDS):
                for with_budgets in (False, True):
                    await _set(world, _BUDGETS if with_budgets else 0)
                    rates[with_budgets].append(await _rate(works))
            meter.forget()
            scratch = await _ms(meter.count(world.org_id))
            ticks = [await _ms(treasury.run_once(0)) for _ in range(30)]
            held = [await _ms(world.launch()) for _ in range(30)]
            await _set(world, 0)
            free = [await _ms(world.launch()) for _ in range(30)]
        finally:
            await database.disconnect()
    without = median(rates[False])
    ratio = median(mine / other for other, mine in zip(rates[False], rates[True], strict=True))
    of = f"{_BUDGETS} budgets, {lines:,} lines, {runs} live runs"
    return [
        Figure("budgets", f"ingest under {of}, beside none", "batches/s", without * ratio, without, at_least=0.9),
        Figure("budgets", f"the look each second at {of}", "ms", median(ticks), at_most=100),
        Figure("budgets", f"launch under {of}, beside none", "ms", median(held), median(free)),
        Figure("budgets", f"the first look at {of}", "ms", scratch),
    ]


class Work:
    """A run at work."""

    def __init__(self, world: World, assignment: Assignment) -> None:
        self._world, self._assignment = world, assignment
        self._n = 1

    async def sends(self) -> None:
        """A batch with a line of the ledger, as at the end of a turn."""
        line = Usage(new_id(), "claude-sonnet-5", 10, 500, 20_000, 1_000, cost_micros=15_000)
        mine = self._assignment
        batch = EventBatch(mine.attempt, mine.lease, numbered(self._n + 1, *_EVENTS), [line])
        self._n = (await ingest.ingest(self._world.org_id, mine.run_id, batch)).n


async def _at_work(world: World, count: int) -> list[Assignment]:
    machine = await world.runner(max_pods=count)
    for _ in range(count):
        await world.launch()
    given = (await machine.poll()).assignments
    assert len(given) == count
    for one in given:
        await world.send(one, 1, EventType.RUN_STARTED)
    return given


async def _set(world: World, count: int) -> None:
    """Let there be so many budgets: of the org, and of keys, teams and agents that spend or spent."""
    for budget in budgets.known(world.org_id):
        await budgets.remove(world.org_id, budget.id)
    agents = await database.fetch("SELECT DISTINCT agent_id, team FROM usage_lines WHERE agent_id IS NOT NULL LIMIT 5")
    whose = [("org", ""), ("key", "test"), *(("team", row["team"]) for row in agents[:1])]
    whose += [("agent", row["agent_id"]) for row in agents[:2]]
    fields: dict[str, Any] = {"name": "b", "limit_micros": _LIMIT, "tz": "Europe/Berlin", "hard": True}
    wanted = [(scope, target, period) for scope, target in whose for period in ("day", "week", "month", "total")]
    for scope, target, period in wanted[:count]:
        more = {"scope": scope, "target": target, "period": period}
        await budgets.create(world.org_id, new_id(), "bench", {**fields, **more})
    await treasury.run_once(0)


async def _rate(works: list[Work]) -> float:
    """Return the batches a second, while a server does what it does each second."""

    async def look() -> None:
        while True:
            await budgets.reread()
            await treasury.run_once(0)
            await asyncio.sleep(1)

    looking = asyncio.create_task(look())
    sent, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < _SECONDS:
        await works[sent % len(works)].sends()
        await asyncio.sleep(0)
        sent += 1
    looking.cancel()
    with suppress(asyncio.CancelledError):
        await looking
    return sent / took


async def _ms(work: Any) -> float:
    began = time.perf_counter()
    await work
    return (time.perf_counter() - began) * 1000
