"""Which tasks wait for which, and who may go on when one is done."""

from __future__ import annotations

from collections.abc import Sequence

from corral.agents import holds
from corral.base.errors import BadRequest
from corral.platform.database import Unit, many, sql
from corral.runs.hints import Hints


def add(org_id: int, task_id: str, others: Sequence[str]) -> Unit[None]:
    """Note what a task waits for; BadRequest if it would wait for itself."""
    if not others:
        return
    marks = ", ".join(f"${n}" for n in range(1, len(others) + 1))
    circle = yield sql(
        "WITH RECURSIVE before(id) AS ("  # noqa: S608 - placeholders
        f"SELECT id FROM tasks WHERE id IN ({marks}) UNION "
        "SELECT b.blocked_by FROM task_blocks b JOIN before ON b.task_id = before.id) "
        f"SELECT 1 FROM before WHERE id = ${len(others) + 1}",
        *others,
        task_id,
    )
    if circle:
        raise BadRequest("blocked_by: the task would wait for itself", field="blocked_by")
    yield many(
        "INSERT INTO task_blocks (org_id, task_id, blocked_by) VALUES ($1, $2, $3) "
        "ON CONFLICT (task_id, blocked_by) DO NOTHING",
        [(org_id, task_id, other) for other in others],
    )


def release(task_id: str, hints: Hints) -> Unit[None]:
    """Let the tasks go on that were blocked by this one."""
    rows = yield sql(
        "SELECT DISTINCT t.assignee_id FROM task_blocks b JOIN tasks t ON t.id = b.task_id WHERE b.blocked_by = $1",
        task_id,
    )
    yield from holds.refresh_all([row["assignee_id"] for row in rows], hints)
