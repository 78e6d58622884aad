"""Runs as they are read: one, a page, what they cost, and why one isn't moving."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from corral.base.errors import BadRequest, NotFound
from corral.base.ids import is_id
from corral.base.paths import covers
from corral.platform import database
from corral.runs import runners
from corral.runs.models import Run
from corral.runs.runners import Machine
from corral.wire.runs import Engine, RunStatus


async def get(org_id: int, run_id: str) -> Run:
    """Return one run; NotFound if the org has none by this id."""
    known = is_id(run_id)
    rows = await database.fetch("SELECT * FROM runs WHERE org_id = $1 AND id = $2", org_id, run_id) if known else ()
    if not rows:
        raise NotFound(f"There is no run {run_id} here")
    return from_row(rows[0])


def from_row(row: database.Row) -> Run:
    """Return the run of a row that a unit has read or written whole: asking for it again would cost more than that."""
    return Run._init_from_db(**dict(zip(row.keys(), row, strict=True)))  # noqa: SLF001 - what a query of Tortoise does


async def page(
    org_id: int,
    *,
    statuses: Sequence[str] = (),
    runner_no: int | None = None,
    agent_id: str | None = None,
    task_id: str | None = None,
    limit: int = 50,
    before: str | None = None,
    offset: int = 0,
) -> list[Run]:
    """Return the org's runs, newest first; `before` is a run's id, exclusive."""
    query = Run.filter(org_id=org_id)
    if statuses:
        query = query.filter(status__in=list(statuses))
    if runner_no is not None:
        query = query.filter(runner_no=runner_no)
    if agent_id is not None:
        query = query.filter(agent_id=agent_id)
    if task_id is not None:
        query = query.filter(task_id=task_id)
    if before is not None:
        anchor = await Run.get_or_none(org_id=org_id, id=before) if is_id(before) else None
        if anchor is None:
            raise BadRequest(f"before: there is no run {before} here", field="before")
        query = query.filter(no__lt=anchor.no)
    return await query.order_by("-no").offset(offset).limit(limit)


async def count_open(org_id: int) -> dict[str, int]:
    """Return how many runs there are in each state that is no end; those that ended are too many to count each time."""
    rows = await database.fetch(
        "SELECT status, count(*) AS n FROM runs WHERE org_id = $1 "
        "AND status IN ('queued', 'running', 'waiting', 'paused') GROUP BY status",
        org_id,
    )
    return {row["status"]: row["n"] for row in rows}


async def children(org_id: int, run: Run) -> list[Run]:
    """Return the runs that went on with this one's CLI session, oldest first."""
    return await Run.filter(org_id=org_id, parent_no=run.no).order_by("no").limit(100)


async def some(org_id: int, run_ids: Iterable[str]) -> list[Run]:
    """Return the runs with these ids."""
    wanted = list(set(run_ids))
    return await Run.filter(org_id=org_id, id__in=wanted) if wanted else []


async def of_task(org_id: int, task_id: str) -> list[Run]:
    """Return the runs that worked on a task, oldest first."""
    return await Run.filter(org_id=org_id, task_id=task_id).order_by("no")


async def prompts(org_id: int, run_ids: Iterable[str]) -> dict[str, str]:
    """Return what runs were told, by id."""
    rows = await Run.filter(org_id=org_id, id__in=list(set(run_ids))).values_list("id", "prompt")
    return dict(rows)


async def why(org_id: int, runs: Sequence[Run]) -> dict[str, str]:
    """Say for each run that isn't moving what it waits for, by run id; the others are not in the answer."""
    found = {run.id: _told(run) for run in runs if run.status == RunStatus.PAUSED}
    stuck = [run for run in runs if run.status == RunStatus.QUEUED or run.unreachable_since is not None]
    if stuck:
        machines = await runners.page(org_id)
        found |= {run.id: _why(run, machines) for run in stuck}
    return found


def _told(run: Run) -> str:
    """Return why a run is paused."""
    return str(msgspec.json.decode(run.reason or "{}").get("message") or "paused")


def _why(run: Run, machines: Sequence[Machine]) -> str:
    holder = next((m for m in machines if m.no == run.runner_no), None)
    if run.unreachable_since is not None:
        return f"runner {holder.name if holder else '?'} has not been heard of; the run goes on there if it is well"
    if run.hold is not None:
        return run.hold
    if run.attempt_open:
        return f"claimed by {holder.name if holder else 'a runner'}, starting"
    if run.engine == Engine.PROVIDER:
        return "about to start"
    return _no_claim(run, machines)


def _no_claim(run: Run, machines: Sequence[Machine]) -> str:
    """Say why no machine has claimed the run."""
    if not machines:
        return "no runner has connected yet"
    wanted = run.pinned_no or (run.runner_no if run.session_id is not None else None)
    candidates = [m for m in machines if wanted in {None, m.no}]
    with_cli = [m for m in candidates if any(cli.engine == run.engine for cli in m.clis)]
    if not with_cli:
        return f"no runner has the CLI {run.engine}"
    labels = set(msgspec.json.decode(run.labels))
    labelled = [m for m in with_cli if labels <= set(m.labels)]
    if not labelled:
        return f"no runner has the label{'s' if len(labels) > 1 else ''} {', '.join(sorted(labels))}"
    covering = [m for m in labelled if any(covers(d, run.cwd) for d in m.allowed_dirs)]
    if not covering:
        return f"no runner allows the directory {run.cwd}"
    online = [m for m in covering if m.online]
    if not online:
        return f"runner {covering[0].name} is offline" if len(covering) == 1 else "no runner that fits is online"
    awake = [m for m in online if not m.draining]
    if not awake:
        return "every runner that fits is draining"
    if all(m.pod_count >= m.max_pods for m in awake):
        return "every runner that fits is busy"
    return "about to be claimed"
