"""Tasks: the board, the form that makes and changes one, and each one's page."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from corral.agents import board, epics, mail, roster, starting, waits
from corral.agents.board import NewTask, Task
from corral.base.errors import BadRequest, Conflict, CorralError
from corral.platform import orgs
from corral.runs import approvals, reads
from corral.usage import ledger
from corral.web import answers
from corral.web.answers import Answer, redirect
from corral.web.call import Call
from corral.web.console.agent_views import names
from corral.web.console.cards import card
from corral.web.console.message_views import message_views
from corral.web.console.overtaken import Change, marked, overtaken
from corral.web.console.page import back_to, page
from corral.web.console.run import remedy
from corral.web.console.run_views import view as run_view
from corral.web.console.run_views import views as run_views
from corral.web.console.runs import said
from corral.web.console.sign_in import Nothing
from corral.web.console.task_views import PRIORITIES, STATUSES, TaskView, task_views, tree
from corral.web.routes import Routes

route = Routes("console", hidden=True, content=answers.HTML)

_OPEN_MOST = 500
_ENDED_MOST = 30  #: in each of the board's columns of tasks that have ended
_CHOICES = 200  #: tasks that a form offers
_RETRIES_MOST = 20
_BOARD = "/app/board"


class BoardQuery(msgspec.Struct):
    """Which tasks stand on the board."""

    epic: str = ""
    agent: str = ""
    priority: str = ""


class Move(msgspec.Struct):
    """A card that was put into another column."""

    task: str = ""
    status: str = ""
    back: str = _BOARD


class TaskForm(Change):
    """What makes or changes a task."""

    title: str = ""
    input: str = ""
    agent: str = ""
    priority: str = "normal"
    epic: str = ""
    parent: str = ""
    blocked_by: list[str] = []
    retries: Annotated[str, msgspec.Meta(max_length=9)] = "0"
    start: bool = False


class Preset(msgspec.Struct):
    """What a new task's form begins with."""

    agent: str = ""
    epic: str = ""
    parent: str = ""


class Cancel(msgspec.Struct):
    """How much is cancelled."""

    tree: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """One status of the board."""

    state: str
    status: str  #: the class that colours its dot
    word: str
    tasks: list[TaskView]
    more: bool  #: there are older ones


@route.get("/app/board", scope="tasks:read")
async def board_page(call: Call, query: BoardQuery) -> Answer:
    """Show the tasks by status."""
    return await _board(call, query)


@route.post("/app/board/move", scope="tasks:write", repeatable=False)
async def move_card(call: Call, form: Move) -> Answer:
    """Do what a card's new column means: start the task, or give it that end."""
    back = form.back if urlsplit(form.back).path == _BOARD else _BOARD
    try:
        await _move(call, form.task, form.status)
    except CorralError as error:
        chosen = msgspec.convert(dict(parse_qsl(urlsplit(back).query)), BoardQuery)
        return await _board(call, chosen, problem=said(error), status=409)
    return back_to(call, back)


@route.get("/app/tasks/new", scope="tasks:write")
async def new_task_page(call: Call, query: Preset) -> Answer:
    """Show the form that makes a task."""
    return await _form(call, TaskForm(agent=query.agent, epic=query.epic, parent=query.parent), {})


@route.post("/app/tasks", scope="tasks:write", repeatable=False)
async def make_task_from_page(call: Call, form: TaskForm) -> Answer:
    """Make a task, start it if that is wanted, and lead to its page."""
    errors = _problems(form)
    if not errors:
        try:
            task = await board.create(call.org_id, _new(call, form))
        except BadRequest as error:
            errors[_FIELDS.get(error.field or "", error.field or "title")] = said(error)
        else:
            if form.start:
                with contextlib.suppress(CorralError):  # its page says why it does not start
                    await starting.start(call.org_id, task.id, call.actor)
            return redirect(f"/app/tasks/{task.id}")
    return await _form(call, form, errors, status=400)


@route.get("/app/tasks/<task_id>", scope="tasks:read")
async def task_page(call: Call, task_id: str) -> Answer:
    """Show one task: why it waits, its tree, messages and runs, and the log of the latest run."""
    return await show(call, task_id)


@route.get("/app/tasks/<task_id>/edit", scope="tasks:write")
async def edit_task_page(call: Call, task_id: str) -> Answer:
    """Show the form that changes a task."""
    task = await board.get(call.org_id, task_id)
    return await _form(call, marked(await _filled(task)), {}, task)


