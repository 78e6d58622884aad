"""An agent's mail has its effect: in the order it came, each message once, whoever was killed in between.

`handled_at` is set in the transaction of the message's one effect. Several servers may drain one inbox at a time:
the update that sets it decides. What fails again and again is given up with its reason, and can be replayed.
"""

from __future__ import annotations

from itertools import takewhile

from corral.agents import board, mail, results, roster, starting
from corral.agents.mail import COLUMNS, Message, MessageType
from corral.base import logs
from corral.base.errors import BadRequest, Conflict, NotFound, Unavailable
from corral.base.ids import is_id, new_id
from corral.base.logs import get_logger
from corral.platform import acting, audit, database, metrics
from corral.platform.database import Row, Rows, Unit, sql
from corral.runs import inputs, log, queue
from corral.runs.hints import Hints, decide
from corral.runs.queue import Prepared
from corral.wire.events import EventType
from corral.wire.runs import LIVE, RunStatus

log_ = get_logger()

_DEAD = metrics.DEAD_LETTERS.of()
#: How often a message is tried before it is given up, and the pause after each failure, in ms, doubling.
MOST_TRIES = 5
_PAUSE = 500
#: Messages of an inbox that are read at a time.
_AT_ONCE = 50


async def drain(receiver: str) -> None:
    """Handle everything in this agent's inbox. What the bus calls when it hears that there is mail."""
    taken = 0
    with acting.as_(acting.CORRAL):  # whosever request it is that the bus heard of it in
        while messages := await _next(receiver):
            if messages[0]["no"] == taken:
                return  # another server is at it, and goes on with what comes after
            taken = await _handle_all(messages)


async def reread(_now: float) -> None:
    """Make up for lost hints: drain every inbox in which something waits."""
    rows = await database.fetch(
        "SELECT DISTINCT receiver FROM messages WHERE handled_at IS NULL AND dead_at IS NULL "
        "AND (retry_at IS NULL OR retry_at <= now_ms()) LIMIT 500"
    )
    for row in rows:
        await drain(row["receiver"])


async def _next(receiver: str) -> Rows:
    """Return the first messages that have had no effect yet; none also while the first rests after a failure."""
    rows = await database.fetch(
        f"SELECT {COLUMNS}, request_id, coalesce(retry_at, 0) <= now_ms() AS is_ready FROM messages "  # noqa: S608
        f"WHERE receiver = $1 AND handled_at IS NULL AND dead_at IS NULL ORDER BY inbox_seq LIMIT {_AT_ONCE}",
        receiver,
    )
    return list(takewhile(lambda row: row["is_ready"], rows))


async def _handle_all(messages: Rows) -> int:
    """Handle one after the other, as long as all goes well; returns the number of one that another server has taken."""
    for message in messages:
        with logs.working_for(message["request_id"]):
            try:
                if not await _handle(message):
                    return int(message["no"])
            except Unavailable:  # no fault of the message
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it is kept with the message
                if await _failed(message, error):
                    break
    return 0


async def _handle(message: Row) -> bool:
    """Have the message's effect in one transaction; what takes waiting is prepared before. False: another has it."""
    prepared = await _prepared(message)
    is_first = (
        "m.handled_at IS NULL AND m.dead_at IS NULL AND NOT EXISTS (SELECT 1 FROM messages e WHERE "
        "e.receiver = m.receiver AND e.inbox_seq < m.inbox_seq AND e.handled_at IS NULL AND e.dead_at IS NULL)"
    )
    skip = " FOR UPDATE SKIP LOCKED" if database.dialect() == "postgres" else ""

    def unit(hints: Hints) -> Unit[bool]:
        mine = yield sql(
            f"UPDATE messages SET handled_at = now_ms(), error = NULL WHERE no = (SELECT m.no FROM messages m "  # noqa: S608
            f"WHERE m.no = $1 AND {is_first}{skip}) RETURNING no",
            message["no"],
        )
        if mine:
            yield from _effect(message, prepared, hints)
        return bool(mine)

    return await decide(unit)


async def _prepared(message: Row) -> Prepared | str | None:
    """Return where the run goes that this message begins, or why there can be none."""
    try:
        match message["type"]:
            case MessageType.TASK_ASSIGNED:
                return await starting.prepare(message["org_id"], message["task_id"])
            case MessageType.QUESTION | MessageType.NOTE if not is_id(message["sender"]):
                agent = await roster.get(message["org_id"], message["receiver"])
                return await starting.launch_of(agent, message["text"], message["sender"], run_id=new_id())
    except (BadRequest, Conflict, NotFound) as error:  # trying again would not help
        return error.message
    return None


def _effect(message: Row, prepared: Prepared | str | None, hints: Hints) -> Unit[None]:
    match message["type"]:
        case MessageType.TASK_ASSIGNED:
            yield from _start(message, prepared, hints)
        case MessageType.TASK_RESULT:
            yield from results.deliver(message, hints)
        case MessageType.TASK_PROGRESS:
            yield from results.progress(message, hints)
        case MessageType.QUESTION | MessageType.NOTE | MessageType.ANSWER:
            yield from _tell(message, prepared, hints)
        case _:
            return  # it is there to be read


