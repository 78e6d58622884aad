"""Does a month's report cost more than the database itself needs? A million lines, beside a plain covered GROUP BY."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

from bench.report import Figure
from bench.servers import Bench
from corral.platform import database
from corral.platform.settings import Settings
from corral.usage import periods, reports, trends
from corral.usage.ledger import MS_A_DAY
from corral.usage.reports import Only

_DAYS = 30
_AGENTS, _MODELS, _TEAMS, _TASKS = 40, 4, 5, 2000
#: Rows written by one statement.
_AT_ONCE = 100_000
#: What a table needs that is made for this one question.
_BARE = (
    "CREATE TABLE bare AS SELECT org_id, day, agent_id, model, input_tokens, output_tokens, cache_read_tokens, "
    "cache_write_tokens, cost_micros FROM usage_lines"
)
_SUMS = "input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_micros"
_PLAIN = (
    "SELECT day, agent_id, model, "
    + ", ".join(f"sum({name})" for name in _SUMS.split(", "))
    + " FROM bare WHERE org_id = $1 AND day >= $2 AND day <= $3 GROUP BY day, agent_id, model"
)


async def report(bench: Bench) -> list[Figure]:
    """Time a month's report of an org, in UTC and elsewhere, by team and by task; the plain statement is raw."""
    lines = 250_000 if bench.quick else 1_000_000
    with bench.place() as (folder, url):
        folder.mkdir(exist_ok=True)
        await database.connect(Settings(data=Path(folder), database_url=url))
        try:
            org_id = 1
            await fill(org_id, lines)
            month = periods.lately("month", periods.zone("UTC"), await database.now())

            async def plain() -> None:
                await database.scan(_PLAIN, org_id, *month.days)

            async def asked(zone: str = "UTC", group_by: str | None = None) -> None:
                span = periods.lately("month", periods.zone(zone), await database.now())
                found = await reports.report(org_id, span, group_by=group_by)
                shown = found.total, found.by_agent(), found.by_model(), found.by_day(), found.by_group()
                assert shown[0].tokens

            async def chart() -> None:
                found = await trends.trend(org_id, month, Only(), "agent", top=8)
                assert found.total.tokens

            works: dict[str, Callable[[], Awaitable[None]]] = {
                "plain": plain,
                "of a month": asked,
                "of a month in Berlin": lambda: asked("Europe/Berlin"),
                "of a month by team": lambda: asked(group_by="team"),
                "of a month by task": lambda: asked(group_by="task"),
                "of a month as a chart": chart,
            }
            took = await _in_turns(works)
        finally:
            await database.disconnect()
    raw = took.pop("plain")
    bounds = {"of a month": 1.5, "of a month by team": 1.5}
    return [
        Figure("usage", f"report {what}, {lines:,} lines", "ms", ms, raw, at_most=bounds.get(what))
        for what, ms in took.items()
    ]


async def _in_turns(works: dict[str, Callable[[], Awaitable[None]]]) -> dict[str, float]:
    """Return the median milliseconds of each, which are done by turns."""
    took: dict[str, list[float]] = {what: [] for what in works}
    for _ in range(7):
        for what, work in works.items():
            began = time.perf_counter()
            await work()
            took[what].append((time.perf_counter() - began) * 1000)
    return {what: median(some) for what, some in took.items()}


async def fill(org_id: int, lines: int) -> None:
    """Write lines as a month would: a few in each turn of many runs, in the order of time."""
    now = await database.now()
    began = (now // MS_A_DAY - _DAYS + 1) * MS_A_DAY
    step = (now - began) // lines
    run = "(i * 7919 % 50021)"  # many at a time, in no order; whose and what for is always the same
    at = f"($1 + i * {step})"
    fill = (
        "INSERT INTO usage_lines (org_id, run_no, run_id, agent_id, team, task_id, source, day, model, input_tokens, "
        "output_tokens, cache_read_tokens, cache_write_tokens, cost_micros, computed_micros, price_version, estimated, "
        f"created_at) WITH RECURSIVE n(i) AS (SELECT $2 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $3) "
        f"SELECT {org_id}, {run}, {_id(run)}, {_id(f'{run} % {_AGENTS}')}, 'team ' || ({run} % {_AGENTS} % {_TEAMS}), "
        f"{_id(f'{run} % {_TASKS}')}, CAST(i AS text), {at} / {MS_A_DAY}, 'claude-model-' || ({run} % {_MODELS}), "
        f"i % 900, i % 700, i % 90000, i % 5000, i % 30000, i % 30001, 1, FALSE, {at} FROM n"
    )
    if database.dialect() == "postgres":
        fill = fill.replace("$1", "$1::bigint").replace("$2", "$2::bigint").replace("$3", "$3::bigint")
    for first in range(0, lines, _AT_ONCE):
        await database.scan(fill, began, first, min(first + _AT_ONCE, lines))
    await database.scan(_BARE)
    keys = "org_id, day, agent_id, model"
    if database.dialect() == "postgres":
        await database.scan(f"CREATE INDEX bare_report ON bare ({keys}) INCLUDE ({_SUMS})")
        for table in ("bare", "usage_lines"):
            await database.scan(f"VACUUM ANALYZE {table}")
    else:
        await database.scan(f"CREATE INDEX bare_report ON bare ({keys}, {_SUMS})")


def _id(number: str) -> str:
    """Return SQL for something as long as an id."""
    # In brackets: of `a || b % c` SQLite makes `(a || b) % c`.
    return f"'01a20e80-613b-72d2-8e6e-' || substr('000000000000', 1, 12 - length(CAST({number} AS text))) || ({number})"
