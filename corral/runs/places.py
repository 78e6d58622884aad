"""Has an org's plan a place for one more run? What is ready or at work takes one; what is held, or waits, does not.

Who launches a run for which there is no place is refused. Work that agents were given is not lost: it is held until
there is one. A run that waited for a person or for a task goes on without asking: those who wait for each other would
do so for ever.
"""

from __future__ import annotations

from corral.platform import plans
from corral.platform.database import Unit, sql

RUNS = "concurrent_runs"
#: How a hold begins that the plan is the reason of.
HELD = "plan "
#: How many places an org's runs take, `$1`, but for one of them, `$2`.
COUNT = (
    "SELECT count(*) AS n FROM runs WHERE org_id = $1 AND status IN ('queued', 'running') "
    "AND (status = 'running' OR hold IS NULL) AND no <> $2"
)


def are_limited() -> bool:
    """Tell whether any org's runs are."""
    return plans.current().limit_any(RUNS)


def full(org_id: int, run_no: int) -> Unit[str | None]:
    """Return why there is no place for this run, in the words of a hold. Without such plans: no statement."""
    allowed = yield from plans.most(org_id, RUNS)
    if allowed is None:
        return None
    plan, most = allowed
    rows = yield sql(COUNT, org_id, run_no)
    if rows[0]["n"] < most:
        return None
    return f"{HELD}{plan.name}: it allows {plans.amount(plan, RUNS)} ({RUNS}), and so many are under way"


def demand(org_id: int, run_no: int) -> Unit[None]:
    """Raise Forbidden if there is no place for this run."""
    yield from plans.within(org_id, RUNS, COUNT, run_no)


def is_held(hold: str | None) -> bool:
    """Tell whether a run with this hold waits for a place."""
    return (hold or "").startswith(HELD)
