"""Tasks: made, read, changed and cancelled. Their status follows their runs (`following`); `waits` says what for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from corral.agents import blocks, epics, holds, mail, models, results, roster
from corral.agents.mail import Letter, MessageType
from corral.agents.roster import Agent
from corral.base.errors import BadRequest, Conflict, NotFound
from corral.base.ids import is_id
from corral.platform import audit, database, orgs
from corral.platform.database import Row, Unit, sql
from corral.runs import queue
from corral.runs.ending import CANCELLED
from corral.runs.hints import Hints, decide
from corral.wire.runs import ENDED

PENDING, RUNNING, DONE, ERROR, WAITING = "pending", "running", "done", "error", "waiting"
STATUSES = (PENDING, RUNNING, DONE, ERROR, WAITING)
#: Statuses in which a task has no end.
OPEN = (PENDING, RUNNING, WAITING)
_GIVEN_UP = "A person gave it up"
#: What is wrong with tasks that ended as a person wanted it: nothing that somebody has to look after.
BY_HAND = (CANCELLED, _GIVEN_UP)
PRIORITIES = {"low": -1, "normal": 0, "high": 1}


class Task(msgspec.Struct, frozen=True):
    """A task as it is stored."""

    no: int
    id: str
    org_id: int
    title: str
    input: str
    assignee_id: str
    requester_id: str | None
    created_by: str
    priority: int
    epic_id: str | None
    parent_id: str | None
    root_id: str
    depth: int
    status: str
    result: str | None
    error: str | None
    wanted_at: int | None
    run_id: str | None
    retries: int
    tries: int
    retry_at: int | None
    due_at: int | None
    origin_run_no: int | None
    origin_call_no: int | None
    created_at: int
    updated_at: int
    ended_at: int | None


class NewTask(msgspec.Struct, kw_only=True):
    """A task somebody makes."""

    id: str
    title: str
    input: str
    assignee_id: str
    created_by: str
    requester_id: str | None = None
    priority: int = 0
    epic_id: str | None = None
    parent_id: str | None = None
    blocked_by: Sequence[str] = ()
    retries: int = 0


COLUMNS = ", ".join(Task.__struct_fields__)


async def page(
    org_id: int,
    *,
    statuses: Sequence[str] = (),
    assignee: str | None = None,
    epic: str | None = None,
    priority: int | None = None,
    parent: str | None = None,
    root: str | None = None,
    limit: int = 1000,
    before: str | None = None,
) -> list[Task]:
    """Return tasks, newest first; `before` is a task's id, exclusive."""
    where, args = ["org_id = $1"], [org_id]

    def also(column: str, value: object) -> None:
        if value is not None:
            args.append(value)  # type: ignore[arg-type] # of every type a column has
            where.append(f"{column} ${len(args)}")

    if statuses:
        where.append(f"status IN ({', '.join(repr(one) for one in statuses if one in STATUSES)})")
    also("assignee_id =", assignee)
    also("epic_id =", epic)
    also("priority =", priority)
    also("parent_id =", parent)
    also("root_id =", root)
    also("no <", (await get(org_id, before, field="before")).no if before is not None else None)
    rows = await database.fetch(
        f"SELECT {COLUMNS} FROM tasks WHERE {' AND '.join(where)} ORDER BY no DESC LIMIT {int(limit)}",  # noqa: S608
        *args,
    )
    return [from_row(row) for row in rows]


async def titles(org_id: int, ids: Iterable[str]) -> dict[str, str]:
    """Return what tasks are called, by id."""
    return dict(await models.Task.filter(org_id=org_id, id__in=list(ids)).values_list("id", "title"))


