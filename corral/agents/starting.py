"""A task becomes a run: with its agent as it is now, at the place its agent works in."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from corral.agents import board, roster
from corral.agents.board import Task
from corral.agents.roster import Agent
from corral.base.errors import BadRequest, Conflict
from corral.base.ids import new_id
from corral.platform import audit, database
from corral.platform.database import Row, Unit, sql
from corral.runs import queue, reads, runners
from corral.runs.hints import Hints, decide
from corral.runs.models import Run
from corral.runs.queue import Launch, Prepared
from corral.runs.runners import Machine
from corral.wire.runner import Limits
from corral.wire.runs import Engine, PermissionMode

_TOO_LATE = "It was not done in time, so nobody waits for it any more"


async def start(org_id: int, task_id: str, by: str, run_id: str | None = None) -> Run:
    """Start a task and return its run: the one it has, if that is live; the same `run_id` twice is the same run."""
    if run_id is not None and (begun := await reads.some(org_id, [run_id])):
        return begun[0]
    prepared = await prepare(org_id, task_id, by, run_id)

    def unit(hints: Hints) -> Unit[str]:
        task = yield from board.locked(org_id, task_id)
        return (yield from begin(org_id, task, prepared, hints))

    return await reads.get(org_id, await decide(unit))


async def prepare(org_id: int, task_id: str, by: str | None = None, run_id: str | None = None) -> Prepared:
    """Find out where the task's run may go; nothing is written yet. Nobody in particular is the task's creator."""
    task = await board.get(org_id, task_id)
    agent = await roster.get(org_id, task.assignee_id)
    if agent.state == roster.ARCHIVED:
        raise Conflict(f"agent {agent.name} is archived; give the task to another")
    return await launch_of(agent, task.input, by or task.created_by, task=task, run_id=run_id)


def begin(org_id: int, task: Row, prepared: Prepared, hints: Hints) -> Unit[str]:
    """Queue the run of a locked task; returns its id, or that of the live run there is."""
    live = yield from board.live_run(task)
    if live is not None:
        return str(live["id"])
    yield sql(
        "UPDATE tasks SET run_id = $2, status = 'pending', wanted_at = coalesce(wanted_at, now_ms()), retry_at = NULL, "
        "result = NULL, error = NULL, ended_at = NULL, updated_at = now_ms(), "
        "tries = CASE WHEN retry_at IS NULL THEN 0 ELSE tries END WHERE id = $1",
        task["id"],
        prepared.wanted.id,
    )
    yield from queue.enqueue(org_id, prepared, hints)
    return prepared.wanted.id


async def launch_of(
    agent: Agent, prompt: str, by: str, *, task: Task | None = None, run_id: str | None = None
) -> Prepared:
    """Prepare a run of this agent."""
    config = agent.provider_config
    labels: Sequence[str] = config.get("labels") or ()
    engine = Engine(agent.cli_name) if agent.cli_name else Engine.PROVIDER
    runner = config.get("runner")
    cwd: str = (config.get("cwd") or "") if engine != Engine.PROVIDER else ""
    if engine != Engine.PROVIDER and not cwd:
        cwd = await runners.consult(agent.org_id, lambda machines: _somewhere(machines, agent, engine, labels, runner))
    wanted = Launch(
        id=run_id or new_id(),
        prompt=prompt,
        cwd=cwd,
        created_by=by,
        engine=engine,
        runner=runner,
        permission_mode=PermissionMode(config.get("permission_mode") or PermissionMode.DEFAULT),
        model=agent.model,
        labels=labels,
        allowed_tools=[tool.strip() for tool in agent.allowed_tools.split(",") if tool.strip()],
        limits=Limits(max_turns=agent.max_turns),
        priority=task.priority if task else 0,
        agent=agent.snapshot(),
        task_id=task.id if task else None,
        tree_id=task.root_id if task else None,
        epic_id=task.epic_id if task else None,
    )
    return await queue.prepare(agent.org_id, wanted)


def _somewhere(machines: Sequence[Machine], agent: Agent, engine: Engine, labels: Sequence[str], runner: Any) -> str:
    """Return a directory of a runner that could take the agent's runs: one that is online, if there is."""
    fitting = [machine for machine in machines if _fits(machine, engine, labels, runner)]
    fitting.sort(key=lambda machine: not machine.online)
    if not fitting:
        raise BadRequest(
            f"agent {agent.name} names no directory in provider_config.cwd, and no runner is known that could lend one",
            field="provider_config.cwd",
        )
    return fitting[0].allowed_dirs[0]


def _fits(machine: Machine, engine: Engine, labels: Sequence[str], runner: Any) -> bool:
    return (
        (runner is None or machine.answers_to(runner))
        and any(cli.engine == engine for cli in machine.clis)
        and set(labels) <= set(machine.labels)
    )


async def retry_due(_now: float) -> int:
    """Start again what failed and may be tried once more; returns how many. A loop of every server."""
    rows = await database.fetch(
        "SELECT id, org_id, created_by FROM tasks WHERE retry_at IS NOT NULL AND retry_at <= now_ms() LIMIT 50"
    )
    for row in rows:
        await _try_again(row["org_id"], row["id"], row["created_by"])
    return len(rows)


async def end_overdue(_now: float) -> int:
    """End delegated tasks that nobody should wait for any longer; returns how many. A loop of every server."""
    rows = await database.fetch(
        "SELECT id, org_id FROM tasks WHERE due_at IS NOT NULL AND ended_at IS NULL AND due_at <= now_ms() LIMIT 50"
    )
    for row in rows:
        await _overdue(row["org_id"], row["id"])
    return len(rows)


async def _try_again(org_id: int, task_id: str, by: str) -> None:
    try:
        prepared = await prepare(org_id, task_id, by)
    except (BadRequest, Conflict) as error:
        await decide(partial(fail, org_id, task_id, error.message))
        return

    def unit(hints: Hints) -> Unit[None]:
        task = yield from board.locked(org_id, task_id)
        is_due = yield sql("SELECT 1 FROM tasks WHERE id = $1 AND retry_at <= now_ms()", task_id)
        if is_due:  # no other server was quicker
            yield from begin(org_id, task, prepared, hints)

    await decide(unit)


def fail(org_id: int, task_id: str, why: str, hints: Hints) -> Unit[None]:
    """End a task that could not be started."""
    task = yield from board.locked(org_id, task_id)
    if (yield from board.live_run(task)) is None:
        yield from board.end(task, board.ERROR, hints, error=why)


async def _overdue(org_id: int, task_id: str) -> None:
    def unit(hints: Hints) -> Unit[None]:
        task = yield from board.locked(org_id, task_id)
        if task["due_at"] is None or task["ended_at"] is not None:  # it has ended, or another server was quicker
            return
        yield sql("UPDATE tasks SET due_at = NULL WHERE id = $1", task_id)
        yield from board.end(task, board.ERROR, hints, error=_TOO_LATE)
        yield from audit.note(org_id, "task.cancelled", "task", task_id, title=task["title"], reason=_TOO_LATE)
        live = yield from board.live_run(task)
        if live is not None:
            yield from queue.stop(live, "corral", hints)

    await decide(unit)
