"""May a run spend? Every hard budget over it keeps some money for each run that may be at work, and starts no more of
them than it has money for.

What is kept is a row (`reservations`), which counts for as long as its run is ready, claimed or at work: nothing has to
be given back when a run ends, whoever ends it. It is decided under the locks of all budgets that are over the run.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from corral.platform import database
from corral.platform.database import Row, Unit, sql
from corral.usage import accounts, budgets, meter
from corral.usage.accounts import Account
from corral.usage.budgets import Budget
from corral.usage.ledger import COST
from corral.wire.runs import RunStatus

#: How a hold begins that a budget is the reason of, and the code of a pause.
HELD, CODE = "budget ", "budget"

#: What is kept for which runs, and what they have spent in all.
_KEPT = (
    "SELECT v.run_no, v.attempt, v.base_micros, v.granted_micros, r.id, r.status, r.attempt AS run_attempt, "  # noqa: S608
    "r.attempt_open, r.hold, r.reason, r.account, r.agent_id, r.priority, r.runner_no, "
    "CAST(coalesce(u.cost, 0) + coalesce(d.cost, 0) AS bigint) AS spent "
    "FROM reservations v JOIN runs r ON r.no = v.run_no "
    f"LEFT JOIN (SELECT run_no, sum({COST}) AS cost FROM usage_lines WHERE run_no IN "
    "(SELECT run_no FROM reservations WHERE org_id = $1) GROUP BY run_no) u ON u.run_no = v.run_no "
    "LEFT JOIN (SELECT run_no, sum(micros) AS cost FROM usage_drafts WHERE org_id = $1 GROUP BY run_no) d "
    "ON d.run_no = v.run_no WHERE v.org_id = $1 ORDER BY r.priority DESC, r.no"
)


class Kept(msgspec.Struct):
    """What is kept for a run."""

    run_no: int
    attempt: int  #: that was told; 0: none
    base: int
    granted: int
    spent: int  #: by the run, in all
    status: RunStatus
    run_attempt: int
    attempt_open: bool
    hold: str | None
    account: Account
    row: Row

    @property
    def used(self) -> int:
        """What it has spent of it."""
        return max(0, self.spent - self.base)

    @property
    def is_live(self) -> bool:
        """Whether the run may spend it: it is ready, or has a process."""
        return self.attempt_open or (self.status == RunStatus.QUEUED and self.hold is None)

    @property
    def reserved(self) -> int:
        """What is still kept."""
        return max(0, self.granted - self.used) if self.is_live else 0

    @property
    def is_held(self) -> bool:
        """Whether a budget keeps it from being claimed."""
        return self.status == RunStatus.QUEUED and not self.attempt_open and (self.hold or "").startswith(HELD)

    @property
    def is_paused(self) -> bool:
        """Whether a budget has paused it."""
        reason = self.row["reason"] if self.status == RunStatus.PAUSED else None
        return reason is not None and msgspec.json.decode(reason).get("code") == CODE


class Standing(msgspec.Struct, frozen=True):
    """How a budget stands."""

    budget: Budget
    now: int
    spent: int
    reserved: int
    paused: int = 0
    held: int = 0

    @property
    def room(self) -> int:
        """What it can still lend."""
        return self.budget.limit_micros - self.spent - self.reserved


def standings(org_id: int, some: Sequence[Budget], now: int) -> Unit[tuple[list[Standing], list[Kept]]]:
    """Return how budgets stand, those that are counted; and all that is kept in the org.

    What is kept is read first: a line that is written meanwhile makes a budget look fuller than it is, never emptier.
    """
    kept = yield from _kept(org_id)
    spent = yield from meter.spent(org_id, some, now)
    found = []
    for budget in some:
        if budget.no not in spent:
            continue
        under = [one for one in kept if budget.whose in budgets.whose(one.account)]
        standing = Standing(budget, now, spent[budget.no], sum(one.reserved for one in under) if budget.hard else 0)
        if budget.hard and standing.room < budget.slice:
            held, paused = sum(one.is_held for one in under), sum(one.is_paused for one in under)
            standing = msgspec.structs.replace(standing, held=held, paused=paused)
        found.append(standing)
    return found, kept


async def look(org_id: int, some: Sequence[Budget]) -> list[Standing]:
    """Return how budgets stand right now."""
    await meter.count(org_id, some)
    found, _ = await database.commit(standings(org_id, some, await database.now()))
    return found


def _kept(org_id: int) -> Unit[list[Kept]]:
    rows = yield sql(_KEPT, org_id)
    return [
        Kept(
            run_no=row["run_no"],
            attempt=row["attempt"],
            base=row["base_micros"],
            granted=row["granted_micros"],
            spent=row["spent"],
            status=RunStatus(row["status"]),
            run_attempt=row["run_attempt"],
            attempt_open=bool(row["attempt_open"]),
            hold=row["hold"],
            account=accounts.decode(row["account"], row["agent_id"]),
            row=row,
        )
        for row in rows
    ]
