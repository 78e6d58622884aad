"""A runner's events come in: numbered by the runner, stored once, in order, whatever is sent twice or out of place."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from corral.base.errors import BadRequest, LeaseLost
from corral.platform import database, metrics
from corral.platform.database import Row, Rows, Statement, Unit, many, sql
from corral.runs import ending, fold, inputs, log, queue, states
from corral.runs.frames import Logged, log_hint, token_hint
from corral.runs.hints import Hints, decide
from corral.runs.states import Changes, Expression
from corral.usage import accounts, drafts, ledger, pricelists
from corral.usage.ledger import Spender
from corral.wire.events import (
    ENDS_ATTEMPT,
    ENDS_RUN,
    FOLDED,
    SERVER_WRITES,
    ApprovalRequest,
    EventBatch,
    EventsStored,
    EventType,
    RunnerEvent,
)
from corral.wire.prices import Book

_decode = msgspec.json.Decoder().decode
#: So many brackets may be nested so deep that it matters where they are read: then there must be room for more.
_DEEP = 500
_WITHIN = b"[" * 100 + b"%b" + b"]" * 100


#: The answer names it, so it is kept whole.
MOST_REQUEST_ID = 100


_STORED, _REPEATED, _FENCED = (metrics.BATCHES.of(outcome) for outcome in ("stored", "repeated", "fenced"))
_EVENTS = metrics.EVENTS.of()
#: What belongs to a batch beside its events; given the run's `no`.
Beside = Callable[[int], Unit[None]]
#: What moves its run to another state by the statement that numbers it.
_MOVES = ENDS_RUN | {EventType.RUN_STARTED}


async def ingest(org_id: int, run_id: str, batch: EventBatch, beside: Beside | None = None) -> EventsStored:
    """Store a batch of the attempt that holds the lease; LeaseLost otherwise (its usage lines are stored even then).

    `beside` runs in the same transaction, for a batch that is new as a whole. If that has no events, nothing tells
    that it was stored before, so `beside` must bear to run twice.
    """
    payloads = _check(batch)
    book = await pricelists.current(org_id) if batch.usage or batch.drafts else None
    outcome = await decide(lambda hints: _store(_Arrived(org_id, run_id, batch, payloads, hints, beside, book)))
    if outcome.fenced:
        _FENCED.add()
        raise LeaseLost
    (_STORED if outcome.stored or not batch.events else _REPEATED).add()
    _EVENTS.add(outcome.stored)
    if batch.tokens and outcome.live:
        hints = Hints()
        hints.log(outcome.run_no, token_hint(batch.tokens))
        hints.publish()
    return EventsStored(n=outcome.n)


class _Arrived(NamedTuple):
    """A batch on its way into the log."""

    org_id: int
    run_id: str
    batch: EventBatch
    payloads: list[str]
    hints: Hints
    beside: Beside | None = None
    book: Book | None = None  #: what its usage and its drafts cost
    is_plain: bool = True  #: as if nobody followed its run; if somebody does, it turns out not to fit


class _Outcome(msgspec.Struct):
    run_no: int
    n: int  #: stored so far
    fenced: bool = False
    live: bool = True
    stored: int = 0  #: events that were new


def _check(batch: EventBatch) -> list[str]:
    """Return the payloads as text of one line each; BadRequest names the first event that cannot be stored."""
    payloads = []
    for index, event in enumerate(batch.events):
        if event.n != batch.events[0].n + index or event.n < 1:
            raise BadRequest(f"events[{index}].n must count up by one from 1 or more", field=f"events[{index}].n")
        if event.type in SERVER_WRITES or event.type == EventType.AGENT_TOKEN:
            field = f"events[{index}].type"
            raise BadRequest(f"{field}: a runner does not write {event.type}", field=field)
        if event.type in ENDS_ATTEMPT and event is not batch.events[-1]:
            field = f"events[{index}].type"
            raise BadRequest(f"{field}: {event.type} ends the attempt, so it must be the last event", field=field)
        payloads.append(_one_line(event, index))
        if event.type == EventType.PERMISSION_REQUESTED:
            _check_request(payloads[-1], f"events[{index}].payload")
    return payloads


def _check_request(payload: str, field: str) -> None:
    """Refuse a question that cannot become a row: its parts are columns."""
    try:
        asked = msgspec.json.decode(payload, type=ApprovalRequest)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{field} is not a question: {error}", field=field) from error
    if not 1 <= len(asked.request_id) <= MOST_REQUEST_ID:
        name = f"{field}.request_id"
        raise BadRequest(f"{name} must have 1 to {MOST_REQUEST_ID} characters", field=name)
    for name in ("request_id", "tool", "cwd", "description"):
        if "\0" in getattr(asked, name):
            raise BadRequest(f"{field}.{name} must not hold a NUL character", field=f"{field}.{name}")


def _one_line(event: RunnerEvent, index: int) -> str:
    raw, field = bytes(event.payload), f"events[{index}].payload"
    if not raw.startswith(b"{"):
        raise BadRequest(f"{field} must be an object", field=field)
    try:
        # Whoever reads it decodes it, perhaps from deeper in: a number beyond all bounds must not come that far.
        _decode(_WITHIN % raw if raw.count(b"{") + raw.count(b"[") > _DEEP else raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"{field} cannot be read: {error}", field=field) from error
    if b"\n" in raw or b"\r" in raw:
        raw = msgspec.json.format(raw, indent=-1)
    return raw.decode()


def _store(arrived: _Arrived) -> Unit[_Outcome]:
    batch, payloads, hints = arrived.batch, arrived.payloads, arrived.hints
    changes, folded = _at_once(batch, payloads)
    rows = yield from _append(arrived, changes, whole=folded == len(batch.events))
    if not rows:
        return (yield from _store_rest(arrived))
    run = rows[0]
    yield from _spend(arrived, run)
    if batch.drafts is not None and run["attempt_open"]:  # with the attempt they go
        assert arrived.book is not None
        yield from drafts.replace(_spender(arrived, run), batch.drafts, arrived.book, run["now"])
    if arrived.beside is not None:
        yield from arrived.beside(run["no"])
    if not batch.events:
        return _Outcome(run["no"], run["spool_n"])
    logged = _logged(run, batch, payloads)
    hints.log(run["no"], log_hint(arrived.run_id, logged))
    if (status := ending.ENDS.get(batch.events[-1].type)) is not None:
        hints.count(metrics.ENDED.of(status.value))
    if changes and not arrived.is_plain:
        yield from fold.tell(run["no"], changes, logged[folded - 1], hints)
    for event, entry in zip(batch.events[folded:], logged[folded:], strict=True):
        if event.type in FOLDED:
            yield from fold.fold(run["no"], event.type, entry, hints)
    return _Outcome(run["no"], batch.events[-1].n, stored=len(batch.events))


def _spend(arrived: _Arrived, run: Row) -> Unit[None]:
    if arrived.batch.usage:
        assert arrived.book is not None
        yield from ledger.record(_spender(arrived, run), arrived.batch.usage, arrived.book, run["now"])


def _spender(arrived: _Arrived, run: Row) -> Spender:
    account = accounts.decode(run["account"], run["agent_id"])
    return Spender(arrived.org_id, run["no"], arrived.run_id, account)


def _at_once(batch: EventBatch, payloads: list[str]) -> tuple[Changes, int]:
    """Return what the first events change in the run's own row, and how many they are: mostly all of them."""
    changes: Changes = {}
    for index, (event, payload) in enumerate(zip(batch.events, payloads, strict=True)):
        if event.type in FOLDED:
            own = fold.changes(event.type, payload, Expression("now_ms() - {}", _age(event)))
            if not own:
                return changes, index
            changes = {**changes, **own}
    return changes, len(batch.events)


