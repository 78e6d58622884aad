"""Tasks and epics as Fleetrun shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from corral.agents import board, waits
from corral.agents.board import Task
from corral.agents.epics import Epic
from corral.runs import reads
from corral.runs.frames import moment
from corral.web.present.logs import pages
from corral.web.present.telling import Teller
from corral.web.present.times import shown

_PRIORITIES = {number: word for word, number in board.PRIORITIES.items()}


class TaskView(msgspec.Struct, kw_only=True):
    """A unit of work."""

    id: str
    title: str
    input: str
    assignee: str  #: an agent's id
    requester: str | None  #: the agent that handed it out
    priority: str  #: low, normal or high
    epic_id: str | None
    parent: str | None  #: the task it is a part of
    status: str  #: pending, running, done, error or waiting
    why: str | None  #: what it waits for
    run_id: str | None  #: its latest run
    retries: int  #: how often a failure is tried again
    created_at: str
    updated_at: str


class LogEntry(msgspec.Struct):
    """One thing that happened in one of its runs."""

    type: str  #: thinking, tool_call, tool_result, output or error
    text: str
    run_id: str
    created_at: str


class TaskDetail(TaskView, kw_only=True):
    """A task with everything about it."""

    blocked_by: list[str]  #: the tasks that must be done before it
    result: str | None  #: the final text
    error: str | None  #: what went wrong
    tries: int  #: failures since it was last asked to start
    created_by: str
    ended_at: str | None
    log: list[LogEntry]  #: of all its runs, oldest first


class Progress(msgspec.Struct):
    """How far an epic is."""

    tasks: int
    done: int
    failed: int
    percent: int  #: of its tasks that are done


class EpicView(msgspec.Struct, kw_only=True):
    """Tasks that belong together."""

    id: str
    title: str
    description: str
    progress: Progress
    created_at: str
    updated_at: str


async def task_views(org_id: int, tasks: Sequence[Task]) -> list[TaskView]:
    """Show tasks."""
    why = await waits.why(org_id, tasks)
    return [TaskView(**_fields(task, why.get(task.id))) for task in tasks]


async def task_view(org_id: int, task: Task) -> TaskView:
    """Show one task."""
    return (await task_views(org_id, [task]))[0]


async def task_detail(org_id: int, task: Task) -> TaskDetail:
    """Show one task with the log of all its runs."""
    why = await waits.why(org_id, [task])
    return TaskDetail(
        **_fields(task, why.get(task.id)),
        blocked_by=(await waits.blockers(org_id, [task.id])).get(task.id, []),
        result=task.result,
        error=task.error,
        tries=task.tries,
        created_by=task.created_by,
        ended_at=shown(task.ended_at),
        log=await _log(org_id, task),
    )


def epic_view(epic: Epic) -> EpicView:
    """Show an epic."""
    return EpicView(
        id=epic.id,
        title=epic.title,
        description=epic.description,
        progress=Progress(epic.tasks, epic.done, epic.failed, 100 * epic.done // epic.tasks if epic.tasks else 0),
        created_at=moment(epic.created_at),
        updated_at=moment(epic.updated_at),
    )


def _fields(task: Task, why: str | None) -> dict[str, Any]:
    return {
        "id": task.id,
        "title": task.title,
        "input": task.input,
        "assignee": task.assignee_id,
        "requester": task.requester_id,
        "priority": _PRIORITIES[task.priority],
        "epic_id": task.epic_id,
        "parent": task.parent_id,
        "status": task.status,
        "why": why,
        "run_id": task.run_id,
        "retries": task.retries,
        "created_at": moment(task.created_at),
        "updated_at": moment(task.updated_at),
    }


async def _log(org_id: int, task: Task) -> list[LogEntry]:
    found: list[LogEntry] = []
    for run in await reads.of_task(org_id, task.id):
        teller = Teller()
        async for page in pages(run.no):
            told = ((teller.tell(event), event.created_at) for event in page)
            found += [LogEntry(*one, run.id, moment(at)) for one, at in told if one is not None]
    return found
