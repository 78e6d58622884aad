"""Units of work that stand in each other's way."""

from __future__ import annotations

import asyncio
from functools import partial

from corral.platform import database
from corral.platform.database import Unit, sql
from corral.runs.hints import Hints, decide
from tests.runs.world import World


async def test_units_that_wait_for_each_other_both_get_through(world: World) -> None:
    one, two = (await world.launch()).no, (await world.launch()).no
    pause = "SELECT pg_sleep(0.05)" if database.dialect() == "postgres" else "SELECT 1"

    def both(first: int, second: int, _hints: Hints) -> Unit[None]:
        yield sql("UPDATE runs SET priority = priority + 1 WHERE no = $1", first)
        yield sql(pause)
        yield sql("UPDATE runs SET priority = priority + 1 WHERE no = $1", second)

    await asyncio.gather(decide(partial(both, one, two)), decide(partial(both, two, one)))
    rows = await database.fetch("SELECT priority FROM runs ORDER BY no")
    assert [row["priority"] for row in rows] == [2, 2]
