"""A restored database knows less than machines and people do: what had not ended in it starts by itself no more.

What was queued, or waited for others, is paused: it may have been begun since, or done. Attempts that were open go on
if their machine still has them, or end as its spool says; what is cut off is paused instead of being begun again.
"""

from __future__ import annotations

from functools import partial

import msgspec

from corral.base.logs import get_logger
from corral.platform import acting, audit, database
from corral.platform.database import Row, Unit, sql
from corral.runs import ending, pausing
from corral.runs.hints import Hints, decide
from corral.wire.runner import Pause
from corral.wire.runs import RunStatus

#: A runner keeps what it has sent for a day; an attempt that was claimed so long ago may not be in its spool any more.
_KEPT_MS = 23 * 3_600_000

#: `corral restore` leaves the table; who restores PostgreSQL makes it by hand.
_IS_THERE = {
    "sqlite": "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'restored'",
    "postgres": "SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'restored'",
}

log = get_logger()


async def settle() -> None:
    """Do so at the first start on a restored database, before anything can be claimed; again if that was cut off."""
    if not await database.fetch(_IS_THERE[database.dialect()]):
        return
    made_at = await decide(_made_at)
    if made_at is None:
        return
    told = Pause(
        code=pausing.RESTORED,
        message=f"The database was restored as it was on {made_at[:16].replace('T', ' at ')} UTC",
        hint="The run may have been begun since, or done: look at what it was to do, then continue or cancel it.",
        by="corral",
    )
    runs = await database.fetch("SELECT no FROM runs WHERE status IN ('queued', 'running', 'waiting', 'paused')")
    for run in runs:
        await decide(partial(_settle, run["no"], told))
    with acting.as_(acting.OPERATOR):
        await decide(_settled)
    log.warning("the database was restored from a backup", as_of=made_at, runs_that_had_not_ended=len(runs))


def _made_at(hints: Hints) -> Unit[str | None]:
    """Return when the backup was made; None if another server, which is kept out until the commit, was quicker."""
    del hints
    yield sql("UPDATE orgs SET policy = policy")
    if not (yield sql(_IS_THERE[database.dialect()])):
        return None
    (mark,) = yield sql("SELECT made_at FROM restored")
    return str(mark["made_at"])


def _settled(hints: Hints) -> Unit[None]:
    """Write down in every org that lines of its audit log may be missing, and that this is done."""
    made_at = yield from _made_at(hints)
    if made_at is None:
        return
    for org in (yield sql("SELECT id FROM orgs ORDER BY id")):
        yield from audit.note(org["id"], "database.restored", "database", "restored", as_of=made_at)
    yield sql("DROP TABLE restored")


def is_offered_again(run: Row) -> bool:
    """Tell whether the machine that does not hold this open attempt may have the end of it in its spool."""
    return pausing.is_restored(run["pause_requested"]) and run["claimed_at"] > run["now"] - _KEPT_MS


def _settle(run_no: int, told: Pause, hints: Hints) -> Unit[None]:
    rows = yield sql("UPDATE runs SET followups = followups WHERE no = $1 RETURNING *", run_no)
    if not rows:
        return  # another server has settled, and somebody has deleted it there
    run, reason = rows[0], msgspec.json.encode(told).decode()
    if run["attempt_open"]:
        yield sql("UPDATE runs SET pause_requested = $2 WHERE no = $1 AND pause_requested IS NULL", run_no, reason)
    elif run["status"] != RunStatus.PAUSED:
        yield from ending.rest(run_no, msgspec.to_builtins(told), hints)
    elif pausing.paused_by(run) not in {pausing.BY_HAND, pausing.RESTORED}:  # money is no reason to go on
        yield sql("UPDATE runs SET reason = $2 WHERE no = $1", run_no, reason)
