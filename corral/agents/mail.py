"""Messages: rows in the order of each receiver's inbox. Sending is one; `inbox` lets them have their effect."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum

import msgspec

from corral.base import logs
from corral.base.errors import BadRequest, Conflict, NotFound
from corral.base.ids import is_id, new_id
from corral.platform import audit, database
from corral.platform.database import Duplicate, Row, Unit, sql
from corral.runs.hints import Hints, decide


class MessageType(StrEnum):
    """What a message is."""

    TASK_ASSIGNED = "task.assigned"
    TASK_RESULT = "task.result"
    TASK_PROGRESS = "task.progress"
    QUESTION = "question"
    ANSWER = "answer"
    NOTE = "note"
    BROADCAST = "broadcast"


class Message(msgspec.Struct, frozen=True):
    """A message as it is stored."""

    no: int
    id: str
    org_id: int
    type: str
    sender: str
    receiver: str
    text: str
    task_id: str | None
    run_id: str | None
    reply_to: str | None
    inbox_seq: int | None
    created_at: int
    handled_at: int | None
    read_at: int | None
    tries: int
    error: str | None
    dead_at: int | None


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A message to be sent."""

    type: MessageType
    sender: str  #: an agent's id, `user:<id>` or `key:<id>`
    receiver: str  #: likewise, or EVERYBODY
    text: str
    id: str = msgspec.field(default_factory=new_id)
    task_id: str | None = None
    run_id: str | None = None  #: the run that sends it
    reply_to: str | None = None


#: Seconds: nothing of ours takes so long, and who watches does not wait for what is not ours.
_LONGEST_TRANSACTION = 5.0
_LOOK_AGAIN = 0.01
#: A receiver that stands for every agent of the org.
EVERYBODY = "*"
COLUMNS = ", ".join(Message.__struct_fields__)


async def page(
    org_id: int,
    *,
    agent: str | None = None,
    type_: str | None = None,
    since: int | None = None,
    until: int | None = None,
    task_id: str | None = None,
    dead: bool = False,
    talk: bool = False,
    between: tuple[int, int] | None = None,
    before: str | None = None,
    limit: int = 100,
) -> list[Message]:
    """Return messages, newest first; those of numbers `between` two, without the first, oldest first. Times in ms.

    `talk` leaves what people and agents said to each other, and no tasks.
    """
    where, args = ["org_id = $1"], [org_id]

    def also(condition: str, *values: object) -> None:
        numbers = [f"${len(args) + n}" for n in range(1, len(values) + 1)]
        where.append(condition.format(*numbers))
        args.extend(values)  # type: ignore[arg-type] # of every type a column has

    if agent is not None:
        also("(sender = {0} OR receiver = {1})", agent, agent)
    if type_ is not None:
        also("type = {0}", type_)
    if since is not None:
        also("created_at >= {0}", since)
    if until is not None:
        also("created_at <= {0}", until)
    if task_id is not None:
        also("task_id = {0}", task_id)
    if talk:
        where.append(_TALK)
    if dead:
        where.append("dead_at IS NOT NULL")
    if before is not None:
        also("no < {0}", (await get(org_id, before, field="before")).no)
    if between is not None:
        also("no > {0} AND no <= {1}", *between)
    order = "ASC" if between is not None else "DESC"
    rows = await database.fetch(
        f"SELECT {COLUMNS} FROM messages WHERE {' AND '.join(where)} ORDER BY no {order} LIMIT {int(limit)}",  # noqa: S608
        *args,
    )
    return [from_row(row) for row in rows]


async def later(
    org_id: int, *, after: int, agent: str | None = None, type_: str | None = None, limit: int = 500
) -> list[Message]:
    """Return messages of higher numbers than `after`, oldest first; none with a number between can come any more."""
    last = await _settled(org_id, after)
    return await page(org_id, between=(after, last), agent=agent, type_=type_, limit=limit) if last > after else []


async def _settled(org_id: int, after: int) -> int:
    """Return the org's last number, once every transaction that may hold a lower one has ended.

    PostgreSQL hands numbers out before the commit. Who reads on after the highest would skip what commits later.
    """
    if database.dialect() == "sqlite":  # has one writer
        return await last_no(org_id)
    snapshot = await database.fetch(
        "SELECT (SELECT max(no) FROM messages WHERE org_id = $1 AND no > $2) AS no, "
        "pg_snapshot_xmin(s) = pg_snapshot_xmax(s) AS is_quiet, CAST(pg_snapshot_xmax(s) AS text) AS next "
        "FROM pg_current_snapshot() s",
        org_id,
        after,
    )
    seen = snapshot[0]
    deadline = time.monotonic() + _LONGEST_TRANSACTION
    while seen["no"] is not None and not seen["is_quiet"] and time.monotonic() < deadline:
        await asyncio.sleep(_LOOK_AGAIN)
        rows = await database.fetch(
            "SELECT pg_snapshot_xmin(pg_current_snapshot()) >= CAST(CAST($1 AS text) AS xid8) AS is_quiet", seen["next"]
        )
        if rows[0]["is_quiet"]:
            break
    return int(seen["no"] or after)


_TALK = (
    "type IN ('question', 'answer', 'note') AND (sender LIKE 'user:%' OR sender LIKE 'key:%' "
    "OR receiver LIKE 'user:%' OR receiver LIKE 'key:%')"
)


