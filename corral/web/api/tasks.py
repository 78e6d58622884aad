"""Tasks: units of work with priority, epic and assignee. Their status follows their runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from corral.agents import board, epics, roster
from corral.agents.board import PRIORITIES, NewTask
from corral.web.api.launches import Prompt
from corral.web.api.paging import Id, Page, cut
from corral.web.call import Call
from corral.web.present.tasks import TaskDetail, TaskView, task_detail, task_view, task_views
from corral.web.routes import Routes

route = Routes("tasks")

Title = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"\S")]
Priority = Literal["low", "normal", "high"]
Others = Annotated[list[Id], msgspec.Meta(max_length=100)]
Retries = Annotated[int, msgspec.Meta(ge=0, le=20)]

_COLUMNS = {"assignee": "assignee_id"}


class TasksAsked(Page):
    """Which tasks to list."""

    status: Literal["pending", "running", "done", "error", "waiting"] | None = None
    assignee: Id | None = None  #: an agent's id
    epic_id: Id | None = None
    priority: Priority | None = None
    parent: Id | None = None  #: the task they are parts of
    tree: Id | None = None  #: a task in whose tree they are, above, beside or below it


class CreateTask(msgspec.Struct, forbid_unknown_fields=True):
    """A task to make."""

    title: Title  #: a short label
    input: Prompt  #: what the agent is told
    assignee: Id  #: an agent's id
    requester: Id | None = None  #: the agent that wants to hear its result
    priority: Priority = "normal"
    epic_id: Id | None = None
    parent: Id | None = None  #: the task it is a part of
    blocked_by: Others = []  #: tasks that must be done before it
    retries: Retries = 0  #: how often a failure is tried again


class ChangeTask(msgspec.Struct, forbid_unknown_fields=True):
    """What to change about a task; what is left out stays."""

    title: Title | msgspec.UnsetType = msgspec.UNSET
    input: Prompt | msgspec.UnsetType = msgspec.UNSET
    status: Literal["pending", "waiting", "done", "error"] | msgspec.UnsetType = msgspec.UNSET
    priority: Priority | msgspec.UnsetType = msgspec.UNSET
    assignee: Id | msgspec.UnsetType = msgspec.UNSET
    epic_id: Id | msgspec.UnsetType | None = msgspec.UNSET
    blocked_by: Others | msgspec.UnsetType = msgspec.UNSET
    retries: Retries | msgspec.UnsetType = msgspec.UNSET


class CancelTask(msgspec.Struct, forbid_unknown_fields=True):
    """How much to cancel."""

    tree: bool = False  #: also everything that was handed out below it


class Cancelled(msgspec.Struct):
    """It is being ended."""

    cancelled: int  #: how many tasks had no end yet
    ok: bool = True


@route.get("/api/tasks", scope="tasks:read")
async def list_tasks(call: Call, query: TasksAsked) -> list[TaskView]:
    """List tasks, newest first."""
    await _check_filters(call.org_id, query)
    root = (await board.get(call.org_id, query.tree, field="tree")).root_id if query.tree is not None else None
    found = await board.page(
        call.org_id,
        statuses=[query.status] if query.status else (),
        assignee=query.assignee,
        epic=query.epic_id,
        priority=PRIORITIES[query.priority] if query.priority else None,
        parent=query.parent,
        root=root,
        limit=query.size + 1,
        before=query.before,
    )
    filters = {name: getattr(query, name) for name in ("status", "assignee", "epic_id", "priority", "parent", "tree")}
    return await task_views(call.org_id, cut(call, found, query, [task.id for task in found], **filters))


@route.post("/api/tasks", scope="tasks:write", status=201, answers=(TaskDetail,), also=(409,))
async def create_task(call: Call, body: CreateTask) -> TaskView:
    """Make a task. It starts when it is run, or by itself if its agent starts so."""
    new = NewTask(
        id=call.new_id(),
        title=body.title,
        input=body.input,
        assignee_id=body.assignee,
        created_by=call.actor,
        requester_id=body.requester,
        priority=PRIORITIES[body.priority],
        epic_id=body.epic_id,
        parent_id=body.parent,
        blocked_by=body.blocked_by,
        retries=body.retries,
    )
    return await task_view(call.org_id, await board.create(call.org_id, new))


@route.get("/api/tasks/<id>", scope="tasks:read")
async def get_task(call: Call, id: str) -> TaskDetail:
    """Show a task with the full log of all its runs."""
    return await task_detail(call.org_id, await board.get(call.org_id, id))


@route.patch("/api/tasks/<id>", scope="tasks:write", answers=(TaskDetail,), also=(409,))
async def change_task(call: Call, id: str, body: ChangeTask) -> TaskView:
    """Change some fields of a task; its status and its assignee only while no run of it is live."""
    fields = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not msgspec.UNSET}
    blocked_by = fields.pop("blocked_by", None)
    columns: dict[str, Any] = {_COLUMNS.get(name, name): value for name, value in fields.items()}
    if "priority" in columns:
        columns["priority"] = PRIORITIES[columns["priority"]]
    return await task_view(call.org_id, await board.update(call.org_id, id, columns, blocked_by=blocked_by))


@route.post("/api/tasks/<id>/cancel", scope="tasks:write", also=(409,))
async def cancel_task(call: Call, id: str, body: CancelTask) -> Cancelled:
    """End a task, or it and everything that was handed out below it."""
    return Cancelled(await board.cancel(call.org_id, id, call.actor, tree=body.tree))


async def _check_filters(org_id: int, query: TasksAsked) -> None:
    if query.assignee is not None:
        await roster.get(org_id, query.assignee, field="assignee")
    if query.epic_id is not None:
        await epics.get(org_id, query.epic_id, field="epic_id")
    if query.parent is not None:
        await board.get(org_id, query.parent, field="parent")
