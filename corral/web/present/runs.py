"""Runs as AgentFleet shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from corral.runs import reads, runners
from corral.runs.models import Run
from corral.runs.runners import Machine
from corral.usage import ledger
from corral.usage.ledger import SoFar, Totals
from corral.web.present.entries import Entry, entries
from corral.web.present.logs import pages
from corral.web.present.statuses import fleet
from corral.web.present.times import shown
from corral.wire.runs import PermissionMode

_NO_COST = SoFar()


class RunView(msgspec.Struct, rename="camel", kw_only=True):
    """A run."""

    id: str
    status: str  #: QUEUED, RUNNING, WAITING, PAUSED, COMPLETED, FAILED or CANCELLED
    input: str  #: what it was told
    cwd: str
    permission_mode: PermissionMode
    model: str | None  #: null is the CLI's own choice
    runner_id: str | None  #: null until pinned or claimed
    runner_name: str | None
    parent_run_id: str | None
    created_at: str
    started_at: str | None
    ended_at: str | None
    reason: str | None = None  #: why it is not moving, or ended as it did


class RunList(msgspec.Struct):
    """Runs, newest first."""

    data: list[RunView]


class UsageView(msgspec.Struct, rename="camel"):
    """Tokens in four classes; none is part of another."""

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int


class ModelUsage(msgspec.Struct, rename="camel"):
    """What one model was used for in a run, so far."""

    model: str
    cost_usd: float
    usage: UsageView


class RunDetail(RunView, rename="camel", kw_only=True):
    """A run with its log and what it cost."""

    engine: str
    session_id: str | None  #: the CLI's own session
    attempt: int
    logs: list[Entry]
    cost_usd: float  #: so far: of a run that goes on also what its present turn is known to have used
    cost_is_estimated: bool  #: some of it is of answers that are still being written, or were broken off
    usage: UsageView
    usage_by_model: list[ModelUsage]


async def view(org_id: int, run: Run) -> RunView:
    """Show one run as it is right after a change of it."""
    machines = await _machines(org_id, [run])
    return RunView(**_fields(run, machines, None))


async def views(org_id: int, runs: Sequence[Run]) -> list[RunView]:
    """Show runs."""
    machines = await _machines(org_id, runs)
    why = await reads.why(org_id, runs)
    return [RunView(**_fields(run, machines, why.get(run.id))) for run in runs]


async def detail(org_id: int, run: Run) -> RunDetail:
    """Show one run with everything about it."""
    machines = await _machines(org_id, [run])
    why = await reads.why(org_id, [run])
    models = await ledger.by_model(run.no)
    total = (await ledger.totals([run.no])).get(run.no, _NO_COST)
    return RunDetail(
        **_fields(run, machines, why.get(run.id)),
        engine=run.engine,
        session_id=run.session_id,
        attempt=run.attempt,
        logs=[entry async for page in pages(run.no) for entry in entries(page)],
        cost_usd=total.cost_usd,
        cost_is_estimated=total.is_estimated,
        usage=_usage(total),
        usage_by_model=[ModelUsage(model, used.cost_usd, _usage(used)) for model, used in models.items()],
    )


async def _machines(org_id: int, runs: Sequence[Run]) -> dict[int, Machine]:
    """Return the runners these runs name; mostly from what this process read within the last second."""
    wanted = {no for run in runs if (no := run.runner_no or run.pinned_no) is not None}
    if not wanted:
        return {}
    found = {machine.no: machine for machine in await runners.known(org_id) if machine.no in wanted}
    return found if len(found) == len(wanted) else await runners.names(wanted)


def _fields(run: Run, machines: dict[int, Machine], why: str | None) -> dict[str, Any]:
    machine = machines.get(run.runner_no or run.pinned_no or 0)
    return {
        "id": run.id,
        "status": fleet(run.status),
        "input": run.prompt,
        "cwd": run.cwd,
        "permission_mode": PermissionMode(run.permission_mode),
        "model": run.model,
        "runner_id": machine.uid if machine else None,
        "runner_name": machine.name if machine else None,
        "parent_run_id": run.parent_id,
        "created_at": shown(run.created_at),
        "started_at": shown(run.started_at),
        "ended_at": shown(run.ended_at),
        "reason": why or _told(run.reason),
    }


def _told(reason: str | None) -> str | None:
    """Return the sentence of a stored reason."""
    if reason is None:
        return None
    told: dict[str, Any] = msgspec.json.decode(reason)
    return told.get("message") or told.get("code")


def _usage(total: Totals) -> UsageView:
    return UsageView(total.input_tokens, total.output_tokens, total.cache_read_tokens, total.cache_write_tokens)
