"""What does a task wait for? Other tasks, its agent, a runner, a person, or what it handed out."""

from __future__ import annotations

from collections.abc import Sequence

from corral.agents.board import PENDING, WAITING, Task
from corral.platform import database
from corral.runs import reads
from corral.wire.runs import ENDED

#: What a run that waits has asked of a person, and of another agent.
_ASKED = (
    "SELECT r.id, EXISTS (SELECT 1 FROM approvals p WHERE p.run_no = r.no AND p.status = 'pending') AS asks, "
    "(SELECT a.name || ': ' || t.title FROM tasks t JOIN agents a ON a.id = t.assignee_id "
    "WHERE t.origin_run_no = r.no AND t.ended_at IS NULL ORDER BY t.no LIMIT 1) AS handed FROM runs r "
    "WHERE r.org_id = $1 AND r.id IN "
)


async def why(org_id: int, tasks: Sequence[Task]) -> dict[str, str]:
    """Say for each task without an end that isn't running what it waits for, by task id."""
    still = [task for task in tasks if task.status in {PENDING, WAITING}]
    runs = {run.id: run for run in await reads.some(org_id, [task.run_id for task in still if task.run_id is not None])}
    reasons = await reads.why(org_id, list(runs.values()))
    asked = await _asked(org_id, [task.run_id for task in still if task.status == WAITING and task.run_id is not None])
    found: dict[str, str] = {}
    for task in still:
        if task.retry_at is not None:
            found[task.id] = f"tries again soon: {task.error}"
        elif task.run_id in reasons:
            found[task.id] = reasons[task.run_id]
        elif task.status == WAITING:
            found[task.id] = asked.get(task.run_id or "", "about to go on")
        elif task.run_id not in runs or runs[task.run_id].status in ENDED:
            found[task.id] = "about to start" if task.wanted_at is not None else "not started"
    return found


async def _asked(org_id: int, run_ids: Sequence[str]) -> dict[str, str]:
    """Say whom each of these runs waits for, by run id: a person before an agent, who may need no hurry."""
    if not run_ids:
        return {}
    rows = await database.fetch(f"{_ASKED} ({_marks(run_ids)})", org_id, *run_ids)
    return {
        row["id"]: "waits for an answer" if row["asks"] else f"waits for {row['handed']}"
        for row in rows
        if row["asks"] or row["handed"]
    }


async def blockers(org_id: int, task_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return what each task waits for, done or not, by task id."""
    if not task_ids:
        return {}
    rows = await database.fetch(
        "SELECT task_id, blocked_by FROM task_blocks "  # noqa: S608 - placeholders
        f"WHERE org_id = $1 AND task_id IN ({_marks(task_ids)}) ORDER BY id",
        org_id,
        *task_ids,
    )
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["task_id"], []).append(row["blocked_by"])
    return found


def _marks(ids: Sequence[str]) -> str:
    """Return placeholders for ids that follow the org's."""
    return ", ".join(f"${n}" for n in range(2, len(ids) + 2))
