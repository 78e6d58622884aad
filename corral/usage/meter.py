"""What was spent in each budget's present period: exact, and cheap to ask again and again.

A sum is that of the lines up to one that nothing comes before any more, which this process keeps, and of those since:
few, read whenever somebody asks. Nothing is counted while lines are written.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from corral.platform import database
from corral.platform.database import Row, Unit, alone
from corral.usage import budgets
from corral.usage.accounts import Account
from corral.usage.budgets import AGENT, KEY, ORG, TASK, TEAM, Budget, Whose
from corral.usage.ledger import COST, MS_A_DAY

#: A line of PostgreSQL's that is older than this, in ms, is there for all to see: no transaction takes as long. SQLite
#: has one writer, so that lines are seen in the order of their ids.
_SETTLED = {"postgres": 10_000, "sqlite": 0}
#: How far settled lines are let pile up, in ms.
_AT_ONCE = 2_000
#: Seconds after which sums are made from scratch, in case a transaction did take longer.
_FRESH = 600.0
#: What a run spent, in the words of `Key`.
RUN = "run"

#: Whose, and the beginning of the period in ms.
Key = tuple[str, str, int]

_WHOM = "run_no, agent_id, team, tree_id, key_id"
#: Lines since one, and what is being spent right now, by the run they are of and the second they were recorded in.
_RECENT = (
    f"SELECT is_settled, second, {_WHOM}, CAST(sum(cost) AS bigint) AS cost, max(id) AS last FROM ("  # noqa: S608
    "SELECT id, id < coalesce((SELECT min(id) FROM usage_lines WHERE org_id = $1 AND id > $2 AND created_at > $3), "
    f"id + 1) AS is_settled, created_at / 1000 AS second, {_WHOM}, {COST} AS cost FROM usage_lines "
    f"WHERE org_id = $1 AND id > $2 UNION ALL SELECT 0, FALSE, NULL, {_WHOM}, micros FROM usage_drafts "
    f"WHERE org_id = $1) recent GROUP BY is_settled, second, {_WHOM}"
)
#: All lines since a moment but those after one, in the order of the index that has all it takes.
_BY_AGENT_AND_TEAM = (
    f"SELECT day, agent_id, team, CAST(sum({COST}) AS bigint) AS cost FROM usage_lines "  # noqa: S608 - constants
    "WHERE org_id = $1 AND day >= $2 AND day <= $3 AND created_at >= $4 GROUP BY day, agent_id, model, team UNION ALL "
    f"SELECT day, agent_id, team, CAST(-sum({COST}) AS bigint) FROM usage_lines "
    "WHERE org_id = $1 AND id > $5 AND day >= $2 AND day <= $3 AND created_at >= $4 GROUP BY day, agent_id, team"
)
_OF_ONE = (
    f"SELECT CAST(coalesce((SELECT sum({COST}) FROM usage_lines WHERE org_id = $1 AND {{column}} = $2 "  # noqa: S608
    f"AND created_at >= $3), 0) - coalesce((SELECT sum({COST}) FROM usage_lines WHERE org_id = $1 AND {{column}} = $2 "
    "AND id > $4 AND created_at >= $3), 0) AS bigint) AS cost"
)
_COLUMNS = {TASK: "tree_id", KEY: "key_id"}


class _Counted(msgspec.Struct, frozen=True):
    """Sums of an org's lines up to one, by whose they are and since when."""

    until: int  #: that line's id
    at: int  #: no line up to it is younger, ms
    since: float  #: when the first of these sums was made, monotonic
    sums: Mapping[Key, int]


_counted: dict[int, _Counted] = {}
_counting: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)


def forget() -> None:
    """Drop all sums, because the database behind this process is another one now."""
    _counted.clear()
    _counting.clear()


async def count(org_id: int, also: Sequence[Budget] = (), run_nos: Collection[int] | None = None) -> int:
    """Make the sums that the org's budgets and these runs ask for, and let them go on to the newest settled line.

    Returns the database's time, as of which they are.
    """
    async with _counting[org_id]:
        now = await database.now()
        asked = {budget.no: budget for budget in (*budgets.known(org_id), *also)}
        if not asked:
            _counted.pop(org_id, None)
            return now
        settled = now - _SETTLED[database.dialect()]
        counted = _counted.get(org_id)
        if counted is None or time.monotonic() - counted.since > _FRESH:
            counted = await _begin(org_id, settled, now)
        wanted: set[Key] = {(*budget.whose, budget.began(now)) for budget in asked.values()}
        if run_nos is None:
            wanted |= {key for key in counted.sums if key[0] == RUN}
        else:
            wanted |= {(RUN, str(run_no), 0) for run_no in run_nos}
        missing = wanted - counted.sums.keys()
        if not missing and settled - counted.at < _AT_ONCE:
            return now
        sums = {key: cost for key, cost in counted.sums.items() if key in wanted}
        sums |= await _sums(org_id, missing, counted)
        rows = [row for row in await database.fetch(_RECENT, org_id, counted.until, settled) if row["is_settled"]]
        until = max((int(row["last"]) for row in rows), default=counted.until)
        _counted[org_id] = _Counted(until, max(counted.at, settled), counted.since, _added(sums, rows))
        return now


