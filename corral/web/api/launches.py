"""AgentFleet: launch a run, list runs, read one with its log, follow it up."""

from __future__ import annotations

from typing import Annotated

import msgspec

from corral.runs import queue, reads
from corral.runs.queue import Launch
from corral.web.api.paging import Count, Limit, Page, cut
from corral.web.call import Call
from corral.web.present.entries import Entry, entries
from corral.web.present.logs import pages
from corral.web.present.runs import RunDetail, RunList, RunView, detail, view, views
from corral.web.present.statuses import fleet, stored_for_fleet
from corral.web.routes import Routes
from corral.wire.runner import Limits
from corral.wire.runs import Engine, PermissionMode

route = Routes("runs")

Prompt = Annotated[str, msgspec.Meta(min_length=1, max_length=1_000_000, pattern=r"\S")]
Directory = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Tool = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
Model = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
RunnerName = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
RunnerNumber = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class LaunchRun(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A run to launch: what to do, and where."""

    prompt: Prompt
    cwd: Directory  #: absolute, on the machine of the runner
    runner_id: RunnerName | RunnerNumber | None = None  #: only on this runner
    permission_mode: PermissionMode = PermissionMode.DEFAULT
    model: Model | None = None
    labels: Annotated[list[Label], msgspec.Meta(max_length=50)] = []  #: only on runners that have them all
    engine: Engine = Engine.CLAUDE_CODE
    allowed_tools: Annotated[list[Tool], msgspec.Meta(max_length=200)] = []  #: run without asking
    max_turns: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    max_run_seconds: Annotated[float, msgspec.Meta(gt=0, le=31_536_000)] | None = None
    idle_seconds: Annotated[float, msgspec.Meta(gt=0, le=31_536_000)] | None = None
    priority: Annotated[int, msgspec.Meta(ge=-1000, le=1000)] = 0  #: higher ones are claimed first


class FollowUp(msgspec.Struct, forbid_unknown_fields=True):
    """What to do next."""

    prompt: Prompt


class RunsAsked(Page):
    """Which runs to list."""

    status: Annotated[str, msgspec.Meta(max_length=20)] | None = None  #: QUEUED, RUNNING, …


class EntriesAsked(msgspec.Struct, forbid_unknown_fields=True):
    """Which part of a log."""

    after: Count = 0  #: only entries with a higher seq
    limit: Limit | None = None


class EntryList(msgspec.Struct):
    """Entries of a log, oldest first."""

    data: list[Entry]


@route.post("/api/v1/runs", scope="runs:write", status=201, answers=(RunDetail,), also=(409,))
async def launch_run(call: Call, body: LaunchRun) -> RunView:
    """Launch a run; a runner that may work in its directory claims it."""
    run = await queue.launch(call.org_id, _launch(call, body))
    return await view(call.org_id, run)


@route.get("/api/v1/runs", scope="runs:read")
async def list_runs(call: Call, query: RunsAsked) -> RunList:
    """List runs of every face, newest first."""
    statuses = stored_for_fleet(query.status)
    runs = await reads.page(call.org_id, statuses=statuses, limit=query.size + 1, before=query.before)
    word = fleet(statuses[0]) if statuses else None
    return RunList(await views(call.org_id, cut(call, runs, query, [run.id for run in runs], status=word)))


@route.get("/api/v1/runs/<id>", scope="runs:read")
async def get_run(call: Call, id: str) -> RunDetail:
    """Show a run with its log, final cost and token usage."""
    return await detail(call.org_id, await reads.get(call.org_id, id))


@route.get("/api/v1/runs/<id>/events", scope="runs:read")
async def list_run_entries(call: Call, id: str, query: EntriesAsked) -> EntryList:
    """Read a run's log from a sequence number on."""
    run = await reads.get(call.org_id, id)
    log = pages(run.no, after=query.after, limit=query.limit)
    return EntryList([entry async for page in log for entry in entries(page)])


@route.post("/api/v1/runs/<id>/followup", scope="runs:write", status=201, answers=(RunDetail,), also=(409,))
async def follow_up_run(call: Call, id: str, body: FollowUp) -> RunView:
    """Continue an ended run: a new child run resumes its session."""
    run = await queue.follow_up(call.org_id, id, body.prompt, call.actor, call.new_id())
    return await view(call.org_id, run)


def _launch(call: Call, body: LaunchRun) -> Launch:
    default = Limits()
    return Launch(
        id=call.new_id(),
        prompt=body.prompt,
        cwd=body.cwd,
        created_by=call.actor,
        engine=body.engine,
        runner=body.runner_id,
        permission_mode=body.permission_mode,
        model=body.model,
        labels=body.labels,
        allowed_tools=body.allowed_tools,
        limits=Limits(
            max_turns=body.max_turns,
            idle_seconds=body.idle_seconds or default.idle_seconds,
            run_seconds=body.max_run_seconds or default.run_seconds,
        ),
        priority=body.priority,
    )
