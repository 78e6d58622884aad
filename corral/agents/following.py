"""Tasks and agents follow their runs, in the transaction of every change of a run's state: no race tells lies."""

from __future__ import annotations

from corral.agents import board, holds, mail
from corral.agents.mail import Letter, MessageType
from corral.platform.database import Row, Unit, sql
from corral.runs import states
from corral.runs.hints import Hints
from corral.runs.states import AGAIN, Change
from corral.wire.runs import ENDED, RunStatus

_STATUS = {
    RunStatus.QUEUED: board.PENDING,
    RunStatus.RUNNING: board.RUNNING,
    RunStatus.WAITING: board.WAITING,
    RunStatus.PAUSED: board.WAITING,
}
#: Between a failure and the next try, in ms, doubling up to the most.
_PAUSE, _LONGEST_PAUSE = 10_000, 600_000


def listen() -> None:
    """Follow from now on; the composition root calls this once."""
    states.on_transition(follow)
    states.on_choice(holds.refresh)


def follow(change: Change, hints: Hints) -> Unit[None]:
    """Bring the run's task and agent in line with the run's new state."""
    if change.told is AGAIN:
        yield from _begin_again(change)
    if change.task_id is not None:
        yield from _follow_task(change, hints)
    if change.status in ENDED:
        yield from _answer(change, hints)
    if change.status != RunStatus.RUNNING:
        yield from holds.refresh(change.agent_id, hints)


def _follow_task(change: Change, hints: Hints) -> Unit[None]:
    if change.status not in ENDED:
        yield sql(
            "UPDATE tasks SET status = $3, updated_at = now_ms() WHERE id = $1 AND run_id = $2 AND ended_at IS NULL",
            change.task_id, change.run_id, _STATUS[change.status],
        )  # fmt: skip
        return
    rows = yield sql(
        "UPDATE tasks SET tries = tries WHERE id = $1 AND run_id = $2 RETURNING *", change.task_id, change.run_id
    )
    if not rows or rows[0]["ended_at"] is not None:
        return
    task = rows[0]
    yield from holds.lock(change.agent_id, task["requester_id"])
    if change.status == RunStatus.COMPLETED:
        yield from board.end(task, board.DONE, hints, result=str(change.told.get("text") or ""))
        return
    error = str(change.told.get("message") or change.told.get("code") or change.status)
    if change.status == RunStatus.FAILED and task["tries"] < task["retries"]:
        yield from _try_again(task, error)
    else:
        yield from board.end(task, board.ERROR, hints, error=error)


def _begin_again(change: Change) -> Unit[None]:
    """Open the task of a run that goes on after its end, and count what the run handed out and will still hear of.

    Results that came meanwhile are in its agent's inbox.
    """
    yield sql(
        "UPDATE tasks SET result = NULL, error = NULL, ended_at = NULL, retry_at = NULL, due_at = NULL "
        "WHERE id = $1 AND run_id = $2",
        change.task_id,
        change.run_id,
    )
    yield sql(
        "UPDATE runs SET awaits = awaits + (SELECT count(*) FROM tasks t WHERE t.origin_run_no = $1 "
        "AND t.origin_call_no IS NULL AND t.heard_at IS NULL AND (t.ended_at IS NULL OR EXISTS (SELECT 1 FROM messages "
        "m WHERE m.task_id = t.id AND m.type = 'task.result' AND m.handled_at IS NULL AND m.dead_at IS NULL))) "
        "WHERE no = $1",
        change.run_no,
    )


def _try_again(task: Row, error: str) -> Unit[None]:
    yield sql(
        "UPDATE tasks SET status = 'pending', tries = tries + 1, error = $2, retry_at = now_ms() + $3, "
        "updated_at = now_ms() WHERE id = $1",
        task["id"], error, min(_PAUSE * 2 ** task["tries"], _LONGEST_PAUSE),
    )  # fmt: skip


def _answer(change: Change, hints: Hints) -> Unit[None]:
    """Send how a run ended to the people whose messages began it, or asked it something."""
    asked = yield sql("SELECT id, sender FROM messages WHERE answer_run_id = $1 ORDER BY no", change.run_id)
    completed = change.status == RunStatus.COMPLETED
    for message in asked:
        letter = Letter(
            type=MessageType.ANSWER,
            sender=change.agent_id,
            receiver=message["sender"],
            text=str(change.told.get("text" if completed else "message") or change.status),
            task_id=change.task_id,
            run_id=change.run_id,
            reply_to=message["id"],
        )
        yield from mail.send(change.org_id, letter, hints)
