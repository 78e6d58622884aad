"""What an org may have and has: its plan; and how often its keys may call."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from corral.agents import roster
from corral.platform import people, plans, rates
from corral.platform.access import Role
from corral.platform.database import fetch
from corral.runs import places, runners
from corral.web.api.keys import Rate
from corral.web.call import Call
from corral.web.routes import Routes

route = Routes("org")

#: How each thing that a plan can limit is counted, and what stands for none that is left out.
_COUNTS: Mapping[str, tuple[str, *tuple[str | int, ...]]] = {
    "agents": (roster.COUNT, ""),
    "runners": (runners.COUNT, ""),
    "concurrent_runs": (places.COUNT, 0),
    "seats": (people.SEATS,),
}


class PlanView(msgspec.Struct):
    """An org's plan, and what is used of it."""

    name: str
    limits: dict[str, int | None]  #: agents, runners, concurrent_runs, seats; null: any number
    used: dict[str, int]
    features: dict[str, bool]


class RateView(msgspec.Struct):
    """How often each key of the org may call that has no limit of its own."""

    rate_limit: int | None  #: requests a minute, 0 for any number; null: as the server has it
    default: int  #: the server's


class ChangeRate(msgspec.Struct, forbid_unknown_fields=True):
    """The limit to set."""

    rate_limit: Rate | None  #: requests a minute; null: as the server has it


@route.get("/api/plan", anybody=True)
async def get_plan(call: Call) -> PlanView:
    """Show the org's plan: what it allows, how much of that is used, and which features it includes."""
    return await plan_view(call.org_id, call.caller.plan)


@route.get("/api/v1/limits", scope="keys:read")
async def get_limits(call: Call) -> RateView:
    """Show how often the org's keys may call."""
    return await _view(call)


@route.patch("/api/v1/limits", scope="keys:write", role=Role.ADMIN, answers=(RateView,))
async def change_limits(call: Call, body: ChangeRate) -> RateView:
    """Say how often each of the org's keys may call; every server knows within a second."""
    await rates.change(call.org_id, body.rate_limit)
    return await _view(call)


async def plan_view(org_id: int, name: str | None) -> PlanView:
    """Show a plan with what an org has used of it."""
    plan = plans.current().of(name)
    used = {what: int((await fetch(count, org_id, *none))[0]["n"]) for what, (count, *none) in _COUNTS.items()}
    return PlanView(plan.name, plan.told(), used, {feature: plan.has(feature) for feature in plans.FEATURES})


async def _view(call: Call) -> RateView:
    return RateView(await rates.get(call.org_id), call.settings.rate_limit)