@route.post("/app/tasks/<task_id>/edit", scope="tasks:write", repeatable=False)
async def change_task_from_page(call: Call, form: TaskForm, task_id: str) -> Answer:
    """Change a task."""
    task = await board.get(call.org_id, task_id)
    errors = _problems(form) or overtaken(form, await _filled(task))
    if not errors:
        changed = {
            "title": form.title.strip(),
            "input": _text(form),
            "assignee_id": form.agent,
            "priority": board.PRIORITIES[form.priority],
            "epic_id": form.epic or None,
            "retries": int(form.retries),
        }
        try:
            await board.update(call.org_id, task_id, changed, blocked_by=form.blocked_by)
        except (BadRequest, Conflict) as error:
            field, _, rest = error.message.partition(": ")
            name = _FIELDS.get(error.field or field, error.field or field)
            errors[name if rest and name in TaskForm.__struct_fields__ else "title"] = rest or error.message
        else:
            return redirect(f"/app/tasks/{task_id}")
    return await _form(call, form, errors, task, status=400)


@route.post("/app/tasks/<task_id>/start", scope="tasks:write", repeatable=False)
async def start_task_from_page(call: Call, form: Nothing, task_id: str) -> Answer:
    """Start a task, or start it again."""
    try:
        await starting.start(call.org_id, task_id, call.actor)
    except (BadRequest, Conflict) as error:
        return await show(call, task_id, problem=said(error), status=409)
    return back_to(call, f"/app/tasks/{task_id}")


@route.post("/app/tasks/<task_id>/cancel", scope="tasks:write", repeatable=False)
async def cancel_task_from_page(call: Call, form: Cancel, task_id: str) -> Answer:
    """Cancel a task, or it and everything below it."""
    try:
        await board.cancel(call.org_id, task_id, call.actor, tree=form.tree)
    except Conflict as error:
        return await show(call, task_id, problem=error.message, status=409)
    return back_to(call, f"/app/tasks/{task_id}")


async def _filled(task: Task) -> TaskForm:
    """Return the form as a task fills it."""
    blocked_by = (await waits.blockers(task.org_id, [task.id])).get(task.id, [])
    return TaskForm(
        title=task.title, input=task.input, agent=task.assignee_id, priority=PRIORITIES.get(task.priority, "normal"),
        epic=task.epic_id or "", blocked_by=sorted(blocked_by), retries=str(task.retries),
    )  # fmt: skip


async def _move(call: Call, task_id: str, status: str) -> None:
    task = await board.get(call.org_id, task_id)
    if status not in STATUSES:
        raise BadRequest("Choose one of the columns.")
    if status == task.status:
        return
    if status == board.RUNNING:
        await starting.start(call.org_id, task_id, call.actor)
    elif status == board.WAITING:
        raise Conflict(f"“{task.title}” stays where it is: a task waits by itself, for an answer or another task")
    else:
        try:
            await board.update(call.org_id, task_id, {"status": status})
        except Conflict:
            raise Conflict(
                f"“{task.title}” stays where it is: its run is not over. Cancel that on the task’s page first"
            ) from None


async def _board(call: Call, query: BoardQuery, *, problem: str | None = None, status: int = 200) -> Answer:
    async def chosen(statuses: Sequence[str], limit: int) -> list[Task]:
        return await board.page(
            call.org_id, statuses=statuses, limit=limit, epic=query.epic or None, assignee=query.agent or None,
            priority=board.PRIORITIES.get(query.priority),
        )  # fmt: skip

    found = await chosen(board.OPEN, _OPEN_MOST)
    for state in (board.DONE, board.ERROR):
        found += await chosen((state,), _ENDED_MOST + 1)
    shown = await task_views(call.org_id, found)
    asked = {name: value for name, value in msgspec.structs.asdict(query).items() if value}
    return await page(
        call, "board.html", "board", status=status, path=f"{_BOARD}?{urlencode(asked)}" if asked else _BOARD,
        columns=[_column(state, shown) for state in STATUSES], query=query, problem=problem,
        agents=list(reversed(await roster.page(call.org_id))), epics=await epics.page(call.org_id, limit=_CHOICES),
        priorities=tuple(PRIORITIES.values()), any_tasks=bool(found) or bool(asked),
    )  # fmt: skip