async def thread(org_id: int, message_id: str, limit: int = 500) -> list[Message]:
    """Return a message, what it replies to and what replies to either, oldest first."""
    await get(org_id, message_id)
    rows = await database.fetch(
        "WITH RECURSIVE up(id, reply_to) AS ("  # noqa: S608 - constants
        "SELECT id, reply_to FROM messages WHERE org_id = $1 AND id = $2 UNION "
        "SELECT m.id, m.reply_to FROM messages m JOIN up ON m.id = up.reply_to WHERE m.org_id = $1), "
        "down(id) AS (SELECT id FROM up UNION "
        "SELECT m.id FROM messages m JOIN down ON m.reply_to = down.id WHERE m.org_id = $1) "
        f"SELECT {COLUMNS} FROM messages WHERE org_id = $1 AND id IN (SELECT id FROM down) ORDER BY no LIMIT $3",
        org_id,
        message_id,
        limit,
    )
    return [from_row(row) for row in rows]


async def count_dead(org_id: int) -> int:
    """Return how many messages were given up."""
    rows = await database.fetch("SELECT count(*) AS n FROM messages WHERE org_id = $1 AND dead_at IS NOT NULL", org_id)
    return int(rows[0]["n"])


async def get(org_id: int, message_id: str, *, field: str | None = None) -> Message:
    """Return one message; NotFound, or BadRequest about `field` where its id was part of a query or body."""
    query = f"SELECT {COLUMNS} FROM messages WHERE org_id = $1 AND id = $2"  # noqa: S608 - a constant
    rows = await database.fetch(query, org_id, message_id) if is_id(message_id) else ()
    if rows:
        return from_row(rows[0])
    if field is not None:
        raise BadRequest(f"{field}: there is no message {message_id} here", field=field)
    raise NotFound(f"There is no message {message_id} here")


async def last_no(org_id: int) -> int:
    """Return the number of the org's newest message, from which a live watcher goes on."""
    rows = await database.fetch("SELECT max(no) AS no FROM messages WHERE org_id = $1", org_id)
    return int(rows[0]["no"] or 0)


def send(org_id: int, letter: Letter, hints: Hints) -> Unit[str]:
    """Put a message into its receiver's inbox; one to a person has no effect but to be there. Returns its id."""
    seqs: Sequence[Row] = ()
    if is_id(letter.receiver):
        seqs = yield sql(
            "UPDATE agents SET inbox_seq = inbox_seq + 1 WHERE org_id = $1 AND id = $2 RETURNING inbox_seq",
            org_id,
            letter.receiver,
        )
        if not seqs:
            raise NotFound(f"There is no agent {letter.receiver} here")
    yield sql(
        "INSERT INTO messages (id, org_id, type, sender, receiver, text, task_id, run_id, reply_to, inbox_seq, tries, "
        "created_at, handled_at, request_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, now_ms(), "
        "CASE WHEN $11 THEN now_ms() END, $12)",
        letter.id, org_id, letter.type.value, letter.sender, letter.receiver, letter.text, letter.task_id,
        letter.run_id, letter.reply_to, seqs[0]["inbox_seq"] if seqs else None, not seqs,
        logs.worked_for(),
    )  # fmt: skip
    if seqs:
        hints.mail(letter.receiver)
    hints.message(org_id)
    return letter.id


async def post(org_id: int, letter: Letter) -> Message:
    """Send a person's message to an agent, or with `*` to all of them; the same id twice is the same message."""

    def unit(hints: Hints) -> Unit[None]:
        known = yield sql("SELECT 1 FROM messages WHERE id = $1 AND org_id = $2", letter.id, org_id)
        if known:
            return
        if letter.receiver == EVERYBODY:
            yield from broadcast(org_id, letter, hints)
        else:
            yield from send(org_id, letter, hints)
        yield from noted(org_id, letter)

    with suppress(Duplicate):  # it was sent at the same time, by whoever repeats what a server left undone
        await decide(unit)
    return await get(org_id, letter.id)


def noted(org_id: int, letter: Letter) -> Unit[None]:
    """Write down that a person or an agent sent this: to whom, and not what it says."""
    told = {"receiver": letter.receiver, "type": letter.type.value, "reply_to": letter.reply_to}
    yield from audit.note(org_id, "message.sent", "message", letter.id, **told)


def broadcast(org_id: int, letter: Letter, hints: Hints) -> Unit[int]:
    """Send everybody but the sender a message; returns to how many. The first of them has the letter's id."""
    rows = yield sql(
        "SELECT id FROM agents WHERE org_id = $1 AND state <> 'archived' AND id <> $2 ORDER BY id",
        org_id,
        letter.sender,
    )
    if not rows:
        raise Conflict("There is no other agent to send this to")
    for n, row in enumerate(rows):
        one = msgspec.structs.replace(
            letter, type=MessageType.BROADCAST, receiver=row["id"], id=letter.id if n == 0 else new_id()
        )
        yield from send(org_id, one, hints)
    return len(rows)


#: What still has its effect on a run is not waited for by that run.
_SETTLED = "(handled_at IS NOT NULL OR type IN ('note', 'broadcast'))"


def read(org_id: int, agent_id: str, limit: int) -> Unit[list[Message]]:
    """Return what an agent has not read yet, oldest first, and note that it has now."""
    rows = yield sql(
        f"UPDATE messages SET read_at = now_ms() WHERE no IN (SELECT no FROM messages WHERE org_id = $1 "  # noqa: S608
        f"AND receiver = $2 AND inbox_seq IS NOT NULL AND read_at IS NULL AND type <> 'task.assigned' AND {_SETTLED} "
        f"ORDER BY inbox_seq LIMIT {int(limit)}) "
        f"RETURNING {COLUMNS}",
        org_id,
        agent_id,
    )
    return sorted((from_row(row) for row in rows), key=lambda message: message.no)


def from_row(row: Row) -> Message:
    """Return the message of a row of `COLUMNS`."""
    return Message(*(row[name] for name in Message.__struct_fields__))