async def get(org_id: int, task_id: str, *, field: str | None = None) -> Task:
    """Return one task; NotFound, or BadRequest about `field` where its id was part of a body."""
    query = f"SELECT {COLUMNS} FROM tasks WHERE org_id = $1 AND id = $2"  # noqa: S608 - a constant
    rows = await database.fetch(query, org_id, task_id) if is_id(task_id) else ()
    if rows:
        return from_row(rows[0])
    if field is not None:
        raise BadRequest(f"{field}: there is no task {task_id} here", field=field)
    raise NotFound(f"There is no task {task_id} here")


async def create(org_id: int, new: NewTask) -> Task:
    """Add a task; the same id twice is the same task. With an agent that starts by itself, it does."""
    agent = await _assignable(org_id, new.assignee_id)
    if new.requester_id is not None:
        await roster.get(org_id, new.requester_id, field="requester")
    parent = await get(org_id, new.parent_id, field="parent") if new.parent_id is not None else None
    await _known(org_id, new.epic_id, new.blocked_by)

    def unit(hints: Hints) -> Unit[None]:
        if not (yield from insert(org_id, new, parent)):
            return
        yield from blocks.add(org_id, new.id, new.blocked_by)
        if agent.autostart:
            yield from _assign(agent, new.id, new.title, new.created_by, hints)

    await decide(unit)
    return await get(org_id, new.id)


def _assign(agent: Agent, task_id: str, title: str, by: str, hints: Hints) -> Unit[None]:
    """Have a task started by telling its agent."""
    yield sql("UPDATE tasks SET wanted_at = now_ms() WHERE id = $1", task_id)
    letter = Letter(type=MessageType.TASK_ASSIGNED, sender=by, receiver=agent.id, text=title, task_id=task_id)
    yield from mail.send(agent.org_id, letter, hints)


def insert(org_id: int, new: NewTask, parent: Task | None, **more: Any) -> Unit[bool]:
    """Insert the row, below its parent's; False if it is there."""
    wanted = new.epic_id if new.epic_id is not None or parent is None else parent.epic_id
    columns = {
        "id": new.id,
        "org_id": org_id,
        "title": new.title,
        "input": new.input,
        "assignee_id": new.assignee_id,
        "requester_id": new.requester_id,
        "created_by": new.created_by,
        "priority": new.priority,
        "epic_id": (yield from epics.keep(org_id, wanted)),
        "parent_id": new.parent_id,
        "root_id": parent.root_id if parent else new.id,
        "depth": parent.depth + 1 if parent else 0,
        "status": PENDING,
        "retries": new.retries,
        "content_hash": content_hash(new.assignee_id, new.input),
        **more,
    }
    marks = ", ".join(f"${n}" for n in range(1, len(columns) + 1))
    rows = yield sql(
        f"INSERT INTO tasks ({', '.join(columns)}, tries, created_at, updated_at) "  # noqa: S608 - our columns
        f"VALUES ({marks}, 0, now_ms(), now_ms()) ON CONFLICT (id) DO NOTHING RETURNING no",
        *columns.values(),
    )
    if rows:
        told = {"title": new.title, "assignee": new.assignee_id, "parent": new.parent_id, "epic": columns["epic_id"]}
        yield from audit.note(org_id, "task.created", "task", new.id, **told)
    return bool(rows)


def content_hash(assignee_id: str, text: str) -> str:
    """Return what two tasks with the same target and, but for spaces and case, the same text have in common."""
    return hashlib.sha256(f"{assignee_id}\0{' '.join(text.split()).casefold()}".encode()).hexdigest()


