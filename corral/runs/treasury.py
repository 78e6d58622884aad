"""Each second: lend more to runs that have used up half, pause those whose money is gone, let go on what waited for it.

A step looks first, which locks nothing, and decides what it found under the budgets' locks. It may run twice, and in
several servers at once; what it has not come to when its server is killed, the next one finds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import msgspec

from corral.base.errors import Conflict, NotFound, Unavailable
from corral.base.logs import get_logger
from corral.platform import database
from corral.platform.database import Row, Unit, sql
from corral.runs import admission, commands, pausing, queue, states
from corral.runs.admission import Books, Kept, Standing
from corral.runs.hints import Hints, decide
from corral.usage import accounts, alerts, budgets, meter
from corral.usage.budgets import CENT
from corral.wire.runner import CommandKind, Fund, Pause
from corral.wire.runs import ENDED, RunStatus

log = get_logger()

#: Runs at work that nothing is kept for: budgets were set since they began.
_UNKEPT = (
    "SELECT no, id, org_id, status, account, agent_id FROM runs WHERE org_id = $1 AND status = 'running' "
    "AND attempt_open AND NOT EXISTS (SELECT 1 FROM reservations v WHERE v.run_no = runs.no)"
)
_HINT = "It goes on by itself once there is money again: raise or delete the budget, or wait for its next period."
#: Seconds in which a runner stops by itself what has spent what it was told: an answer may come to its end.
_GRACE = 30.0
#: org → its runs that have spent it → since when, monotonic.
_spent_up: dict[int, dict[int, float]] = {}
#: Runs that a step lets go, pauses or tells something new; the next step goes on.
_MOST = 100


def forget() -> None:
    """Drop what this process knows, because the database behind it is another one now."""
    _spent_up.clear()


async def run_once(_now: float) -> None:
    """Look after every org that has budgets, or runs that had to wait for money."""
    rows = await database.fetch("SELECT DISTINCT org_id FROM reservations")
    for org_id in sorted({*budgets.orgs(), *(row["org_id"] for row in rows)}):
        try:
            await _look_after(org_id)
        except Unavailable:
            raise
        except Exception:
            log.exception("an org's budgets were not looked after", org=org_id)


async def _look_after(org_id: int) -> None:
    rows = await database.fetch("SELECT run_no FROM reservations WHERE org_id = $1", org_id)
    now = await meter.count(org_id, run_nos=[row["run_no"] for row in rows])
    known = budgets.known(org_id)
    books = await database.commit(admission.read(org_id, known, now))
    for standing in books.standings:
        await alerts.tell(standing.budget, standing.spent, standing.now)
    books.standings = [standing for standing in books.standings if standing.budget.hard]
    books.uncounted = [budget for budget in books.uncounted if budget.hard]
    unkept = await database.fetch(_UNKEPT, org_id) if books.standings else ()
    unkept = [run for run in unkept if admission.is_limited(run)]
    if unkept or any(_could_use_more(books, kept) or _has_too_much(books, kept) for kept in books.kept):
        books = await decide(partial(_lend, org_id, [row["no"] for row in unkept]))
    broke = [kept for kept in books.kept if _is_broke(books, kept) and not pausing.is_asked_of(kept.run)]
    for kept in _disobedient(org_id, broke)[:_MOST]:
        await _decide(_pause, kept.run)
    waiting = ((kept, books.lend(kept.account, kept.spent)) for kept in books.kept if kept.is_held or kept.is_paused)
    news = [(kept, lent) for kept, lent in waiting if isinstance(lent, int) or _told(lent) != _says(kept.run)]
    for kept, lent in news[:_MOST]:
        if kept.is_held:
            await _decide(_settle, kept.run)
        elif isinstance(lent, int):
            await _decide(_continue, kept.run)
        else:
            await _decide(partial(_explain, lent), kept.run)
    there = {kept.run["no"] for kept in books.kept if kept.status not in ENDED}
    over = [row["run_no"] for row in rows if row["run_no"] not in there]
    if over:
        await decide(partial(_forget, over))


# More, or less


def _could_use_more(books: Books, kept: Kept) -> bool:
    """Tell whether a run at work has used up half of its loan, and its budgets have something left."""
    if not kept.run["attempt_open"] or kept.used * 2 < kept.granted:
        return False
    over = books.over(kept.account)
    return bool(over) and all(standing.room >= CENT for standing in over)


def _has_too_much(books: Books, kept: Kept) -> bool:
    """Tell whether more is kept for a run than there is: a budget was lowered, or others' last answers cost more."""
    return kept.reserved > 0 and any(standing.room < 0 for standing in books.over(kept.account))


def _lend(org_id: int, unkept: Sequence[int], hints: Hints) -> Unit[Books]:
    """Lend more to all runs that could use it; return how the budgets stand then."""
    hard, now = yield from budgets.lock([budget for budget in budgets.known(org_id) if budget.hard])
    if unkept:
        yield from admission.begin(org_id, unkept, now)
    books = yield from admission.read(org_id, [budget for budget in hard if budget.hard], now)
    for kept in reversed(books.kept):  # the least urgent first
        if _has_too_much(books, kept):
            books.take_back(kept)
            yield from _tell(kept, hints)
    for kept in books.kept:
        if not _could_use_more(books, kept):
            continue
        own = kept.reserved
        lent = books.lend(kept.account, kept.spent, own=own, least=own + CENT)
        if not isinstance(lent, str) and lent > own:
            kept.granted = kept.used + lent
            yield from _tell(kept, hints)
    return books