def _column(state: str, shown: Sequence[TaskView]) -> Column:
    here = [task for task in shown if task.state == state]
    status, word = STATUSES[state]
    is_open = state in board.OPEN
    if state == board.PENDING:
        here.sort(key=lambda task: -board.PRIORITIES[task.priority])
    return Column(state, status, word, here if is_open else here[:_ENDED_MOST], not is_open and len(here) > _ENDED_MOST)


async def show(call: Call, task_id: str, *, problem: str | None = None, status: int = 200) -> Answer:
    """Render the page of a task, with what went wrong with a form of it."""
    task = await board.get(call.org_id, task_id)
    everybody = await names(call.org_id)
    whole = await board.page(call.org_id, root=task.root_id)
    if all(one.id != task.id for one in whole):  # the tree is larger than what is shown of it
        whole.append(task)
    all_of_it = await task_views(call.org_id, whole)
    mine = next(one for one in all_of_it if one.id == task.id)
    titles = {one.id: one.title for one in all_of_it}
    others = (await waits.blockers(call.org_id, [task.id])).get(task.id, [])
    blockers = await task_views(call.org_id, [await board.get(call.org_id, one) for one in others])
    found = await reads.page(call.org_id, task_id=task.id)
    latest = next((run for run in found if run.id == task.run_id), found[0] if found else None)
    people = await orgs.people(call.org_id)
    asked = await approvals.page(call.org_id, pending_only=True, run_id=latest.id) if latest else []
    said_here = await mail.page(call.org_id, task_id=task.id, limit=200)
    sums = (await ledger.totals(run.no for run in found)).values()
    return await page(
        call, "task.html", "board", status=status, path=f"/app/tasks/{task.id}",
        task=mine, input=task.input, result=task.result, parent=titles.get(task.parent_id or ""),
        tree=tree(all_of_it, task.root_id) if len(all_of_it) > 1 else [],
        retry_at=task.retry_at, due_at=task.due_at, blockers=blockers,
        messages=message_views(list(reversed(said_here)), everybody), runs=await run_views(call.org_id, found),
        run=await run_view(call.org_id, latest) if latest else None,
        asks=[card(one, run=latest, people=people) for one in reversed(asked)],
        cost=sum(one.cost_usd for one in sums) if sums else None, remedy=remedy(call, latest),
        problem=problem,
    )  # fmt: skip


#: What the services call fields, and the form does.
_FIELDS = {"assignee": "agent", "epic_id": "epic", "parent_id": "parent"}


def _problems(form: TaskForm) -> dict[str, str]:
    errors = {}
    if not form.title.strip():
        errors["title"] = "Give it a title."
    elif len(form.title) > 200:
        errors["title"] = "At most 200 characters, please; the rest belongs below."
    if not form.agent:
        errors["agent"] = "Choose who does it."
    if form.priority not in board.PRIORITIES:
        errors["priority"] = "Choose one of these."
    if not (form.retries.isascii() and form.retries.isdigit() and int(form.retries) <= _RETRIES_MOST):
        errors["retries"] = f"A number from 0 to {_RETRIES_MOST}."
    return errors


def _text(form: TaskForm) -> str:
    return form.input.strip().replace("\r\n", "\n") or form.title.strip()


def _new(call: Call, form: TaskForm) -> NewTask:
    return NewTask(
        id=call.new_id(),
        title=form.title.strip(),
        input=_text(form),
        assignee_id=form.agent,
        created_by=call.actor,
        priority=board.PRIORITIES[form.priority],
        epic_id=form.epic or None,
        parent_id=form.parent or None,
        blocked_by=form.blocked_by,
        retries=int(form.retries),
    )


async def _form(
    call: Call, form: TaskForm, errors: Mapping[str, str], task: Task | None = None, status: int = 200
) -> Answer:
    others = await board.page(call.org_id, statuses=board.OPEN, limit=_CHOICES)
    for one in {form.parent, *form.blocked_by} - {other.id for other in others} - {""}:
        with contextlib.suppress(CorralError):  # it is said beside the field
            others.append(await board.get(call.org_id, one))
    return await page(
        call, "task_form.html", "board", status=status,
        path=f"/app/tasks/{task.id}/edit" if task else "/app/tasks/new", task=task, form=form, errors=errors,
        agents=list(reversed(await roster.page(call.org_id))), epics=await epics.page(call.org_id, limit=_CHOICES),
        others=[other for other in others if task is None or other.id != task.id],
        priorities=tuple(PRIORITIES.values()),
    )  # fmt: skip
