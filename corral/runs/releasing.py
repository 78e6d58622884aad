"""Each second: let go on what is held for want of a place in its org's plan, as far as there are places by now."""

from __future__ import annotations

from functools import partial

from corral.platform import database
from corral.platform.database import Unit, sql
from corral.runs import admission, places, states
from corral.runs.hints import Hints, decide

_HELD = f"status = 'queued' AND hold LIKE '{places.HELD}%'"
#: Runs of an org that a step looks at; the next step goes on.
_MOST = 100


class Release:
    """A loop of every server, which may run in several at once: what a run may is decided under its org's lock."""

    def __init__(self) -> None:
        """Look at least once: the plans may have been others when the server was stopped."""
        self._is_clear = False

    async def run_once(self, _now: float) -> None:
        """Let go on what may."""
        if self._is_clear and not places.are_limited():
            return
        orgs = await database.fetch(
            f"SELECT id FROM orgs o WHERE EXISTS (SELECT 1 FROM runs WHERE org_id = o.id AND {_HELD}) ORDER BY id"  # noqa: S608
        )
        for row in orgs:
            await _release(row["id"])
        self._is_clear = not orgs


async def _release(org_id: int) -> None:
    """Let the most urgent go on while there are places. Agents decide themselves which of their runs that is."""
    held = await database.fetch(
        f"SELECT no, agent_id FROM runs WHERE org_id = $1 AND {_HELD} ORDER BY priority DESC, no LIMIT {_MOST}",  # noqa: S608
        org_id,
    )
    for row in held:
        if await database.commit(places.full(org_id, row["no"])) is not None:
            return
        unit = partial(_go_on, row["no"]) if row["agent_id"] is None else partial(_choose, row["agent_id"])
        await decide(unit)


def _choose(agent_id: str, hints: Hints) -> Unit[None]:
    yield from states.choose(agent_id, hints)


def _go_on(run_no: int, hints: Hints) -> Unit[None]:
    held = yield sql(f"UPDATE runs SET followups = followups WHERE no = $1 AND {_HELD} RETURNING *", run_no)  # noqa: S608
    for run in held:
        yield from admission.settle(run, hints)