async def update(
    org_id: int, task_id: str, fields: Mapping[str, Any], *, blocked_by: Sequence[str] | None = None
) -> Task:
    """Change columns. Its status is set by hand only while no run of it is live, and never to `running`."""
    await get(org_id, task_id)
    agent = await _assignable(org_id, fields["assignee_id"]) if "assignee_id" in fields else None
    await _known(org_id, fields.get("epic_id"), blocked_by or ())

    def unit(hints: Hints) -> Unit[None]:
        if blocked_by:
            yield from orgs.lock(org_id)
        given = dict(fields)
        if "epic_id" in given:
            given["epic_id"] = yield from epics.keep(org_id, given["epic_id"])
        task = yield from locked(org_id, task_id)
        changed = {column: value for column, value in given.items() if value != task[column]}
        told = audit.changes(task, changed, untold=("input",))
        live = yield from live_run(task)
        if live is not None:
            yield from _change_run(live, changed)
        status = changed.pop("status", None)
        if "assignee_id" in changed or "input" in changed:
            text, who = changed.get("input", task["input"]), changed.get("assignee_id", task["assignee_id"])
            changed["content_hash"] = content_hash(who, text)
        yield from _set(task_id, changed)
        if blocked_by is not None:
            before = yield sql("DELETE FROM task_blocks WHERE task_id = $1 RETURNING blocked_by", task_id)
            yield from blocks.add(org_id, task_id, blocked_by)
            if {row["blocked_by"] for row in before} != set(blocked_by):
                told["blocked_by"] = list(blocked_by)
        if told:
            yield from audit.note(org_id, "task.changed", "task", task_id, title=task["title"], **told)
        if live is not None:
            yield from holds.refresh(task["assignee_id"], hints)
        if status is not None:
            yield from _move(task, status, hints)
        elif agent is not None and "assignee_id" in changed and agent.autostart and task["status"] == PENDING:
            yield from _assign(agent, task_id, changed.get("title", task["title"]), task["created_by"], hints)

    await decide(unit)
    return await get(org_id, task_id)


def _change_run(live: Row, changed: Mapping[str, Any]) -> Unit[None]:
    """Bring the task's live run in line with what is changed; Conflict about what it is too late for."""
    for column, word in (("status", "status"), ("assignee_id", "assignee")):
        if column in changed:
            raise Conflict(f"{word}: the task has a live run; cancel that first")
    if "priority" in changed:
        yield sql("UPDATE runs SET priority = $2 WHERE no = $1", live["no"], changed["priority"])
    if "input" in changed:
        rows = yield sql(
            "UPDATE runs SET prompt = $2 WHERE no = $1 AND status = 'queued' AND attempt = 0 RETURNING no",
            live["no"],
            changed["input"],
        )
        if not rows:
            raise Conflict("input: the task's run has been told already; send it a message")


def _move(task: Row, status: str, hints: Hints) -> Unit[None]:
    """Set a task that has no live run to another status, by hand."""
    if status in {DONE, ERROR} and task["status"] in OPEN:
        yield from end(task, status, hints, error=_GIVEN_UP if status == ERROR else None)
        return
    again: dict[str, Any] = {"retry_at": None, "wanted_at": None, "tries": 0, "error": None}
    if status in OPEN:
        again |= {"result": None, "ended_at": None}
    yield from _set(task["id"], {"status": status, **again})
    if status == DONE:
        yield from blocks.release(task["id"], hints)


def _set(task_id: str, columns: Mapping[str, Any]) -> Unit[None]:
    sets = "".join(f", {column} = ${n}" for n, column in enumerate(columns, 2))
    yield sql(
        f"UPDATE tasks SET updated_at = now_ms(){sets} WHERE id = $1",  # noqa: S608 - our columns
        task_id,
        *columns.values(),
    )


async def cancel(org_id: int, task_id: str, by: str, *, tree: bool = False) -> int:
    """End a task, or it and everything below it; returns how many had no end. Conflict if there was nothing to end."""
    await get(org_id, task_id)
    rows = await database.fetch(
        "WITH RECURSIVE down(id) AS (SELECT id FROM tasks WHERE org_id = $1 AND id = $2 UNION "
        "SELECT t.id FROM tasks t JOIN down ON t.parent_id = down.id WHERE $3) "
        "SELECT t.id FROM tasks t JOIN down ON down.id = t.id WHERE t.status IN ('pending', 'running', 'waiting') "
        "ORDER BY t.no",
        org_id,
        task_id,
        tree,
    )
    if not rows:
        raise Conflict("The task has already ended")
    for row in rows:  # the parents first, so that nothing new comes below them
        await _cancel(org_id, row["id"], by)
    return len(rows)


