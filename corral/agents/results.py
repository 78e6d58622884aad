"""What became of a task reaches whoever handed it out: a message first, then what that message does to their run."""

from __future__ import annotations

from corral.agents import mail
from corral.agents.mail import Letter, MessageType
from corral.base.ids import is_id
from corral.platform.database import Row, Unit, sql
from corral.runs import calls, inputs, log
from corral.runs.hints import Hints
from corral.wire.events import EventType
from corral.wire.runs import ENDED, Engine

#: Characters of a result that travel; the task keeps all of it.
_MOST = 100_000


def report(task: Row, hints: Hints) -> Unit[None]:
    """Send the result of a task that has just ended to the agent, or the person, who wanted it."""
    receiver = task["requester_id"] or task["created_by"]
    if not is_id(receiver) and not receiver.startswith(("user:", "key:")):
        return
    letter = Letter(
        type=MessageType.TASK_RESULT,
        sender=task["assignee_id"],
        receiver=receiver,
        text=(task["result"] or "" if task["status"] == "done" else task["error"] or "It failed")[:_MOST],
        task_id=task["id"],
        run_id=task["run_id"],
    )
    yield from mail.send(task["org_id"], letter, hints)


def deliver(message: Row, hints: Hints) -> Unit[None]:
    """Give a result to the run that handed the task out: as its tool's answer, or as something it is told."""
    tasks = yield sql(
        "SELECT t.*, a.name AS assignee FROM tasks t JOIN agents a ON a.id = t.assignee_id WHERE t.id = $1",
        message["task_id"],
    )
    if not tasks or tasks[0]["origin_run_no"] is None:
        return
    task = tasks[0]
    run = yield from _locked(task["origin_run_no"])
    if run is None or run["status"] in ENDED:
        return  # it is in the inbox
    is_first = yield sql(
        "UPDATE tasks SET heard_at = now_ms() WHERE id = $1 AND heard_at IS NULL RETURNING no", task["id"]
    )
    yield sql("UPDATE messages SET read_at = now_ms() WHERE no = $1", message["no"])
    told = {"task_id": task["id"], "from": task["assignee"], "title": task["title"], "status": task["status"]}
    yield from log.append(run["no"], EventType.BUS_RESULT, {**told, "text": message["text"]}, hints)
    failed = task["status"] != "done"
    if is_first and task["origin_call_no"] is not None:
        answer = f"The task failed: {message['text']}" if failed else message["text"]
        is_heard = yield from calls.finish(task["origin_call_no"], answer, failed, hints)
        if is_heard or run["engine"] == Engine.PROVIDER:  # whose next attempt asks for the same call again
            return
    how = "failed" if failed else "is done"
    text = f"[Corral] The task {task['title']!r} ({task['id']}) {how}. {task['assignee']} says:\n\n{message['text']}"
    yield from inputs.tell(run, text, hints, expected=bool(is_first) and task["origin_call_no"] is None)


def progress(message: Row, hints: Hints) -> Unit[None]:
    """Let the run that handed the task out show how far it is."""
    tasks = yield sql(
        "SELECT t.id, t.origin_run_no, a.name AS assignee FROM tasks t JOIN agents a ON a.id = t.assignee_id "
        "WHERE t.id = $1",
        message["task_id"],
    )
    if not tasks or tasks[0]["origin_run_no"] is None:
        return
    run = yield from _locked(tasks[0]["origin_run_no"])
    if run is not None and run["status"] not in ENDED:
        told = {"task_id": tasks[0]["id"], "from": tasks[0]["assignee"], "text": message["text"]}
        yield from log.append(run["no"], EventType.BUS_PROGRESS, told, hints)


def _locked(run_no: int) -> Unit[Row | None]:
    """Return the run, and keep others from changing it until the commit; None if it was deleted."""
    rows = yield sql("UPDATE runs SET followups = followups WHERE no = $1 RETURNING *", run_no)
    return rows[0] if rows else None