def _append(arrived: _Arrived, changes: Changes, *, whole: bool) -> Unit[Rows]:
    """Number the events, store them and change the row; no rows if they do not fit on what is stored.

    If that is the `whole` of it, PostgreSQL does it in one round trip.
    """
    batch, payloads = arrived.batch, arrived.payloads
    first = batch.events[0].n if batch.events else 0
    also, values = states.assigned(changes, first=7)
    args = (arrived.run_id, arrived.org_id, batch.attempt, batch.lease, len(batch.events), first - 1, *values)
    is_guarded = arrived.is_plain and any(event.type in _MOVES for event in batch.events)
    number = _NUMBER.format(
        also=f", {also}" if also else "",
        only=_FOLLOWED_BY_NOBODY if is_guarded else "",
        usage=", agent_id, account, attempt_open" if batch.usage or batch.drafts else "",
    )
    if batch.events and database.dialect() == "postgres":
        types, ages = [event.type.value for event in batch.events], [_age(event) for event in batch.events]
        plain = arrived.is_plain and arrived.beside is None and not batch.usage and batch.drafts is None
        alone = whole and plain
        last = len(args)
        text = _APPEND_AT_ONCE.format(number=number, types=f"${last + 1}", payloads=f"${last + 2}", ages=f"${last + 3}")
        return (yield Statement(text, (*args, types, payloads, ages), alone=alone))
    rows = yield sql(number, *args)
    if rows and batch.events:
        yield many(
            log.INSERT,
            [
                (rows[0]["no"], e.seq, arrived.org_id, e.attempt, event.n, e.type, e.payload, e.created_at)
                for e, event in zip(_logged(rows[0], batch, payloads), batch.events, strict=True)
            ],
        )
    return rows


