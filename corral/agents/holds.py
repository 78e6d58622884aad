"""May an agent's queued run be claimed now? One at a time, the most urgent first; the others say what they wait for."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from corral.agents import needs
from corral.platform import database
from corral.platform.database import Row, Unit, sql
from corral.runs import admission
from corral.runs.hints import Hints
from corral.usage import accounts, budgets
from corral.wire.agents import AgentSnapshot

_BLOCKED_BY = (
    "SELECT t.title FROM task_blocks b JOIN tasks t ON t.id = b.blocked_by "
    "WHERE b.task_id = runs.task_id AND t.status <> 'done' ORDER BY t.no LIMIT 1"
)


def refresh(agent_id: str, hints: Hints) -> Unit[None]:
    """Decide anew which of the agent's queued runs is ready. Runs that wait for others don't keep it busy."""
    agents = yield sql("UPDATE agents SET state = state WHERE id = $1 RETURNING org_id, name, state", agent_id)
    if not agents:
        return
    runs = yield sql(
        "SELECT no, status, hold, attempt_open, placement_id, engine, agent, account, "  # noqa: S608 - constants
        f"({_BLOCKED_BY}) AS blocked_by FROM runs "
        "WHERE agent_id = $1 AND status IN ('queued', 'running', 'waiting', 'paused') ORDER BY priority DESC, no",
        agent_id,
    )
    queued = [run for run in runs if run["status"] == "queued" and not run["attempt_open"]]
    busy = any(run["status"] == "running" or (run["status"] == "queued" and run["attempt_open"]) for run in runs)
    off_duty = _off_duty(agents[0])
    lacks: dict[tuple[str, str], str | None] = {}
    for as_launched, engine in {_launched(run) for run in queued if off_duty is None}:
        snapshot = msgspec.json.decode(as_launched, type=AgentSnapshot)
        lacks[as_launched, engine] = yield from needs.lacking(agents[0]["org_id"], snapshot, engine)
    refused: dict[frozenset[int], str] = {}
    ready: Row | None = None
    for run in queued:
        blocked = f"blocked by {run['blocked_by']}" if run["blocked_by"] else None
        reason = off_duty or lacks[_launched(run)] or blocked
        if reason is None and not busy and ready is None:
            if run["hold"] is not None:
                reason = yield from _money(agents[0]["org_id"], agent_id, run, refused)
            if reason is None:
                ready = run
                continue
        if not (yield from _hold(run, reason or f"agent {agents[0]['name']} is busy")):
            busy = True  # it was claimed just now
    if ready is not None and ready["hold"] is not None and not busy:
        yield sql("UPDATE runs SET hold = NULL WHERE no = $1", ready["no"])
        hints.placement(ready["placement_id"])


def refresh_all(agent_ids: Iterable[str], hints: Hints) -> Unit[None]:
    """Do so for several, always in the same order."""
    ids = sorted(set(agent_ids))
    if len(ids) > 1:  # all of them before the budgets that the first one may take
        yield from lock(*ids)
    for agent_id in ids:
        yield from refresh(agent_id, hints)


def refresh_org(org_id: int, agent_id: str | None, hints: Hints) -> Unit[None]:
    """Do so for all agents of an org that have a queued run, or for the one that is named."""
    rows = yield sql(
        "SELECT DISTINCT agent_id FROM runs WHERE org_id = $1 AND status = 'queued' AND agent_id IS NOT NULL", org_id
    )
    yield from refresh_all({row["agent_id"] for row in rows if agent_id in {None, row["agent_id"]}}, hints)


def lock(*agent_ids: str | None) -> Unit[None]:
    """Take agents a unit will need one after the other, in the same order as every other unit: none waits in a ring."""
    if database.dialect() == "sqlite":  # has one writer
        return
    ids = sorted({one for one in agent_ids if one is not None})
    marks = ", ".join(f"${n}" for n in range(1, len(ids) + 1))
    yield sql(f"SELECT 1 FROM agents WHERE id IN ({marks}) ORDER BY id FOR UPDATE", *ids)  # noqa: S608 - marks


def _money(org_id: int, agent_id: str, run: Row, refused: dict[frozenset[int], str]) -> Unit[str | None]:
    """Have money kept for a run before it may go, or say why not: once for all that the same budgets are over."""
    account = accounts.decode(run["account"], agent_id)
    over = frozenset(budget.no for budget in budgets.over(org_id, account))
    if over not in refused:
        why = yield from admission.admit(org_id, run["no"], account)
        if why is None:
            return None
        refused[over] = why
    return refused[over]


def _off_duty(agent: Row) -> str | None:
    return f"agent {agent['name']} is {agent['state']}" if agent["state"] != "active" else None


def _launched(run: Row) -> tuple[str, str]:
    """Return the run's agent as it was at the launch, which its claim goes by as well, and its engine."""
    return run["agent"], run["engine"]


def _hold(run: Row, reason: str) -> Unit[bool]:
    """Hold a run; False if it was claimed before we could."""
    if run["hold"] == reason[: admission.LONGEST]:
        return True
    rows = yield sql(
        "UPDATE runs SET hold = $2 WHERE no = $1 AND status = 'queued' AND NOT attempt_open RETURNING no",
        run["no"],
        reason[: admission.LONGEST],
    )
    return bool(rows)
