"""What failed in the last days, and what a person can do about it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from corral.agents import board
from corral.agents.board import Task
from corral.platform.access import Principal
from corral.runs import reads
from corral.web.console.agent_views import names
from corral.web.console.run_views import RunView, views

_DAYS = 3
_MOST = 50


@dataclass(frozen=True, slots=True)
class Failure:
    """A task or a run that has failed."""

    kind: str  #: task | run
    id: str
    title: str
    who: str  #: whose it was
    message: str
    hint: str | None
    at: int
    run_id: str | None


async def lately(caller: Principal) -> list[Failure]:
    """Return what failed within the last days, newest first; a run of such a task is told by the task."""
    since = int(time.time() * 1000) - _DAYS * 86_400_000
    tasks: list[Task] = []
    runs: list[RunView] = []
    if caller.has("tasks:read"):
        found = await board.page(caller.org_id, statuses=(board.ERROR,), limit=_MOST)
        tasks = [task for task in found if task.updated_at >= since and task.error not in board.BY_HAND]
    if caller.has("runs:read"):
        failed = await reads.page(caller.org_id, statuses=("failed",), limit=_MOST)
        runs = await views(caller.org_id, [run for run in failed if (run.ended_at or 0) >= since])
    told = {task.run_id for task in tasks}
    hints = {run.id: run.reason.hint for run in runs if run.reason}
    everybody = await names(caller.org_id)
    of_tasks = [_of_task(task, everybody.of(task.assignee_id), hints.get(task.run_id or "")) for task in tasks]
    return sorted(
        [*of_tasks, *(_of_run(run) for run in runs if run.id not in told and run.task_id is None)],
        key=lambda failure: -failure.at,
    )


def _of_task(task: Task, who: str, hint: str | None) -> Failure:
    return Failure(
        "task", task.id, task.title, who, task.error or "It failed", hint, task.ended_at or task.updated_at, task.run_id
    )


def _of_run(run: RunView) -> Failure:
    reason = run.reason
    return Failure(
        "run", run.id, run.title, run.agent or run.runner or "", reason.message if reason else "It failed",
        reason.hint if reason else None, run.ended_at or run.created_at, run.id,
    )  # fmt: skip
