"""Delete a run: its row at once, its log piece by piece, and what its machine keeps of it as soon as that is there.

What it cost stays in the ledger, which secrets it was given in the record of their uses, and what it said to others in
their inboxes and in its task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from corral.base.errors import Conflict
from corral.base.ids import new_id
from corral.platform import audit, database
from corral.platform.database import Row, Unit, sql
from corral.runs import commands, ending, queue
from corral.runs.hints import Hints, decide
from corral.wire.events import EventType
from corral.wire.runner import CommandKind, Forget
from corral.wire.runs import ENDED, LIVE, Engine

#: Called with the row of a run that is about to go; later sub-packages, which keep more of runs, register here.
Hook = Callable[[Row], Unit[None]]
_hooks: list[Hook] = []
#: What is kept of a run beside its log.
_KEPT = ("approvals", "calls", "inputs", "commands", "usage_drafts", "reservations")
#: Events that one statement deletes: nobody else waits long for it.
_PIECE = 2000
_SOME_PACKS = (
    "DELETE FROM event_packs WHERE run_no = $1 AND first_seq IN (SELECT first_seq FROM event_packs WHERE run_no = $1 "
    "ORDER BY first_seq LIMIT 50) RETURNING first_seq"
)


def on_deletion(hook: Hook) -> None:
    """Call `hook` in the transaction that deletes a run; the composition root registers it."""
    if hook not in _hooks:
        _hooks.append(hook)


async def delete(org_id: int, run_id: str, by: str) -> None:
    """Delete a run that nobody works on. One that is queued or paused is cancelled first."""

    def unit(hints: Hints) -> Unit[None]:
        run = yield from queue.locked(org_id, run_id)
        if run["status"] in LIVE or run["attempt_open"]:
            how = run["status"] if run["status"] in LIVE else "about to start"
            raise Conflict(f"The run is {how}; cancel it first")
        if run["status"] not in ENDED:
            yield from ending.cancel(run["no"], by, hints)
        yield from _delete(run, hints)
        told = {"launched_by": run["created_by"], "engine": run["engine"], "cwd": run["cwd"], "agent": run["agent_id"]}
        yield from audit.note(org_id, "run.deleted", "run", run_id, **told)

    await decide(unit)
    await clear()


async def clear(_now: float = 0.0) -> None:
    """Remove what is left of the logs of deleted runs. Whoever is stopped meanwhile, another goes on."""
    for row in await database.fetch("SELECT run_no FROM remains"):
        run_no = row["run_no"]
        while first := (await database.fetch("SELECT min(seq) AS seq FROM events WHERE run_no = $1", run_no))[0]["seq"]:
            await database.fetch("DELETE FROM events WHERE run_no = $1 AND seq < $2", run_no, first + _PIECE)
            await asyncio.sleep(0)
        more = True
        while more:
            more = bool(await database.fetch(_SOME_PACKS, run_no))
            await asyncio.sleep(0)
        await database.fetch("DELETE FROM remains WHERE run_no = $1", run_no)


def _delete(run: Row, hints: Hints) -> Unit[None]:
    heirs = yield sql(
        "SELECT id FROM runs WHERE parent_no = $1 AND session_id = $2 ORDER BY no", run["no"], run["session_id"]
    )
    if run["engine"] != Engine.PROVIDER:
        asked = msgspec.json.encode(Forget(run["id"], [row["id"] for row in heirs]))
        for runner_no in sorted((yield from _machines(run))):
            yield from commands.ask_runner(
                run["org_id"], runner_no, new_id(), kind=CommandKind.FORGET, payload=asked, hints=hints
            )
    for hook in _hooks:
        yield from hook(run)
    for table in _KEPT:
        yield sql(f"DELETE FROM {table} WHERE run_no = $1", run["no"])  # noqa: S608 - a constant
    yield sql("DELETE FROM runs WHERE no = $1", run["no"])
    yield sql("INSERT INTO remains (run_no, org_id) VALUES ($1, $2) ON CONFLICT DO NOTHING", run["no"], run["org_id"])


def _machines(run: Row) -> Unit[set[int]]:
    """Return the runners that had an attempt of it: mostly one, as a session that has begun stays where it is."""
    found = {int(run["runner_no"])} if run["runner_no"] is not None else set()
    if run["attempt"] > 1:
        started = yield sql(
            "SELECT payload FROM events WHERE run_no = $1 AND type = $2", run["no"], EventType.RUN_STARTED.value
        )
        for name in {str(msgspec.json.decode(row["payload"]).get("runner")) for row in started}:
            named = yield sql("SELECT no FROM runners WHERE org_id = $1 AND name = $2", run["org_id"], name)
            found.update(row["no"] for row in named)
    return found
