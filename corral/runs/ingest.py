"""A runner's events come in: numbered by the runner, stored once, in order, whatever is sent twice or out of place."""

from __future__ import annotations

import msgspec

from corral.base.errors import BadRequest, LeaseLost, NotFound
from corral.platform.database import Unit, many, sql
from corral.runs import fold, log
from corral.runs.frames import Logged, log_hint, token_hint
from corral.runs.hints import Hints, decide
from corral.usage import ledger
from corral.wire.events import FOLDED, SERVER_WRITES, EventBatch, EventsStored, EventType, RunnerEvent


async def ingest(org_id: int, run_id: str, batch: EventBatch) -> EventsStored:
    """Store a batch of the attempt that holds the lease; LeaseLost otherwise (its usage lines are stored even then)."""
    payloads = _check(batch)
    outcome = await decide(lambda hints: _store(org_id, run_id, batch, payloads, hints))
    if outcome.fenced:
        raise LeaseLost
    if batch.tokens and outcome.live:
        hints = Hints()
        hints.log(outcome.run_no, token_hint(batch.tokens))
        hints.publish()
    return EventsStored(n=outcome.n)


class _Outcome(msgspec.Struct):
    run_no: int
    n: int  #: stored so far
    fenced: bool = False
    live: bool = True


def _check(batch: EventBatch) -> list[str]:
    """Return the payloads as text of one line each; BadRequest names the first event that cannot be stored."""
    payloads = []
    for index, event in enumerate(batch.events):
        if event.n != batch.events[0].n + index or event.n < 1:
            raise BadRequest(f"events[{index}].n must count up by one from 1 or more", field=f"events[{index}].n")
        if event.type in SERVER_WRITES or event.type == EventType.AGENT_TOKEN:
            field = f"events[{index}].type"
            raise BadRequest(f"{field}: a runner does not write {event.type}", field=field)
        payloads.append(_one_line(event, index))
    return payloads


def _one_line(event: RunnerEvent, index: int) -> str:
    raw = bytes(event.payload)
    if not raw.startswith(b"{"):
        raise BadRequest(f"events[{index}].payload must be an object", field=f"events[{index}].payload")
    if b"\n" in raw or b"\r" in raw:
        raw = msgspec.json.format(raw, indent=-1)
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"events[{index}].payload is not UTF-8", field=f"events[{index}].payload") from error


def _store(org_id: int, run_id: str, batch: EventBatch, payloads: list[str], hints: Hints) -> Unit[_Outcome]:
    first, last = (batch.events[0].n, batch.events[-1].n) if batch.events else (0, 0)
    rows = yield sql(
        "UPDATE runs SET last_seq = last_seq + $5, spool_n = spool_n + $5 WHERE id = $1 AND org_id = $2 "
        "AND attempt = $3 AND lease = $4 AND attempt_open AND ($5 = 0 OR spool_n = $6) "
        "RETURNING no, last_seq, spool_n, now_ms() AS now",
        run_id, org_id, batch.attempt, batch.lease, len(batch.events), first - 1,
    )  # fmt: skip
    if not rows:
        return (yield from _store_rest(org_id, run_id, batch, payloads, hints))
    run = rows[0]
    if batch.usage:
        yield from ledger.record(org_id, run["no"], batch.usage, run["now"])
    if not batch.events:
        return _Outcome(run["no"], run["spool_n"])
    seq = run["last_seq"] - len(batch.events)
    now = run["now"]
    logged = [
        Logged(seq + index, batch.attempt, event.type.value, payload, now - max(0, int(event.age * 1000)))
        for index, (event, payload) in enumerate(zip(batch.events, payloads, strict=True), 1)
    ]
    yield many(
        log.INSERT,
        [
            (run["no"], e.seq, org_id, e.attempt, event.n, e.type, e.payload, e.created_at)
            for e, event in zip(logged, batch.events, strict=True)
        ],
    )
    hints.log(run["no"], log_hint(run_id, logged))
    for event, entry in zip(batch.events, logged, strict=True):
        if event.type in FOLDED:
            yield from fold.fold(run["no"], event.type, entry, hints)
    return _Outcome(run["no"], last)


def _store_rest(org_id: int, run_id: str, batch: EventBatch, payloads: list[str], hints: Hints) -> Unit[_Outcome]:
    """Find out why the batch did not fit: fenced, repeated, or after a gap; store the part that is new."""
    rows = yield sql(
        "SELECT no, attempt, lease, attempt_open, spool_n, now_ms() AS now FROM runs WHERE id = $1 AND org_id = $2",
        run_id,
        org_id,
    )
    if not rows:
        raise NotFound(f"There is no run {run_id} here")
    run = rows[0]
    if batch.usage:
        yield from ledger.record(org_id, run["no"], batch.usage, run["now"])
    if (run["attempt"], run["lease"]) != (batch.attempt, batch.lease):
        return _Outcome(run["no"], 0, fenced=True)
    last = batch.events[-1].n if batch.events else 0
    if last <= run["spool_n"]:
        # All of it is stored: an answer was lost on its way. True also when the batch ended the attempt.
        return _Outcome(run["no"], run["spool_n"], live=False)
    if not run["attempt_open"]:
        return _Outcome(run["no"], run["spool_n"], fenced=True)
    known = run["spool_n"] - batch.events[0].n + 1
    if known <= 0:
        return _Outcome(run["no"], run["spool_n"])  # a gap: the runner sends again from what is stored
    rest = EventBatch(batch.attempt, batch.lease, batch.events[known:], [], batch.tokens)
    return (yield from _store(org_id, run_id, rest, payloads[known:], hints))
