"""Who still holds their runs? Takes back what was claimed and never started, and ends what is lost for good."""

from __future__ import annotations

from functools import partial

import msgspec

from corral.platform import database
from corral.platform.database import Unit, sql
from corral.runs import ending, log, states
from corral.runs.hints import Hints, decide
from corral.wire.events import EventType
from corral.wire.runner import LEASE_SECONDS
from corral.wire.runs import RunStatus

_LEASE_MS = int(LEASE_SECONDS * 1000)


async def run_once(lost_after: float) -> int:
    """Look at every attempt whose runner missed its lease; returns how many were changed.

    `lost_after` is in seconds. The caller leaves one lease of quiet after a start or an outage of the database, in
    which runners could not renew anything.
    """
    rows = await database.fetch(
        "SELECT r.no FROM runners m JOIN runs r ON r.runner_no = m.no WHERE r.attempt_open "
        "AND m.seen_at < now_ms() - $1 AND (r.started_at IS NULL OR r.unreachable_since IS NULL "
        "OR r.unreachable_since < now_ms() - $2) LIMIT 500",
        _LEASE_MS,
        int(lost_after * 1000),
    )
    for row in rows:
        await decide(partial(_expire, row["no"], int(lost_after * 1000)))
    return len(rows)


def _expire(run_no: int, lost_after: int, hints: Hints) -> Unit[None]:
    rows = yield sql(
        "UPDATE runs SET followups = followups WHERE no = $1 AND attempt_open AND runner_no IN "
        "(SELECT no FROM runners WHERE seen_at < now_ms() - $2) RETURNING started_at, unreachable_since, placement_id, "
        "cancel_requested_at, cancel_by, pause_requested, now_ms() AS now, "
        "(SELECT m.org_id = 0 FROM runners m WHERE m.no = runs.runner_no) AS is_platform",
        run_no,
        _LEASE_MS,
    )
    if not rows:
        return
    run = rows[0]
    if run["cancel_requested_at"] is not None:
        reason = {"code": "cancelled", "message": "Cancelled while its runner was away", "by": run["cancel_by"]}
        yield from ending.end(run_no, EventType.RUN_CANCELLED, RunStatus.CANCELLED, reason, hints)
    elif run["started_at"] is None and run["pause_requested"] is not None:  # of a restored database
        yield from ending.pause(run_no, msgspec.json.decode(run["pause_requested"]), hints)
    elif run["started_at"] is None:
        yield sql("UPDATE runs SET attempt_open = FALSE WHERE no = $1", run_no)
        yield from states.advance(run_no, RunStatus.QUEUED, hints)
        hints.placement(run["placement_id"])
    elif run["is_platform"]:  # its writes are fenced, and the conversation is in the database: any process may go on
        yield from ending.interrupt(run_no, "The server process that executed it is gone", hints)
    elif run["unreachable_since"] is None:
        yield sql("UPDATE runs SET unreachable_since = now_ms() WHERE no = $1", run_no)
        message = "The runner has not been heard of for 90 s; the run goes on there if the machine is well"
        yield from log.append(run_no, EventType.SESSION_UNREACHABLE, {"message": message}, hints)
    elif run["unreachable_since"] < run["now"] - lost_after and run["pause_requested"] is not None:
        yield from ending.pause(run_no, msgspec.json.decode(run["pause_requested"]), hints)
    elif run["unreachable_since"] < run["now"] - lost_after:
        reason = {
            "code": "runner_lost",
            "message": f"The runner was not heard of for {lost_after // 60_000} minutes",
            "hint": "Start the runner again on that machine, then follow the run up or launch it anew.",
        }
        yield from ending.end(run_no, EventType.RUN_FAILED, RunStatus.FAILED, reason, hints)
