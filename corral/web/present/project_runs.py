"""Runs as Abbado shows them."""

from __future__ import annotations

from typing import Annotated

import msgspec

from corral.runs.models import Run
from corral.usage import ledger
from corral.usage.ledger import Totals
from corral.web.present.statuses import project
from corral.web.present.times import shown


class ProjectRun(msgspec.Struct):
    """A run, with the fields that a project's runs have."""

    id: str
    project_id: str | None
    agent_id: str | None
    task: str  #: what it was told
    status: str  #: queued, running, paused, completed, failed or cancelled
    source_branch: str | None
    run_branch: str | None
    cli_name: str
    created_at: str
    updated_at: str
    tokens_in: Annotated[int, msgspec.Meta(description="All that went in, cached or not.")]
    tokens_out: int
    cost_usd: float
    parent_run_id: str | None
    notify: bool


async def view(run: Run) -> ProjectRun:
    """Show one run."""
    spent = (await ledger.totals([run.no])).get(run.no, Totals())
    return ProjectRun(
        id=run.id,
        project_id=None,
        agent_id=run.agent_id,
        task=run.prompt,
        status=project(run.status),
        source_branch=None,
        run_branch=None,
        cli_name=run.engine,
        created_at=shown(run.created_at) or "",
        updated_at=shown(run.updated_at) or "",
        tokens_in=spent.asked_tokens,
        tokens_out=spent.output_tokens,
        cost_usd=spent.cost_usd,
        parent_run_id=run.parent_id,
        notify=False,
    )
