"""Tasks as pages show them: cards of the board, rows of lists, and trees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from corral.agents import board, epics, waits
from corral.agents.board import Task
from corral.web.console.agent_views import Names, names
from corral.web.console.run_views import asked, short, title

#: A task's status: the class that colours its dot, and its word.
STATUSES = {
    board.PENDING: ("queued", "Pending"),
    board.RUNNING: ("running", "Running"),
    board.WAITING: ("waiting", "Waiting"),
    board.DONE: ("completed", "Done"),
    board.ERROR: ("failed", "Error"),
}
PRIORITIES = {1: "high", 0: "normal", -1: "low"}


@dataclass(frozen=True, slots=True)
class TaskView:
    """One task."""

    id: str
    short: str
    title: str
    state: str  #: its own word: pending | running | waiting | done | error
    status: str  #: the class that colours its dot
    word: str
    why: str | None  #: what it waits for, or what went wrong
    assignee: str
    assignee_id: str
    requester: str  #: who handed it out or made it
    requester_id: str | None  #: of an agent
    priority: str
    epic: str | None
    epic_id: str | None
    parent_id: str | None
    run_id: str | None
    retries: int
    tries: int
    is_open: bool
    created_at: int
    updated_at: int
    ended_at: int | None
    below: list[TaskView] = field(default_factory=list)  #: in a tree, its sub-tasks

    @property
    def has_open_below(self) -> bool:
        """Say whether something below it in its tree has no end yet."""
        return any(task.is_open or task.has_open_below for task in self.below)


async def task_views(org_id: int, tasks: Sequence[Task]) -> list[TaskView]:
    """Return the views of tasks, in their order."""
    everybody = await names(org_id)
    titles = {epic.id: epic.title for epic in await epics.page(org_id)} if any(task.epic_id for task in tasks) else {}
    why = await waits.why(org_id, tasks)
    asks = await asked(org_id) if any(task.status == board.WAITING for task in tasks) else {}
    return [
        _view(task, everybody, titles.get(task.epic_id or ""), asks.get(task.run_id or "") or why.get(task.id))
        for task in tasks
    ]


def tree(tasks: Sequence[TaskView], root_id: str) -> list[TaskView]:
    """Return the root with everything below it, oldest first."""
    by_id = {task.id: task for task in tasks}
    for task in reversed(tasks):
        if (parent := by_id.get(task.parent_id or "")) is not None:
            parent.below.append(task)
    return [by_id[root_id]] if root_id in by_id else []


def _view(task: Task, everybody: Names, epic: str | None, why: str | None) -> TaskView:
    status, word = STATUSES[task.status]
    is_failed = task.status == board.ERROR
    return TaskView(
        id=task.id,
        short=short(task.id),
        title=task.title or title(task.input),
        state=task.status,
        status=status,
        word=word,
        why=why or (task.error if is_failed else None),
        assignee=everybody.of(task.assignee_id),
        assignee_id=task.assignee_id,
        requester=everybody.of(task.requester_id or task.created_by),
        requester_id=task.requester_id,
        priority=PRIORITIES.get(task.priority, "normal"),
        epic=epic,
        epic_id=task.epic_id if epic else None,
        parent_id=task.parent_id,
        run_id=task.run_id,
        retries=task.retries,
        tries=task.tries,
        is_open=task.status in board.OPEN,
        created_at=task.created_at,
        updated_at=task.updated_at,
        ended_at=task.ended_at,
    )
