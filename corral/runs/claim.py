"""Take queued runs for a runner: one statement, no policy, never the same run twice.

Only a run under a hard budget takes more: it is told how much it may spend, or put back if there is nothing left.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from corral.base.ids import new_token
from corral.platform import database, keys, metrics
from corral.platform.database import Row, Rows, Statement, Unit, alone, sql
from corral.runs import admission, states
from corral.runs.hints import Hints, decide
from corral.wire.agents import AgentSnapshot, system_prompt
from corral.wire.runner import Assignment, Limits, Money, Resume
from corral.wire.runs import Engine, PermissionMode, RunStatus

_CLAIMS = metrics.CLAIMS.of()
#: What makes a run one that may be claimed, as the partial index has it.
READY = "status = 'queued' AND hold IS NULL AND NOT attempt_open"
_TAKE = (
    "UPDATE runs SET attempt = attempt + 1, lease = $1 || '-' || no, attempt_open = TRUE, runner_no = $2, "
    "runner_session = $3, claimed_at = now_ms(), started_at = NULL, spool_n = 0, updated_at = now_ms() WHERE no IN "
)


async def claim(
    runner_no: int, session: str, placement_ids: Sequence[int], most: int, *, key_id: str | None = None
) -> list[Assignment]:
    """Open an attempt of up to `most` ready runs in these placements: highest priority first, then oldest.

    Nothing is given to a key that has ended while its poll waited.
    """
    statement = _taking(runner_no, session, placement_ids, most, key_id)
    rows = await database.fetch(statement.sql, *statement.args) if statement else ()
    _CLAIMS.add(len(rows))
    if any(admission.is_limited(row) for row in rows):
        return await decide(lambda hints: _given(rows, hints))
    return [assignment(row) for row in _in_order(rows)]


def take(
    runner_no: int, session: str, placement_ids: Sequence[int], most: int, hints: Hints, *, key_id: str | None = None
) -> Unit[list[Assignment]]:
    """Do the same within another unit."""
    statement = _taking(runner_no, session, placement_ids, most, key_id)
    if statement is None:
        return []
    rows = yield statement
    _CLAIMS.add(len(rows))
    return (yield from _given(rows, hints))


def _taking(
    runner_no: int, session: str, placement_ids: Sequence[int], most: int, key_id: str | None
) -> Statement | None:
    if not placement_ids or most < 1:
        return None
    args: tuple[object, ...] = (new_token(18), runner_no, session)
    by_key = ""
    if key_id is not None:
        by_key, args = f"AND EXISTS (SELECT 1 FROM api_keys WHERE id = $4 AND {keys.LIVE}) ", (*args, key_id)  # noqa: S608
    lock = " FOR UPDATE SKIP LOCKED" if database.dialect() == "postgres" else ""
    wanted = ",".join(str(int(i)) for i in placement_ids)
    return alone(
        f"{_TAKE} (SELECT no FROM runs WHERE {READY} AND placement_id IN ({wanted}) {by_key}"  # noqa: S608 - integers
        f"ORDER BY priority DESC, no LIMIT {int(most)}{lock}) RETURNING {COLUMNS}",
        *args,
    )


def give(run: Row, hints: Hints) -> Unit[Assignment | None]:
    """Return what the runner is given of a run that it has claimed; None if that must wait for money."""
    lent = yield from admission.fund(run)
    if not isinstance(lent, str):
        work = assignment(run)
        work.money = Money(lent) if lent is not None else None
        return work
    rows = yield sql(
        "UPDATE runs SET attempt_open = FALSE, hold = $3 WHERE no = $1 AND attempt = $2 AND attempt_open "
        "AND started_at IS NULL RETURNING no",
        run["no"], run["attempt"], lent[: admission.LONGEST],
    )  # fmt: skip
    if not rows:  # it is at work already, and only has not said so
        return assignment(run)
    yield from states.advance(run["no"], RunStatus.QUEUED, hints)
    return None


def _given(rows: Rows, hints: Hints) -> Unit[list[Assignment]]:
    found = []
    for row in _in_order(rows):
        work = yield from give(row, hints)
        if work is not None:
            found.append(work)
    return found


def _in_order(rows: Rows) -> list[Row]:
    return sorted(rows, key=lambda row: int(row["no"]))


async def ready_placements() -> list[int]:
    """Return the placements that have a ready run; what a process that missed hints asks every two seconds."""
    rows = await database.fetch(f"SELECT DISTINCT placement_id FROM runs WHERE {READY}")  # noqa: S608
    return [row["placement_id"] for row in rows]


#: What an assignment is made of.
COLUMNS = (
    "no, id, attempt, lease, engine, prompt, next_prompt, cwd, permission_mode, model, session_id, resume, fork, "
    "allowed_tools, limits, spool_n, status, agent, org_id, agent_id, account, request_id"
)


def assignment(run: Row) -> Assignment:
    """Present a claimed run to the runner that holds its lease; its agent's secrets and servers come with `outfit`."""
    agent = msgspec.json.decode(run["agent"], type=AgentSnapshot) if run["agent"] is not None else None
    return Assignment(
        run_id=run["id"],
        attempt=run["attempt"],
        lease=run["lease"],
        engine=Engine(run["engine"]),
        prompt=run["next_prompt"] or run["prompt"],
        cwd=run["cwd"],
        permission_mode=PermissionMode(run["permission_mode"]),
        model=run["model"],
        session_id=run["session_id"],
        resume=Resume(run["resume"]) if run["resume"] else None,
        fork=bool(run["fork"]),
        allowed_tools=msgspec.json.decode(run["allowed_tools"]),
        limits=msgspec.json.decode(run["limits"], type=Limits),
        system_prompt=system_prompt(agent) if agent else None,
        stored_n=run["spool_n"],
        agent=agent,
        request_id=run["request_id"],
    )