def spent(
    org_id: int, some: Sequence[Budget], run_nos: Collection[int], now: int
) -> Unit[tuple[dict[int, int], dict[int, int]]]:
    """Return what is spent of each of these budgets, in millionths, by number, and by each of these runs in all.

    A budget that isn't counted yet is left out.
    """
    counted = _counted.get(org_id) or _Counted(2**62, 0, 0, {})
    runs = {run_no: (RUN, str(run_no), 0) for run_no in run_nos}
    keys = {budget.no: (*budget.whose, budget.began(now)) for budget in some}
    sums = {
        key: counted.sums.get(key, 0) for key in keys.values() if key in counted.sums or key[2] > counted.at > 0
    }  # of a period that has only just begun, every line is a recent one
    sums |= {key: counted.sums[key] for key in runs.values() if key in counted.sums}
    if new := [run_no for run_no, key in runs.items() if key not in sums]:
        sums |= dict.fromkeys((runs[run_no] for run_no in new), 0)
        sums |= _by_run((yield alone(_of_runs(new, counted.until))))
    rows = yield alone(_RECENT, org_id, counted.until, now)
    total = _added(sums, rows)
    return {no: total[key] for no, key in keys.items() if key in total}, {no: total[key] for no, key in runs.items()}


def _of_runs(run_nos: Iterable[int], until: int) -> str:
    """Return the statement that sums up what runs spent up to a line."""
    numbers = ",".join(str(int(no)) for no in run_nos)
    return (
        f"SELECT run_no, CAST(sum({COST}) AS bigint) AS cost FROM usage_lines "  # noqa: S608 - integers
        f"WHERE run_no IN ({numbers}) AND id <= {int(until)} GROUP BY run_no"
    )


def _by_run(rows: Iterable[Row]) -> dict[Key, int]:
    return {(RUN, str(row["run_no"]), 0): row["cost"] for row in rows}


async def _begin(org_id: int, settled: int, now: int) -> _Counted:
    """Find the newest line that is settled; no sums yet."""
    rows = await database.fetch(
        "SELECT id FROM usage_lines WHERE org_id = $1 AND created_at <= $2 ORDER BY id DESC LIMIT 1", org_id, settled
    )
    return _Counted(int(rows[0]["id"]) if rows else 0, now, time.monotonic(), {})


async def _sums(org_id: int, keys: Iterable[Key], counted: _Counted) -> dict[Key, int]:
    """Sum up from scratch, on a thread where that may take long."""
    sums = dict.fromkeys(keys, 0)
    old = [key for key in sums if key[2] <= counted.at]
    wide = {start for scope, _, start in old if scope in {ORG, TEAM, AGENT}}
    for start, row in await _days(org_id, wide, counted.until):
        for one in budgets.whose(Account(agent_id=row["agent_id"], team=row["team"])):
            if (*one, start) in sums:
                sums[(*one, start)] += row["cost"]
    for scope, target, start in old:
        if scope in _COLUMNS:
            query = _OF_ONE.format(column=_COLUMNS[scope])
            sums[scope, target, start] = (await database.scan(query, org_id, target, start, counted.until))[0]["cost"]
    if runs := [int(target) for scope, target, _ in sums if scope == RUN]:
        sums |= _by_run(await database.scan(_of_runs(runs, counted.until)))
    return sums


async def _days(org_id: int, starts: Collection[int], until: int) -> list[tuple[int, Row]]:
    """Return sums by agent and team since each of these moments: whole days are read once for all of them."""
    if not starts:
        return []
    found = []
    first = min(starts) // MS_A_DAY
    whole = await database.scan(_BY_AGENT_AND_TEAM, org_id, first + 1, 2**31 - 1, 0, until)
    for start in starts:
        day = start // MS_A_DAY
        found += [(start, row) for row in whole if row["day"] > day]
        rows = await database.scan(_BY_AGENT_AND_TEAM, org_id, day, day, start, until)
        found += [(start, row) for row in rows]
    return found


def _added(sums: Mapping[Key, int], rows: Iterable[Row]) -> dict[Key, int]:
    """Return the sums with recent lines added to each that they are of."""
    total = dict(sums)
    starts: dict[Whose, list[int]] = {}
    for scope, target, start in sums:
        starts.setdefault((scope, target), []).append(start)
    for row in rows:
        account = Account(agent_id=row["agent_id"], team=row["team"], tree_id=row["tree_id"], key_id=row["key_id"])
        for one in (*budgets.whose(account), (RUN, str(row["run_no"]))):
            for start in starts.get(one, ()):
                if row["second"] is None or row["second"] * 1000 >= start:
                    total[(*one, start)] += row["cost"]
    return total
