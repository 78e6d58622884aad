"""The one executor of the tools that every agent has, whatever engine runs it."""

from __future__ import annotations

from typing import Any

import msgspec

from corral.agents import board, delegation, governors, mail, roster
from corral.agents.mail import Letter, MessageType
from corral.base.errors import BadRequest, Conflict, LeaseLost, NotFound
from corral.platform import acting
from corral.platform import policy as policies
from corral.platform.database import Row, Unit, sql
from corral.runs import approvals, calls, queue
from corral.runs.calls import Call
from corral.runs.frames import moment
from corral.runs.hints import Hints, decide
from corral.wire.tools import (
    INPUTS,
    AskHuman,
    CheckTask,
    DelegateTask,
    ListAgents,
    ReadInbox,
    ReportProgress,
    SendMessage,
    Tool,
    ToolAnswer,
    ToolCall,
)


async def call(org_id: int, run_id: str, name: str, body: ToolCall) -> ToolAnswer:
    """Carry out a call of a run's open attempt, once, and wait a while for its answer; mistakes are answers too."""
    if name not in INPUTS:
        raise NotFound(f"There is no tool {name}")
    tool = Tool(name)
    try:
        arguments = _arguments(tool, bytes(body.input))
    except (msgspec.DecodeError, ValueError) as error:
        return ToolAnswer(done=True, text=f"{name}: {error}", is_error=True)

    def once(hints: Hints) -> Unit[tuple[int, Call]]:
        run = yield from queue.locked(org_id, run_id)
        if not run["attempt_open"] or run["agent_id"] is None:
            raise LeaseLost
        if run["cancel_requested_at"] is not None:
            raise Conflict("This run is being cancelled")
        if isinstance(arguments, CheckTask | ListAgents):  # has no effect, so it is looked up anew each time
            text = yield from _look(run, arguments)
            return int(run["no"]), Call(0, is_new=False, answer=ToolAnswer(done=True, text=text))
        begun = yield from calls.begin(run, body.call_id, tool.value, msgspec.json.encode(arguments))
        if begun.is_new:
            yield from _carry_out(run, begun.no, arguments, hints)
            begun = yield from calls.look(begun.no)
        elif not begun.answer.done:
            yield from calls.block(run, hints)  # a later attempt took over a call that still waits
        return int(run["no"]), begun

    try:
        with acting.as_(acting.for_(f"run:{run_id}", org_id)):
            run_no, begun = await decide(once)
    except LeaseLost:
        raise
    except (BadRequest, Conflict, NotFound) as error:  # nothing was written; the agent may correct itself
        return ToolAnswer(done=True, text=error.message, is_error=True)
    if begun.answer.done or not body.wait_seconds:
        return begun.answer
    return await calls.wait(run_no, begun.no, body.wait_seconds)


def _carry_out(run: Row, call_no: int, arguments: Any, hints: Hints) -> Unit[None]:
    match arguments:
        case DelegateTask():
            yield from delegation.delegate(run, call_no, arguments, hints)
        case AskHuman():
            yield from approvals.ask(run, call_no, arguments.question, arguments.options, hints)
        case SendMessage(type="question"):
            question = DelegateTask(arguments.to, _title(arguments.text), arguments.text)
            yield from delegation.delegate(run, call_no, question, hints)
        case SendMessage():
            yield from _send(run, call_no, arguments, hints)
        case ReadInbox():
            yield from calls.finish(call_no, (yield from _read(run, arguments)), False, hints)
        case ReportProgress():
            yield from _report(run, arguments, hints)
            yield from calls.finish(call_no, "Reported.", False, hints)


def _arguments(tool: Tool, text: bytes) -> Any:
    arguments = msgspec.json.decode(text, type=INPUTS[tool])
    if b"\\u0000" in text:
        raise ValueError("a NUL character cannot be stored")
    return arguments


def _look(run: Row, arguments: CheckTask | ListAgents) -> Unit[str]:
    if isinstance(arguments, CheckTask):
        return (yield from _look_at(run, arguments))
    return (yield from _list(run))


def _send(run: Row, call_no: int, wanted: SendMessage, hints: Hints) -> Unit[None]:
    policy = yield from policies.of(run["org_id"])
    refusal = yield from governors.too_many_sent(run, policy)
    if refusal is not None:
        yield from delegation.refuse(run, call_no, "send_message", refusal, hints)
        return
    everybody = wanted.to == mail.EVERYBODY
    to = {"id": mail.EVERYBODY} if everybody else (yield from roster.find(run["org_id"], wanted.to))
    letter = Letter(
        type=MessageType(wanted.type), sender=run["agent_id"], receiver=to["id"], text=wanted.text, run_id=run["id"]
    )
    if everybody:
        count = yield from mail.broadcast(run["org_id"], letter, hints)
        answer = f"Sent to {count} agents."
    else:
        yield from mail.send(run["org_id"], letter, hints)
        answer = f"Sent to {to['name']}."
    yield from mail.noted(run["org_id"], letter)
    yield from calls.finish(call_no, answer, False, hints)


def _look_at(run: Row, wanted: CheckTask) -> Unit[str]:
    rows = yield sql(
        "SELECT t.*, a.name AS assignee, r.hold FROM tasks t JOIN agents a ON a.id = t.assignee_id "
        "LEFT JOIN runs r ON r.id = t.run_id WHERE t.org_id = $1 AND t.id = $2",
        run["org_id"],
        wanted.id,
    )
    if not rows:
        raise NotFound(f"id: there is no task {wanted.id}")
    task = rows[0]
    return _json(
        {
            "id": task["id"],
            "title": task["title"],
            "assignee": task["assignee"],
            "status": task["status"],
            "waits_for": task["hold"] if task["status"] == board.PENDING else None,
            "result": task["result"],
            "error": task["error"],
        }
    )


def _read(run: Row, wanted: ReadInbox) -> Unit[str]:
    messages = yield from mail.read(run["org_id"], run["agent_id"], wanted.limit)
    if not messages:
        return "No new messages."
    return _json(
        [
            {
                "id": one.id,
                "type": one.type,
                "from": one.sender,
                "text": one.text,
                "task_id": one.task_id,
                "at": moment(one.created_at),
            }
            for one in messages
        ]
    )


def _list(run: Row) -> Unit[str]:
    rows = yield sql(
        f"{roster.AGENTS} AND a.state <> 'archived' ORDER BY a.no",
        run["org_id"],
    )
    return _json(
        [
            {
                "id": agent.id,
                "name": agent.name,
                "role": agent.role[:300],
                "team": agent.team,
                "manager": agent.manager_id,
                "status": agent.status,
                "you": agent.id == run["agent_id"],
            }
            for agent in map(roster.from_row, rows)
        ]
    )


def _report(run: Row, wanted: ReportProgress, hints: Hints) -> Unit[None]:
    if run["task_id"] is None:
        return
    rows = yield sql("SELECT id, requester_id, created_by FROM tasks WHERE id = $1", run["task_id"])
    letter = Letter(
        type=MessageType.TASK_PROGRESS,
        sender=run["agent_id"],
        receiver=rows[0]["requester_id"] or rows[0]["created_by"],
        text=wanted.text,
        task_id=run["task_id"],
        run_id=run["id"],
    )
    yield from mail.send(run["org_id"], letter, hints)


def _title(text: str) -> str:
    first = next(iter(text.strip().splitlines()), "Question")
    return first if len(first) <= 80 else first[:79] + "…"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
