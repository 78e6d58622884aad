"""Does a poll's claim care how many runs its runner has finished? The services in process, on one growing database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from statistics import median

from bench.report import Figure
from bench.servers import CWD, Bench
from corral import bus
from corral.bus.memory import MemoryBus
from corral.platform import database
from corral.platform.database import Unit, sql
from corral.platform.settings import Settings
from corral.runs import poll, queue, runners, waiting
from corral.runs.queue import Launch
from corral.wire.runner import Cli, Poll, Register, Registered
from corral.wire.runs import Engine

_FEW = 1_000
#: Rows written by one statement.
_AT_ONCE = 100_000


async def flat(bench: Bench) -> list[Figure]:
    """Time the claim beside few finished runs, then beside many; the first stands for raw."""
    many = 100_000 if bench.quick else 1_000_000
    with bench.place() as (folder, url):
        folder.mkdir(exist_ok=True)
        bus.use(MemoryBus())
        waiting.reset().open()
        await database.connect(Settings(data=Path(folder), database_url=url))
        try:
            org_id = await _org()
            runner = await _runner(org_id)
            polls = count(1)
            await _finish(org_id, runner, _FEW)
            few = await _claims(org_id, runner, polls)
            await _finish(org_id, runner, many - _FEW)
            lots = await _claims(org_id, runner, polls)
        finally:
            await database.disconnect()
    what = f"with {many:,} finished runs, beside {_FEW:,}"
    return [Figure("claims", what, "ms", lots, few, at_most=1.5)]


async def _claims(org_id: int, runner: Registered, polls: Iterator[int]) -> float:
    """Return the median milliseconds of a poll that finds a run."""
    waited = []
    for _ in range(300):
        run = await queue.launch(org_id, Launch(prompt="Say hello", cwd=CWD, created_by="bench"))
        asked = Poll(session=runner.session, poll_no=next(polls), free_slots=1)
        began = time.perf_counter_ns()
        answer = await poll.poll(org_id, runner.id, asked)
        waited.append(time.perf_counter_ns() - began)
        assert [assignment.run_id for assignment in answer.assignments] == [run.id]
        await database.commit(_ended(run.no))
    return median(waited) / 1e6


def _ended(run_no: int) -> Unit[None]:
    yield sql("UPDATE runs SET status = 'completed', attempt_open = FALSE, ended_at = now_ms() WHERE no = $1", run_no)


async def _org() -> int:
    rows = await database.fetch("INSERT INTO orgs (name, created_at) VALUES ('bench', now_ms()) RETURNING id")
    return int(rows[0]["id"])


async def _runner(org_id: int) -> Registered:
    body = Register(
        uid="bench",
        name="bench",
        os="linux",
        arch="amd64",
        version="0",
        allowed_dirs=[CWD],
        clis=[Cli(Engine.CLAUDE_CODE, "0", signed_in=True)],
    )
    return await runners.register(org_id, body)


async def _finish(org_id: int, runner: Registered, number: int) -> None:
    """Write finished runs of the runner as copies of one."""
    run = await queue.launch(org_id, Launch(prompt="Say hello", cwd=CWD, created_by="bench"))
    await database.commit(_ended(run.no))
    runner_no = (await runners.get(org_id, runner.id)).no
    await database.fetch("UPDATE runs SET runner_no = $2 WHERE no = $1", run.no, runner_no)
    rows = await database.fetch("SELECT * FROM runs WHERE no = $1", run.no)
    columns = [name for name in rows[0].keys() if name not in {"no", "id"}]  # noqa: SIM118 - a row yields its values
    new_id = "lower(hex(randomblob(18)))" if database.dialect() == "sqlite" else "gen_random_uuid()::text"
    copies = (
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $2) INSERT INTO runs "
        f"(id, {', '.join(columns)}) SELECT {new_id}, {', '.join(columns)} FROM runs, n WHERE no = $1"
    )
    left = number - 1
    while left > 0:
        await database.fetch(copies, run.no, min(left, _AT_ONCE))
        left -= _AT_ONCE
    if database.dialect() == "postgres":
        await database.fetch("ANALYZE runs")
