"""What was spent in each budget's present period: exact, and cheap to ask again and again.

A sum is that of the lines up to one that nothing comes before any more, which this process keeps, and of those since:
few, read whenever somebody asks. Nothing is counted while lines are written.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from corral.platform import database
from corral.platform.database import Row, Unit, sql
from corral.usage import budgets
from corral.usage.accounts import Account
from corral.usage.budgets import AGENT, ORG, TASK, TEAM, Budget, Whose
from corral.usage.ledger import COST, MS_A_DAY

#: A line that is older than this, in ms, is there for all to see: no transaction takes as long.
_SETTLED = 10_000
#: Seconds after which sums are made from scratch, in case one did.
_FRESH = 600.0

#: Whose, and the beginning of the period in ms.
Key = tuple[str, str, int]

#: Lines since one, and what is being spent right now, by whom they are of and the second they were recorded in.
_RECENT = (
    "SELECT is_settled, second, agent_id, team, tree_id, key_id, CAST(sum(cost) AS bigint) AS cost, max(id) AS last "  # noqa: S608 - constants
    "FROM (SELECT id, id < coalesce((SELECT min(id) FROM usage_lines WHERE org_id = $1 AND id > $2 "
    "AND created_at > $3), id + 1) AS is_settled, created_at / 1000 AS second, agent_id, team, tree_id, key_id, "
    f"{COST} AS cost FROM usage_lines WHERE org_id = $1 AND id > $2 UNION ALL "
    "SELECT 0, FALSE, NULL, agent_id, team, tree_id, key_id, micros FROM usage_drafts WHERE org_id = $1) recent "
    "GROUP BY is_settled, second, agent_id, team, tree_id, key_id"
)
#: All lines of a period but those after one, in the order of the index that has all it takes.
_BY_AGENT_AND_TEAM = (
    f"SELECT agent_id, team, CAST(sum({COST}) AS bigint) AS cost FROM usage_lines "  # noqa: S608 - constants
    "WHERE org_id = $1 AND day >= $2 AND created_at >= $3 GROUP BY day, agent_id, model, team UNION ALL "
    f"SELECT agent_id, team, CAST(-sum({COST}) AS bigint) FROM usage_lines "
    "WHERE org_id = $1 AND id > $4 AND created_at >= $3 GROUP BY agent_id, team"
)
_OF_ONE = (
    f"SELECT CAST(coalesce((SELECT sum({COST}) FROM usage_lines WHERE org_id = $1 AND {{column}} = $2 "  # noqa: S608
    f"AND created_at >= $3), 0) - coalesce((SELECT sum({COST}) FROM usage_lines WHERE org_id = $1 AND {{column}} = $2 "
    "AND id > $4 AND created_at >= $3), 0) AS bigint) AS cost"
)


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


async def count(org_id: int, also: Sequence[Budget] = ()) -> None:
    """Make the sums that the org's budgets ask for, and let them go on to the newest line that is settled."""
    async with _counting[org_id]:
        known = [*budgets.known(org_id), *also]
        if not known:
            _counted.pop(org_id, None)
            return
        now = await database.now()
        counted = _counted.get(org_id)
        if counted is None or time.monotonic() - counted.since > _FRESH:
            counted = await _begin(org_id, now)
        wanted = {(*budget.whose, budget.began(now)) for budget in known}
        if counted.sums.keys() == wanted and now - counted.at < 2 * _SETTLED:
            return
        kept = {key: cost for key, cost in counted.sums.items() if key in wanted}
        sums = kept | await _sums(org_id, wanted - kept.keys(), counted)
        recent = await database.fetch(_RECENT, org_id, counted.until, now - _SETTLED)
        rows = [row for row in recent if row["is_settled"]]
        until = max((int(row["last"]) for row in rows), default=counted.until)
        _counted[org_id] = _Counted(until, max(counted.at, now - _SETTLED), counted.since, _added(sums, rows))


def spent(org_id: int, some: Sequence[Budget], now: int) -> Unit[dict[int, int]]:
    """Return what is spent of each of these, in millionths, by number; one that isn't counted yet is left out."""
    counted = _counted.get(org_id)
    if counted is None or not some:
        return {}
    keys = {budget.no: (*budget.whose, budget.began(now)) for budget in some}
    sums = {
        key: counted.sums.get(key, 0) for key in keys.values() if key in counted.sums or key[2] > counted.at
    }  # of a period that has only just begun, every line is a recent one
    rows = yield sql(_RECENT, org_id, counted.until, now - _SETTLED)
    total = _added(sums, rows)
    return {no: total[key] for no, key in keys.items() if key in total}


async def _begin(org_id: int, now: int) -> _Counted:
    """Find the newest line that is settled; no sums yet."""
    rows = await database.fetch(
        "SELECT id FROM usage_lines WHERE org_id = $1 AND created_at <= $2 ORDER BY id DESC LIMIT 1",
        org_id,
        now - _SETTLED,
    )
    return _Counted(int(rows[0]["id"]) if rows else 0, now, time.monotonic(), {})


async def _sums(org_id: int, keys: Iterable[Key], counted: _Counted) -> dict[Key, int]:
    """Sum up from scratch, on a thread where that may take long."""
    sums = dict.fromkeys(keys, 0)
    old = [key for key in sums if key[2] <= counted.at]
    for start in {start for scope, _, start in old if scope in {ORG, TEAM, AGENT}}:
        rows = await database.scan(_BY_AGENT_AND_TEAM, org_id, start // MS_A_DAY, start, counted.until)
        for row in rows:
            for one in budgets.whose(Account(agent_id=row["agent_id"], team=row["team"])):
                if (*one, start) in sums:
                    sums[(*one, start)] += row["cost"]
    for scope, target, start in old:
        if scope not in {ORG, TEAM, AGENT}:
            column = "tree_id" if scope == TASK else "key_id"
            rows = await database.scan(_OF_ONE.format(column=column), org_id, target, start, counted.until)
            sums[scope, target, start] = rows[0]["cost"]
    return sums


def _added(sums: Mapping[Key, int], rows: Iterable[Row]) -> dict[Key, int]:
    """Return the sums with recent lines added to each that they are of."""
    total = dict(sums)
    starts: dict[Whose, list[int]] = {}
    for scope, target, start in sums:
        starts.setdefault((scope, target), []).append(start)
    for row in rows:
        account = Account(agent_id=row["agent_id"], team=row["team"], tree_id=row["tree_id"], key_id=row["key_id"])
        for one in budgets.whose(account):
            for start in starts.get(one, ()):
                if row["second"] is None or row["second"] * 1000 >= start:
                    total[(*one, start)] += row["cost"]
    return total