def _start(message: Row, prepared: Prepared | str | None, hints: Hints) -> Unit[None]:
    if not isinstance(prepared, Prepared):
        yield from starting.fail(message["org_id"], message["task_id"], prepared or "It cannot be started", hints)
        return
    task = yield from board.locked(message["org_id"], message["task_id"])
    if task["status"] == board.PENDING and task["wanted_at"] is not None:  # not cancelled meanwhile
        yield from starting.begin(message["org_id"], task, prepared, hints)


def _tell(message: Row, prepared: Prepared | str | None, hints: Hints) -> Unit[None]:
    """Tell the agent's live run; a person's message to an agent without one begins a run that answers it.

    An answer also waits for a run that is paused: that may be the one that asked.
    """
    from_person = not is_id(message["sender"])
    if not from_person and message["type"] != MessageType.ANSWER:
        return  # another agent's note waits in the inbox until it is read
    takes = [*LIVE, RunStatus.PAUSED] if message["type"] == MessageType.ANSWER else LIVE
    among = ", ".join(repr(status.value) for status in takes)
    runs = yield sql(  # the first IN is the index's own condition: SQLite uses it only if it is repeated
        "SELECT no FROM runs WHERE agent_id = $1 AND status IN ('queued', 'running', 'waiting', 'paused') "  # noqa: S608 - ours
        f"AND status IN ({among}) "
        "ORDER BY CASE status WHEN 'paused' THEN 1 ELSE 0 END, no DESC LIMIT 1",
        message["receiver"],
    )
    if runs:
        locked = yield sql("UPDATE runs SET followups = followups WHERE no = $1 RETURNING *", runs[0]["no"])
        if locked and locked[0]["status"] in takes:
            run = locked[0]
            told = {"message_id": message["id"], "type": message["type"], "from": message["sender"]}
            yield from log.append(run["no"], EventType.BUS_MESSAGE, {**told, "text": message["text"]}, hints)
            yield sql("UPDATE messages SET read_at = now_ms() WHERE no = $1", message["no"])
            yield from inputs.tell(run, message["text"], hints)
            if from_person and message["type"] == MessageType.QUESTION:
                yield from _answered_by(message, run["id"])
            return
    if from_person and isinstance(prepared, Prepared):
        row = yield from queue.enqueue(message["org_id"], prepared, hints)
        yield from _answered_by(message, row["id"])
    elif from_person and isinstance(prepared, str):
        raise Conflict(prepared)


def _answered_by(message: Row, run_id: str) -> Unit[None]:
    """Let the end of this run answer the message."""
    yield sql("UPDATE messages SET answer_run_id = $2, read_at = now_ms() WHERE no = $1", message["no"], run_id)


async def replay(org_id: int, message_id: str) -> Message:
    """Give a message that was given up another chance, and the task that could not be started with it."""

    def unit(hints: Hints) -> Unit[None]:
        rows = yield sql(
            "UPDATE messages SET dead_at = NULL, retry_at = NULL, tries = 0 WHERE org_id = $1 AND id = $2 "
            "AND dead_at IS NOT NULL RETURNING receiver, type, task_id",
            org_id,
            message_id,
        )
        if not rows:
            raise Conflict("The message was not given up, so there is nothing to replay")
        if rows[0]["type"] == MessageType.TASK_ASSIGNED:
            yield sql(
                "UPDATE tasks SET status = 'pending', wanted_at = now_ms(), error = NULL, ended_at = NULL, "
                "updated_at = now_ms() WHERE id = $1 AND status = 'error' AND run_id IS NULL",
                rows[0]["task_id"],
            )
        yield from audit.note(org_id, "message.replayed", "message", message_id, receiver=rows[0]["receiver"])
        hints.mail(rows[0]["receiver"])
        hints.message(org_id)

    await mail.get(org_id, message_id)
    await decide(unit)
    return await mail.get(org_id, message_id)


async def _failed(message: Row, error: Exception) -> bool:
    """Keep why handling failed; True if the inbox has to wait before the message is tried again."""
    tries = message["tries"] + 1
    is_dead = tries >= MOST_TRIES or isinstance(error, BadRequest | Conflict | NotFound)
    log_.warning("a message could not be handled", message=message["id"], tries=tries, error=str(error) or repr(error))

    def unit(hints: Hints) -> Unit[None]:
        rows = yield sql(
            "UPDATE messages SET tries = $2, error = $3, retry_at = now_ms() + $4, "
            "dead_at = CASE WHEN $5 THEN now_ms() END WHERE no = $1 AND handled_at IS NULL RETURNING no",
            message["no"], tries, (str(error) or repr(error))[:2000], _PAUSE * 2**tries, is_dead,
        )  # fmt: skip
        if rows and is_dead and message["type"] == MessageType.TASK_ASSIGNED:
            yield from starting.fail(message["org_id"], message["task_id"], f"It could not be started: {error}", hints)
        hints.message(message["org_id"])

    await decide(unit)
    if is_dead:
        _DEAD.add()
    return not is_dead
