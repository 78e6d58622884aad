"""Does a claim care how many runs have finished? The services in process, on one database that grows."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

from bench.report import Figure
from bench.servers import CWD, Bench
from corral import bus
from corral.bus.memory import MemoryBus
from corral.platform import database
from corral.platform.database import Unit, sql
from corral.platform.settings import Settings
from corral.runs import claim, queue, runners
from corral.runs.queue import Launch
from corral.wire.runner import Cli, Register
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
        await database.connect(Settings(data=Path(folder), database_url=url))
        try:
            org_id = await _org()
            runner_no, session = await _runner(org_id)
            await _finish(org_id, _FEW)
            few = await _claims(org_id, runner_no, session)
            await _finish(org_id, many - _FEW)
            lots = await _claims(org_id, runner_no, session)
        finally:
            await database.disconnect()
    what = f"with {many:,} finished runs, beside {_FEW:,}"
    return [Figure("claim", what, "ms", lots, few, at_most=1.5)]


async def _claims(org_id: int, runner_no: int, session: str) -> float:
    """Return the median milliseconds of a claim."""
    waited = []
    for _ in range(300):
        run = await queue.launch(org_id, Launch(prompt="Say hello", cwd=CWD, created_by="bench"))
        began = time.perf_counter_ns()
        claimed = await claim.claim(runner_no, session, [run.placement_id], 1)
        waited.append(time.perf_counter_ns() - began)
        assert len(claimed) == 1
        await database.commit(_ended(run.no))
    return median(waited) / 1e6


def _ended(run_no: int) -> Unit[None]:
    yield sql("UPDATE runs SET status = 'completed', attempt_open = FALSE, ended_at = now_ms() WHERE no = $1", run_no)


async def _org() -> int:
    rows = await database.fetch("INSERT INTO orgs (name, created_at) VALUES ('bench', now_ms()) RETURNING id")
    return int(rows[0]["id"])


async def _runner(org_id: int) -> tuple[int, str]:
    body = Register(
        uid="bench",
        name="bench",
        os="linux",
        arch="amd64",
        version="0",
        allowed_dirs=[CWD],
        clis=[Cli(Engine.CLAUDE_CODE, "0", signed_in=True)],
    )
    registered = await runners.register(org_id, body)
    return (await runners.get(org_id, registered.id)).no, registered.session


async def _finish(org_id: int, count: int) -> None:
    """Write finished runs as copies of one that went all the way."""
    run = await queue.launch(org_id, Launch(prompt="Say hello", cwd=CWD, created_by="bench"))
    await database.commit(_ended(run.no))
    rows = await database.fetch("SELECT * FROM runs WHERE no = $1", run.no)
    columns = [name for name in rows[0].keys() if name not in {"no", "id"}]  # noqa: SIM118 - a row yields its values
    new_id = "lower(hex(randomblob(18)))" if database.dialect() == "sqlite" else "gen_random_uuid()::text"
    copies = (
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $2) INSERT INTO runs "
        f"(id, {', '.join(columns)}) SELECT {new_id}, {', '.join(columns)} FROM runs, n WHERE no = $1"
    )
    left = count - 1
    while left > 0:
        await database.fetch(copies, run.no, min(left, _AT_ONCE))
        left -= _AT_ONCE
    if database.dialect() == "postgres":
        await database.fetch("ANALYZE runs")
