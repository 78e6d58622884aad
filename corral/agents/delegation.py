"""An agent hands a task to another: the task and its message in one transaction, or a refusal that both can read."""

from __future__ import annotations

from corral.agents import board, governors, holds, mail, roster
from corral.agents.board import NewTask
from corral.agents.governors import Refusal
from corral.agents.mail import Letter, MessageType
from corral.base.ids import new_id
from corral.platform import policy as policies
from corral.platform.database import Row, Unit, sql
from corral.runs import calls, inputs, log
from corral.runs.hints import Hints
from corral.wire.events import EventType
from corral.wire.tools import DelegateTask


def delegate(run: Row, call_no: int, wanted: DelegateTask, hints: Hints) -> Unit[None]:
    """Carry out a call of `delegate_task` by this run, as `queue.locked` has read it."""
    org_id = run["org_id"]
    to = yield from roster.find(org_id, wanted.to)
    parent = yield from _task_of(run)
    policy = yield from policies.of(org_id)
    yield from holds.lock(run["agent_id"], to["id"])
    refusal = yield from governors.check(run, parent, to, wanted.input, policy)
    if refusal is not None:
        yield from refuse(run, call_no, "delegate_task", refusal, hints)
        return
    new = NewTask(
        id=new_id(),
        title=wanted.title,
        input=wanted.input,
        assignee_id=to["id"],
        requester_id=run["agent_id"],
        created_by=f"run:{run['id']}",
        priority=board.PRIORITIES[wanted.priority],
        parent_id=parent["id"] if parent else None,
    )
    yield from board.insert(
        org_id,
        new,
        board.from_row(parent) if parent else None,
        wanted_at=run["now"],
        due_at=run["now"] + int(policy.due_hours * 3_600_000),
        origin_run_no=run["no"],
        origin_call_no=call_no if wanted.wait else None,
    )
    letter = Letter(
        type=MessageType.TASK_ASSIGNED,
        sender=run["agent_id"],
        receiver=to["id"],
        text=wanted.title,
        task_id=new.id,
        run_id=run["id"],
    )
    yield from mail.send(org_id, letter, hints)
    told = {"task_id": new.id, "to": to["id"], "name": to["name"], "title": wanted.title}
    yield from log.append(run["no"], EventType.BUS_DELEGATED, told, hints)
    if wanted.wait:
        yield from calls.block(run, hints)
    else:
        yield from inputs.expect(run["no"])
        answer = f"Task {new.id} was handed to {to['name']}. Its result will reach you as a message."
        yield from calls.finish(call_no, answer, False, hints)


def refuse(run: Row, call_no: int, tool: str, refusal: Refusal, hints: Hints) -> Unit[None]:
    """Tell the agent and the run's log why its call is not carried out."""
    told = {"tool": tool, "code": refusal.code, "message": refusal.message}
    yield from log.append(run["no"], EventType.BUS_REFUSED, told, hints)
    yield from calls.finish(call_no, f"Refused ({refusal.code}): {refusal.message}", True, hints)


def _task_of(run: Row) -> Unit[Row | None]:
    if run["task_id"] is None:
        return None
    rows = yield sql("UPDATE tasks SET tries = tries WHERE id = $1 RETURNING *", run["task_id"])
    return rows[0] if rows else None
