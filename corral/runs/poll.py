"""A runner's poll: it renews the lease on arrival, then waits for commands or for a run it may claim."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from corral import bus
from corral.base.errors import Conflict, NotFound, Unauthorized
from corral.platform import keys
from corral.platform.database import Row, Unit, alone, commit, sql
from corral.runs import claim, commands, ending, log, outfit, pausing, placements, restored, runners
from corral.runs.hints import Hints, decide, runner_topic
from corral.runs.placements import Offer, Placement
from corral.runs.waiting import Waiter, waiting_room
from corral.wire.events import EventType
from corral.wire.runner import WAIT_SECONDS, Assignment, Cli, Command, Held, Poll, PollAnswer
from corral.wire.runs import RunStatus


class _Arrival(msgspec.Struct):
    """What the database knows of the runner at the moment of its poll."""

    runner_no: int
    void: bool
    offer: Offer
    free_slots: int
    given: list[Assignment]  #: offered again, or claimed just now
    lost: list[Held]
    commands: list[Command]


async def poll(org_id: int, runner_id: str | int, body: Poll, *, key_id: str | None = None) -> PollAnswer:
    """Answer at once if there is something to do, else when there is, else after the time the runner would wait.

    The key that polls may end meanwhile: then so does the poll, with Unauthorized.
    """
    room = waiting_room()
    heard = room.heard
    arrival = await decide(lambda hints: _arrive(org_id, str(runner_id), body, key_id, hints))
    bus.current().publish(runner_topic(arrival.runner_no))  # an older poll of this runner that still waits gives up
    if arrival.void:
        return PollAnswer(void=True)
    answer = PollAnswer(assignments=arrival.given, commands=arrival.commands, lost=arrival.lost)
    if not (answer.assignments or answer.commands or answer.lost):
        await _wait(arrival, body, key_id, heard, answer)
    answer.assignments = await outfit.outfit(answer.assignments)
    answer.commands = await outfit.equip(answer.commands)
    return answer


async def _wait(arrival: _Arrival, body: Poll, key_id: str | None, heard: int, answer: PollAnswer) -> None:
    """Fill the answer as soon as there is something, within the time the runner would wait."""
    room = waiting_room()
    wants_runs = arrival.free_slots > 0
    with room.enter(arrival.offer, body.session, body.poll_no, wants_runs=wants_runs, key_id=key_id) as waiter:
        if room.heard != heard:  # a run may have become ready between looking and entering
            answer.assignments = await decide(
                lambda hints: _claim(
                    arrival.runner_no, body.session, arrival.offer, arrival.free_slots, hints, key_id=key_id
                )
            )
        deadline = time.monotonic() + min(max(body.wait_seconds, 0.0), WAIT_SECONDS)
        while not (answer.assignments or answer.commands or answer.lost):
            if not await waiter.wait(deadline - time.monotonic()):
                break
            if await _look_again(arrival, body, waiter, answer):
                break


async def _look_again(arrival: _Arrival, body: Poll, waiter: Waiter, answer: PollAnswer) -> bool:
    """Do what the hints told of; True if the poll ends here whatever it found."""
    runner_called, placement = waiter.take()
    if runner_called:
        runner, is_live = await commit(_current(arrival.runner_no, waiter.key_id))
        if not is_live:
            raise _ended(waiter, placement)
        if runner["session"] != body.session or runner["poll_no"] != body.poll_no:
            answer.void = True
            return True
        answer.commands = await commit(commands.open_for(arrival.runner_no))
    if placement is not None and not answer.commands:
        answer.assignments = await claim.claim(
            arrival.runner_no, body.session, [placement.id], arrival.free_slots, key_id=waiter.key_id
        )
        if not answer.assignments and not await commit(keys.is_live(waiter.key_id)):
            raise _ended(waiter, placement)
    return False


def _ended(waiter: Waiter, placement: Placement | None) -> Unauthorized:
    """Return how a poll ends whose key has; another one is called for the run that this one was."""
    waiter.wants_runs = False
    if placement is not None:
        waiter.room.call_one(placement)
    return Unauthorized()


_OPEN = (
    f"SELECT {claim.COLUMNS}, started_at, runner_session, unreachable_since, "  # noqa: S608
    "cancel_requested_at, pause_requested, claimed_at, now_ms() AS now FROM runs "
    "WHERE runner_no = $1 AND attempt_open ORDER BY no"
)
#: What a runner's offer is made of, and how much it may hold.
_OFFERED = "no, max_pods, clis, labels, allowed_dirs"
#: What a poll looks for, so that only what is there costs statements of its own.
_AT_ONCE = (
    "(SELECT count(*) FROM runs WHERE runner_no = runners.no AND attempt_open) AS held, "  # noqa: S608 - constants
    "(SELECT count(*) FROM commands WHERE runner_no = runners.no AND done_at IS NULL AND status IS NULL) AS asked, "
    "CASE org_id WHEN 0 THEN (SELECT count(*) FROM placements WHERE engine = 'provider') "
    "ELSE (SELECT count(*) FROM placements WHERE org_id = runners.org_id) END AS placements, "
    f"EXISTS (SELECT 1 FROM runs WHERE {claim.READY}) AS ready"
)


def _claim(
    runner_no: int,
    session: str,
    offer: Offer,
    most: int,
    hints: Hints,
    *,
    key_id: str | None,
    among: int | None = None,
) -> Unit[list[Assignment]]:
    if most < 1:
        return []
    mine = yield from placements.satisfied_by(offer, among)
    return (yield from claim.take(runner_no, session, mine, most, hints, key_id=key_id))


def _arrive(org_id: int, runner_id: str, body: Poll, key_id: str | None, hints: Hints) -> Unit[_Arrival]:
    column, name = runners.naming(runner_id)
    arrived = alone(
        f"UPDATE runners SET seen_at = now_ms(), poll_no = $4, draining = $5 WHERE org_id = $1 AND {column} = $2 "  # noqa: S608
        f"AND session = $3 AND poll_no <= $4 AND {runners.LATELY} RETURNING {_OFFERED}, {_AT_ONCE}",
        org_id, name, body.session, body.poll_no, body.draining,
    )  # fmt: skip
    rows = yield arrived
    if not rows and (yield from runners.come_back(org_id, runner_id, body.session)):
        rows = yield arrived
    if not rows:
        return (yield from _refuse(org_id, runner_id, body))
    runner = rows[0]
    open_rows = (yield alone(_OPEN, runner["no"])) if runner["held"] else ()
    held = {(h.run_id, h.attempt, h.lease) for h in body.held}
    mine = [row for row in open_rows if _key(row) in held]
    again: list[Assignment] = []
    for row in open_rows:
        if _key(row) in held:
            continue
        is_wanted = row["cancel_requested_at"] is None or row["started_at"] is not None
        was_restored = pausing.is_restored(row["pause_requested"])
        is_here = restored.is_offered_again(row) if was_restored else row["runner_session"] == body.session
        if is_here and is_wanted:
            if (work := (yield from claim.give(row, hints))) is not None:
                again.append(work)
        else:
            yield from _take_back(row, hints)
    if any(row["unreachable_since"] is not None or row["runner_session"] != body.session for row in mine):
        yield from _welcome_back(mine, body.session, hints)
    open_keys = {_key(row) for row in open_rows}
    # Who waits for a person or for a task holds no slot that others need.
    room = runner["max_pods"] - sum(row["status"] != RunStatus.WAITING for row in mine) - len(again)
    free_slots = 0 if body.draining else max(0, min(body.free_slots - len(again), room))
    offer = _offer(org_id, runner)
    most = free_slots if runner["ready"] else 0
    claimed = yield from _claim(
        runner["no"], body.session, offer, most, hints, key_id=key_id, among=runner["placements"]
    )
    return _Arrival(
        runner_no=runner["no"],
        void=False,
        offer=offer,
        free_slots=free_slots,
        given=again + claimed,
        lost=[h for h in body.held if (h.run_id, h.attempt, h.lease) not in open_keys],
        commands=(yield from commands.open_for(runner["no"])) if runner["asked"] else [],
    )


def _refuse(org_id: int, runner_id: str, body: Poll) -> Unit[_Arrival]:
    """Say why the poll did not match: unknown runner, a newer process, or merely a newer poll."""
    column, name = runners.naming(runner_id)
    rows = yield sql(f"SELECT {_OFFERED}, session FROM runners WHERE org_id = $1 AND {column} = $2", org_id, name)  # noqa: S608
    if not rows:
        raise NotFound(f"There is no runner {runner_id} here; register first")
    if rows[0]["session"] != body.session:
        raise Conflict("A newer process of this runner has registered; this one must stop", field="session")
    return _Arrival(rows[0]["no"], True, _offer(org_id, rows[0]), 0, [], [], [])


def _take_back(row: Row, hints: Hints) -> Unit[None]:
    """End an attempt that the runner does not have, unless its end has come in since it was read."""
    rows = yield sql(
        "UPDATE runs SET followups = followups WHERE no = $1 AND attempt = $2 AND attempt_open "
        "RETURNING cancel_by, cancel_requested_at, started_at",
        row["no"],
        row["attempt"],
    )
    if rows and rows[0]["cancel_requested_at"] is not None and rows[0]["started_at"] is None:
        yield from ending.cancel(row["no"], rows[0]["cancel_by"], hints)
    elif rows:
        yield from ending.interrupt(row["no"], "The runner was restarted and no longer has this attempt", hints)


def _welcome_back(runs: Sequence[Row], session: str, hints: Hints) -> Unit[None]:
    for run in runs:
        rows = yield sql(
            "UPDATE runs SET unreachable_since = NULL, runner_session = $3 WHERE no = $1 AND attempt = $2 "
            "AND attempt_open RETURNING no",
            run["no"],
            run["attempt"],
            session,
        )
        if rows and run["unreachable_since"] is not None:
            yield from log.append(
                run["no"], EventType.SESSION_REACHABLE, {"message": "The runner is back and still has this run"}, hints
            )


def _current(runner_no: int, key_id: str | None) -> Unit[tuple[Row, bool]]:
    rows = yield sql("SELECT session, poll_no FROM runners WHERE no = $1", runner_no)
    return rows[0], (yield from keys.is_live(key_id))


def _offer(org_id: int, runner: Row) -> Offer:
    return _parsed(org_id, runner["no"], runner["clis"], runner["labels"], runner["allowed_dirs"])


@lru_cache(maxsize=4096)
def _parsed(org_id: int, runner_no: int, clis: str, labels: str, allowed_dirs: str) -> Offer:
    """Remember what a runner offers for as long as it says the same."""
    return Offer(
        org_id,
        runner_no,
        frozenset(cli.engine.value for cli in msgspec.json.decode(clis, type=list[Cli])),
        frozenset(msgspec.json.decode(labels)),
        tuple(msgspec.json.decode(allowed_dirs)),
    )


def _key(run: Row) -> tuple[str, int, str]:
    return run["id"], run["attempt"], run["lease"]