def _logged(run: Row, batch: EventBatch, payloads: list[str]) -> list[Logged]:
    before = run["last_seq"] - len(batch.events)
    return [
        Logged(before + index, batch.attempt, event.type.value, payload, run["now"] - _age(event))
        for index, (event, payload) in enumerate(zip(batch.events, payloads, strict=True), 1)
    ]


def _age(event: RunnerEvent) -> int:
    return max(0, int(event.age * 1000))


#: `+ 0`, or PostgreSQL goes through all of the org's runs for as long as it has not counted how many those are.
_NUMBER = (
    "UPDATE runs SET last_seq = last_seq + $5, spool_n = spool_n + $5{also} WHERE id = $1 AND org_id + 0 = $2 "
    "AND attempt = $3 AND lease = $4 AND attempt_open AND ($5 = 0 OR spool_n = $6){only} "
    "RETURNING no, last_seq, spool_n, now_ms() AS now{usage}"
)
#: Others have statements of their own for a run that moves to another state, unless it is nobody's.
_FOLLOWED_BY_NOBODY = " AND agent_id IS NULL AND awaits = 0"
#: The same and the insert in one round trip, for PostgreSQL.
_APPEND_AT_ONCE = (
    "WITH run AS ({number}), stored AS ("
    "INSERT INTO events (run_no, seq, org_id, attempt, n, type, payload, created_at) "
    "SELECT no, last_seq - $5 + i, $2, $3, $6 + i, type, payload, now - age FROM run, "
    "unnest({types}::text[], {payloads}::text[], {ages}::bigint[]) WITH ORDINALITY AS e(type, payload, age, i)) "
    "SELECT * FROM run"
)


def _store_rest(arrived: _Arrived) -> Unit[_Outcome]:
    """Find out why the batch did not fit: fenced, repeated, after a gap, of a followed run; store what is new."""
    batch = arrived.batch
    run = yield from queue.locked(arrived.org_id, arrived.run_id)  # nobody tells it more until the commit
    yield from _spend(arrived, run)
    if (run["attempt"], run["lease"]) != (batch.attempt, batch.lease):
        return _Outcome(run["no"], 0, fenced=True)
    last = batch.events[-1].n if batch.events else 0
    known = run["spool_n"] - batch.events[0].n + 1 if batch.events else 0
    if last <= run["spool_n"] or (known < 0 and run["attempt_open"]):
        # All of it is stored, because an answer was lost on its way (also when the batch ended the attempt), or none
        # of it can be yet: the runner sends again after a gap. The drafts are what is true now; the lines just stored
        # may have taken the place of others.
        if batch.drafts is not None and run["attempt_open"]:
            told = replace(batch, events=[], usage=[])
            yield from _store(arrived._replace(batch=told, payloads=[], beside=None))
        return _Outcome(run["no"], run["spool_n"], live=known < 0)
    if not run["attempt_open"]:
        return _Outcome(run["no"], run["spool_n"], fenced=True)
    rest = arrived._replace(
        batch=replace(batch, events=batch.events[known:], usage=[]),
        payloads=arrived.payloads[known:],
        beside=None if known else arrived.beside,
    )
    return (yield from _store(rest if known else (yield from _followed(run["no"], rest))))


def _followed(run_no: int, arrived: _Arrived) -> Unit[_Arrived]:
    """Return a batch that fits as one of a run that others follow: the end of a turn need not be that of the run."""
    last = arrived.batch.events[-1]
    if last.type == EventType.RUN_COMPLETED:
        heard = msgspec.json.decode(arrived.payloads[-1]).get("inputs")
        if (yield from inputs.taken(run_no, heard)):
            events = [*arrived.batch.events[:-1], replace(last, type=EventType.SESSION_WAITING)]
            arrived = arrived._replace(batch=replace(arrived.batch, events=events))
    return arrived._replace(is_plain=False)
