"""Take queued runs for a runner: one statement, no policy, never the same run twice."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from corral.base.ids import new_token
from corral.platform import database
from corral.platform.database import Row, Rows, Statement, Unit, alone
from corral.wire.agents import AgentSnapshot, system_prompt
from corral.wire.runner import Assignment, Limits, Resume
from corral.wire.runs import Engine, PermissionMode

#: What makes a run one that may be claimed, as the partial index has it.
READY = "status = 'queued' AND hold IS NULL AND NOT attempt_open"
_TAKE = (
    "UPDATE runs SET attempt = attempt + 1, lease = $1 || '-' || no, attempt_open = TRUE, runner_no = $2, "
    "runner_session = $3, claimed_at = now_ms(), started_at = NULL, spool_n = 0, updated_at = now_ms() WHERE no IN "
)


async def claim(runner_no: int, session: str, placement_ids: Sequence[int], most: int) -> list[Assignment]:
    """Open an attempt of up to `most` ready runs in these placements: highest priority first, then oldest."""
    statement = _taking(runner_no, session, placement_ids, most)
    return _assignments(await database.fetch(statement.sql, *statement.args)) if statement else []


def take(runner_no: int, session: str, placement_ids: Sequence[int], most: int) -> Unit[list[Assignment]]:
    """Do the same within another unit."""
    statement = _taking(runner_no, session, placement_ids, most)
    return _assignments((yield statement)) if statement else []


def _taking(runner_no: int, session: str, placement_ids: Sequence[int], most: int) -> Statement | None:
    if not placement_ids or most < 1:
        return None
    lock = " FOR UPDATE SKIP LOCKED" if database.dialect() == "postgres" else ""
    wanted = ",".join(str(int(i)) for i in placement_ids)
    return alone(
        f"{_TAKE} (SELECT no FROM runs WHERE {READY} AND placement_id IN ({wanted}) "  # noqa: S608 - integers
        f"ORDER BY priority DESC, no LIMIT {int(most)}{lock}) RETURNING {COLUMNS}",
        new_token(18),
        runner_no,
        session,
    )


def _assignments(rows: Rows) -> list[Assignment]:
    return [assignment(row) for row in sorted(rows, key=lambda row: row["no"])]


async def ready_placements() -> list[int]:
    """Return the placements that have a ready run; what a process that missed hints asks every two seconds."""
    rows = await database.fetch(f"SELECT DISTINCT placement_id FROM runs WHERE {READY}")  # noqa: S608
    return [row["placement_id"] for row in rows]


#: What an assignment is made of.
COLUMNS = (
    "no, id, attempt, lease, engine, prompt, next_prompt, cwd, permission_mode, model, session_id, resume, fork, "
    "allowed_tools, limits, spool_n, status, agent"
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
    )
