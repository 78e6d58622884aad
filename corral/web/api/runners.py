"""AgentsMesh: runners and their pods, under `/runners` and, the same, under `/api/v1/runners`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from corral.runs import reads, runners
from corral.runs.runners import Machine
from corral.web.api.paging import Count, Limit, Page, cut
from corral.web.call import Call
from corral.web.present.runners import PodPage, RunnerDetail, RunnerList, pod_view, runner_view
from corral.web.present.runs import views
from corral.web.present.statuses import stored_for_pod
from corral.web.routes import Routes

route = Routes("runners")

_PODS_MOST = 500
_SESSIONS = 100


class PodsAsked(msgspec.Struct, forbid_unknown_fields=True):
    """Which pods of a runner."""

    status: Annotated[str, msgspec.Meta(max_length=20)] | None = None  #: queued, running, …, terminated, failed
    limit: Limit = 50
    offset: Count = 0


@route.get("/runners", scope="runners:read")
async def list_runners(call: Call, query: Page) -> RunnerList:
    """List all runners, newest first."""
    return _listed(call, query, await runners.page(call.org_id, limit=query.size + 1, before=query.before))


@route.get("/runners/available", scope="runners:read")
async def list_available_runners(call: Call, query: Page) -> RunnerList:
    """List the runners that are online, have a free slot, and are not draining."""
    machines = await runners.page(call.org_id, limit=query.size + 1, before=query.before, available=True)
    return _listed(call, query, machines)


@route.get("/runners/<id>", scope="runners:read")
async def get_runner(call: Call, id: str) -> RunnerDetail:
    """Show a runner, by its number or its text id, with its latest runs."""
    machine = await runners.get(call.org_id, id)
    runs = await reads.page(call.org_id, runner_no=machine.no, limit=_SESSIONS)
    return RunnerDetail(runner_view(machine), await views(call.org_id, runs))


@route.get("/runners/<id>/pods", scope="runners:read")
async def list_pods(call: Call, id: str, query: PodsAsked) -> PodPage:
    """List the pods on a runner, newest first."""
    statuses = stored_for_pod(query.status)
    runner_no, total = await runners.runs_on(call.org_id, id, statuses)
    limit = min(query.limit, _PODS_MOST)
    runs = await reads.page(call.org_id, runner_no=runner_no, statuses=statuses, limit=limit, offset=query.offset)
    return PodPage([pod_view(run) for run in runs], total, limit, query.offset)


def _listed(call: Call, page: Page, machines: Sequence[Machine]) -> RunnerList:
    shown = cut(call, machines, page, [str(machine.id) for machine in machines])
    return RunnerList([runner_view(machine) for machine in shown])


route.also_under("/api/v1", "v1")
