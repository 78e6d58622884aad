"""Who calls, and what their org allows."""

from __future__ import annotations

from typing import Annotated

import msgspec

from corral.platform import keys, orgs, plans, policy
from corral.platform.access import Role
from corral.platform.policy import DelegateTo, Policy
from corral.web.call import Call
from corral.web.routes import Routes

route = Routes("org")

#: What this version of Corral can do beside what plans switch; clients may hide what is off.
_FEATURES = {"agents": True, "approvals": True, "provider_engine": True, "runners": True, "projects": False}


class OrgView(msgspec.Struct):
    """A tenant."""

    id: int
    name: str


class Me(msgspec.Struct):
    """Who calls."""

    id: str  #: of the person; of the key, if that is nobody's
    name: str
    org: OrgView
    plan: str
    features: dict[str, bool]
    role: Role
    scopes: list[str]  #: what this key, or this person, may do


class ChangePolicy(msgspec.Struct, forbid_unknown_fields=True):
    """Which rules to change; what is left out stays."""

    delegate_to: DelegateTo | msgspec.UnsetType = msgspec.UNSET
    max_depth: Annotated[int, msgspec.Meta(ge=0, le=100)] | msgspec.UnsetType = msgspec.UNSET
    max_fan_out: Annotated[int, msgspec.Meta(ge=0, le=100_000)] | msgspec.UnsetType = msgspec.UNSET
    max_open_tasks: Annotated[int, msgspec.Meta(ge=1, le=100_000)] | msgspec.UnsetType = msgspec.UNSET
    max_tasks_per_hour: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | msgspec.UnsetType = msgspec.UNSET
    due_hours: Annotated[float, msgspec.Meta(gt=0, le=8760)] | msgspec.UnsetType = msgspec.UNSET


@route.get("/api/me", anybody=True)
async def get_me(call: Call) -> Me:
    """Show who calls, with org, plan and what there is."""
    caller = call.caller
    org, person = await orgs.names(call.org_id, caller.user_id)
    if caller.user_id is None and caller.key_id is not None:
        person = (await keys.get(call.org_id, caller.key_id)).name
    id_ = caller.user_id or caller.key_id or ""
    plan = plans.current().of(caller.plan)
    features = {**_FEATURES, **{feature: plan.has(feature) for feature in plans.FEATURES}}
    return Me(id_, person, OrgView(call.org_id, org), plan.name, features, caller.role, sorted(caller.scopes))


@route.get("/api/v1/policy", scope="agents:read", role=Role.ADMIN)
async def get_policy(call: Call) -> Policy:
    """Show whom agents may hand work to, and the governors that keep a fleet from running away."""
    return await policy.get(call.org_id)


@route.patch("/api/v1/policy", scope="agents:write", role=Role.ADMIN)
async def change_policy(call: Call, body: ChangePolicy) -> Policy:
    """Change some of these rules."""
    fields = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not msgspec.UNSET}
    return await policy.change(call.org_id, fields)