async def _cancel(org_id: int, task_id: str, by: str) -> None:
    def unit(hints: Hints) -> Unit[None]:
        task = yield from locked(org_id, task_id)
        live = yield from live_run(task)
        if live is not None:
            yield from queue.stop(live, by, hints)
        elif task["status"] in OPEN:
            yield from end(task, ERROR, hints, error=CANCELLED)
        if task["status"] in OPEN and (live is None or live["cancel_requested_at"] is None):
            yield from audit.note(org_id, "task.cancelled", "task", task_id, title=task["title"], run=task["run_id"])

    await decide(unit)


def end(task: Row, status: str, hints: Hints, *, result: str | None = None, error: str | None = None) -> Unit[None]:
    """Give a task its end and tell whoever waits for it."""
    rows = yield sql(
        "UPDATE tasks SET status = $2, result = $3, error = $4, ended_at = now_ms(), updated_at = now_ms(), "
        "retry_at = NULL, wanted_at = NULL WHERE id = $1 AND status IN ('pending', 'running', 'waiting') RETURNING *",
        task["id"], status, result, error,
    )  # fmt: skip
    if not rows:
        return
    yield from results.report(rows[0], hints)
    if status == DONE:
        yield from blocks.release(task["id"], hints)


def locked(org_id: int, task_id: str) -> Unit[Row]:
    """Read the task and keep others from changing it or its run until the commit; the run first, as its end does."""
    yield sql(
        "UPDATE runs SET followups = followups WHERE id = (SELECT run_id FROM tasks WHERE id = $1 AND org_id = $2)",
        task_id,
        org_id,
    )
    rows = yield sql("UPDATE tasks SET tries = tries WHERE id = $1 AND org_id = $2 RETURNING *", task_id, org_id)
    if not rows:
        raise NotFound(f"There is no task {task_id} here")
    return rows[0]


def live_run(task: Row) -> Unit[Row | None]:
    """Return the task's run that has not ended, if there is one."""
    if task["run_id"] is None:
        return None
    rows = yield sql("SELECT * FROM runs WHERE id = $1", task["run_id"])
    return rows[0] if rows and rows[0]["status"] not in ENDED else None


async def load(org_id: int) -> dict[str, int]:
    """Return how many tasks without an end each agent has, by its id; who has none is not in the answer."""
    rows = await database.fetch(
        "SELECT assignee_id, count(*) AS n FROM tasks WHERE org_id = $1 "
        "AND status IN ('pending', 'running', 'waiting') GROUP BY assignee_id",
        org_id,
    )
    return {row["assignee_id"]: row["n"] for row in rows}


async def count(org_id: int, since: int, before: int) -> dict[str, int]:
    """Return how many tasks were made since then and before then (ms), by the agent that each was given to."""
    rows = await database.fetch(
        "SELECT assignee_id, count(*) AS n FROM tasks WHERE org_id = $1 AND created_at >= $2 AND created_at < $3 "
        "GROUP BY assignee_id",
        org_id,
        since,
        before,
    )
    return {row["assignee_id"]: row["n"] for row in rows}


def from_row(row: Row) -> Task:
    """Return the task of a row."""
    return Task(*(row[name] for name in Task.__struct_fields__))


async def _assignable(org_id: int, agent_id: str) -> Agent:
    agent = await roster.get(org_id, agent_id, field="assignee")
    if agent.state == roster.ARCHIVED:
        raise BadRequest(f"assignee: {agent.name} is archived", field="assignee")
    return agent


async def _known(org_id: int, epic_id: str | None, blocked_by: Sequence[str]) -> None:
    if epic_id is not None:
        await epics.get(org_id, epic_id, field="epic_id")
    for other in blocked_by:
        await get(org_id, other, field="blocked_by")
