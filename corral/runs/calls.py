"""Calls of Corral's own tools: each done once, however often it is asked, and answered whenever the answer is there.

A call that somebody else has to answer keeps its run `waiting`. A resumed session that repeats a call whose answer it
never got takes over the row of the earlier attempt; one that it did get may be meant anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import time

import msgspec

from corral import bus
from corral.base.errors import LeaseLost
from corral.platform import database
from corral.platform.database import Row, Unit, sql
from corral.runs import states
from corral.runs.hints import Hints, call_topic
from corral.wire.runs import RunStatus
from corral.wire.tools import ToolAnswer

#: Hints may be lost, so who waits looks again by itself.
_LOOK_AGAIN = 2.0


_SPOKE = "'agent.message', 'agent.thinking', 'agent.tool_call', 'session.waiting'"
#: The agent of the call `c` has its answer: it went on to speak after that, or ended its turn.
_HEARD = (
    "(c.done_at IS NOT NULL AND EXISTS (SELECT 1 FROM events e WHERE e.run_no = c.run_no AND e.attempt = c.attempt "  # noqa: S608 - constants
    f"AND e.created_at > c.done_at AND e.type IN ({_SPOKE})))"
)


class Call(msgspec.Struct, frozen=True):
    """A call as it stands."""

    no: int
    is_new: bool  #: its effect is still to be had
    answer: ToolAnswer


def begin(run: Row, call_id: str, tool: str, arguments: bytes) -> Unit[Call]:
    """Find or make the call; `run` is the locked row of the run whose attempt calls."""
    digest = hashlib.sha256(b"%s\0%s" % (tool.encode(), arguments)).hexdigest()
    rows = yield sql(
        "UPDATE calls SET attempt = $3 WHERE run_no = $1 AND call_id = $2 RETURNING *",
        run["no"], call_id, run["attempt"],
    )  # fmt: skip
    if not rows and run["attempt"] > 1:
        rows = yield sql(
            f"UPDATE calls SET call_id = $3, attempt = $4 WHERE no = (SELECT min(c.no) FROM calls c "  # noqa: S608 - constants
            f"WHERE c.run_no = $1 AND c.input_hash = $2 AND c.attempt < $4 AND NOT {_HEARD}) RETURNING *",
            run["no"], digest, call_id, run["attempt"],
        )  # fmt: skip
    if rows:
        return Call(rows[0]["no"], is_new=False, answer=_answer(rows[0]))
    rows = yield sql(
        "INSERT INTO calls (org_id, run_no, call_id, attempt, tool, input_hash, is_error, created_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, FALSE, now_ms()) RETURNING no",
        run["org_id"], run["no"], call_id, run["attempt"], tool, digest,
    )  # fmt: skip
    return Call(rows[0]["no"], is_new=True, answer=ToolAnswer(done=False))


def block(run: Row, hints: Hints) -> Unit[None]:
    """The attempt waits for the answer of somebody else."""
    if run["attempt_open"] and run["status"] == RunStatus.RUNNING:
        yield from states.advance(run["no"], RunStatus.WAITING, hints)


def finish(call_no: int, text: str, is_error: bool, hints: Hints) -> Unit[bool]:
    """Answer a call, once; False if nobody waits for that now, because the attempt that asked is gone.

    The answer is kept even then: a later attempt that repeats the call has it at once.
    """
    rows = yield sql(
        "UPDATE calls SET answer = $2, is_error = $3, done_at = now_ms() WHERE no = $1 AND done_at IS NULL "
        "RETURNING run_no, (SELECT r.attempt_open AND r.attempt = calls.attempt FROM runs r WHERE r.no = calls.run_no) "
        "AS is_heard",
        call_no, text, is_error,
    )  # fmt: skip
    if not rows:
        return False
    hints.call(rows[0]["run_no"])
    yield from states.go_on(rows[0]["run_no"], hints)
    return bool(rows[0]["is_heard"])


async def wait(run_no: int, call_no: int, seconds: float) -> ToolAnswer:
    """Return the call's answer, as soon as it is there within so many seconds."""
    changed = asyncio.Event()
    stop = bus.current().listen(call_topic(run_no), lambda _hint: changed.set())
    deadline = time.monotonic() + seconds
    try:
        while True:
            changed.clear()
            answer = await read(call_no)
            left = deadline - time.monotonic()
            if answer.done or left <= 0:
                return answer
            try:
                async with asyncio.timeout(min(left, _LOOK_AGAIN)):
                    await changed.wait()
            except TimeoutError:
                continue
    finally:
        stop()


def look(call_no: int) -> Unit[Call]:
    """Return a call after its effect was had."""
    rows = yield sql("SELECT * FROM calls WHERE no = $1", call_no)
    return Call(call_no, is_new=False, answer=_answer(rows[0]))


async def read(call_no: int) -> ToolAnswer:
    """Return the call's answer, if it is there; LeaseLost if its run was deleted meanwhile."""
    rows = await database.fetch("SELECT answer, is_error, done_at FROM calls WHERE no = $1", call_no)
    if not rows:
        raise LeaseLost
    return _answer(rows[0])


def _answer(row: Row) -> ToolAnswer:
    if row["done_at"] is None:
        return ToolAnswer(done=False)
    return ToolAnswer(done=True, text=row["answer"] or "", is_error=bool(row["is_error"]))