def _tell(kept: Kept, hints: Hints) -> Unit[None]:
    """Write down what is kept for a run now, and let its runner know if that was told of it before."""
    run = kept.run
    yield from admission.keep(run["org_id"], run["no"], base=kept.base, granted=kept.granted, told=kept.told)
    if run["attempt_open"] and kept.told == run["attempt"]:
        yield from commands.issue(run, CommandKind.FUND, Fund(kept.granted), hints)


# Enough


def _is_broke(books: Books, kept: Kept) -> Standing | None:
    """Return the budget that a run at work must stop for. One that waits for a person spends nothing, and may wait."""
    if kept.status != RunStatus.RUNNING or not kept.run["attempt_open"]:
        return None
    over = books.over(kept.account)
    for standing in over:
        if standing.spent >= standing.budget.limit_micros:
            return standing
    if kept.used < kept.granted:
        return None
    return next((standing for standing in over if standing.room < CENT), None)


def _disobedient(org_id: int, broke: Sequence[Kept]) -> list[Kept]:
    """Return those whose runner does not know what they may spend, or has known for long that this is spent."""
    now, before = time.monotonic(), _spent_up.get(org_id, {})
    since = _spent_up[org_id] = {kept.run["no"]: before.get(kept.run["no"], now) for kept in broke}
    return [kept for kept in broke if kept.told != kept.run["attempt"] or now - since[kept.run["no"]] >= _GRACE]


def _pause(run: Row, hints: Hints) -> Unit[None]:
    locked = yield from queue.locked(run["org_id"], run["id"])
    over = budgets.over(run["org_id"], accounts.decode(run["account"], run["agent_id"]))
    books = yield from admission.open_books(run["org_id"], over)
    kept = books.of(run["no"])
    standing = _is_broke(books, kept) if kept is not None else None
    if standing is not None and locked["attempt"] == run["attempt"]:
        reason = Pause(admission.CODE, admission.refusal(standing), _HINT)
        yield from pausing.pause(locked, reason, hints)


# Again


def _told(why: str) -> str:
    """Return a reason as a hold has it."""
    return why[: admission.LONGEST]


def _says(run: Row) -> str:
    """Return what a held or paused run says that it waits for."""
    return _told(str(msgspec.json.decode(run["reason"]).get("message") if admission.is_paused(run) else run["hold"]))


def _settle(run: Row, hints: Hints) -> Unit[None]:
    if run["agent_id"] is not None:  # locked first: who moves another run of its takes the agent, then this run
        yield from states.choose(run["agent_id"], hints)
        return
    locked = yield from queue.locked(run["org_id"], run["id"])
    if locked["status"] == RunStatus.QUEUED and (locked["hold"] or "").startswith(admission.HELD):
        yield from admission.settle(locked, hints)


def _continue(run: Row, hints: Hints) -> Unit[None]:
    locked = yield from queue.locked(run["org_id"], run["id"])
    if not admission.is_paused(locked):
        return
    if locked["agent_id"] is not None:  # so that money is kept for it when its agent is free
        yield sql("UPDATE runs SET hold = $2 WHERE no = $1", run["no"], states.NEW)
    yield from pausing.continue_(locked, hints)
    if locked["agent_id"] is None:
        yield from admission.settle(locked, hints)


def _explain(why: str, run: Row, hints: Hints) -> Unit[None]:
    """Let a paused run say what it waits for by now: its runner knew no more than that its money was spent."""
    del hints
    locked = yield from queue.locked(run["org_id"], run["id"])
    if admission.is_paused(locked):
        told = msgspec.json.encode(Pause(admission.CODE, why, _HINT)).decode()
        yield sql("UPDATE runs SET reason = $2 WHERE no = $1", run["no"], told)


def _forget(run_nos: Iterable[int], hints: Hints) -> Unit[None]:
    """Keep nothing for runs that have ended, or were deleted while something was kept for them.

    Nobody continues one between the look and the deletion.
    """
    del hints
    numbers, ended = _numbers(run_nos), "('completed', 'failed', 'cancelled')"
    yield sql(f"UPDATE runs SET followups = followups WHERE no IN ({numbers}) AND status IN {ended}")  # noqa: S608 - integers
    yield sql(
        f"DELETE FROM reservations WHERE run_no IN ({numbers}) AND NOT EXISTS "  # noqa: S608 - integers
        f"(SELECT 1 FROM runs WHERE no = run_no AND status NOT IN {ended})"
    )


def _numbers(run_nos: Iterable[int]) -> str:
    return ",".join(map(str, sorted(run_nos)))


async def _decide(step: Callable[[Row, Hints], Unit[None]], run: Row) -> None:
    """Decide one step about a run; what has become of that meanwhile is no failure."""
    try:
        await decide(partial(step, run))
    except (Conflict, NotFound) as error:
        log.debug("a run went another way", run=run["id"], why=error.message)
    await asyncio.sleep(0)  # others have their turn
