"""Who calls, what they may change about themselves, and what their org allows."""

from __future__ import annotations

from typing import Annotated

import msgspec

from corral.platform import access, accounts, keys, orgs, passwords, people, plans, policy
from corral.platform.access import Role
from corral.platform.policy import DelegateTo, Policy
from corral.web.api.invitations import Email, Name, Password
from corral.web.api.runs import Done
from corral.web.call import Call
from corral.web.present.people import OrgView
from corral.web.routes import Routes

route = Routes("org")

#: What this version of Corral can do beside what plans switch; clients may hide what is off.
_FEATURES = {"agents": True, "approvals": True, "provider_engine": True, "runners": True, "projects": False}


class Me(msgspec.Struct):
    """Who calls."""

    id: str  #: of the person; of the key, if that is nobody's
    name: str
    email: str | None  #: what the person signs in with
    has_password: bool
    org: OrgView
    plan: str
    features: dict[str, bool]
    role: Role
    scopes: list[str]  #: what this key, or this person, may do


class ChangeMe(msgspec.Struct, forbid_unknown_fields=True):
    """What to change about oneself; what is left out stays."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    email: Email | msgspec.UnsetType = msgspec.UNSET


class SetPassword(msgspec.Struct, forbid_unknown_fields=True):
    """A new password."""

    password: Password
    current: Password | None = None  #: the one now; not asked for in a session that a link began within the hour


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
    return await _me(call)


async def _me(call: Call) -> Me:
    caller = call.caller
    org, person = await orgs.names(call.org_id, caller.user_id)
    if caller.user_id is None and caller.key_id is not None:
        person = (await keys.get(call.org_id, caller.key_id)).name
    account = await accounts.get(caller.user_id) if caller.user_id is not None else None
    plan = plans.current().of(caller.plan)
    return Me(
        id=caller.user_id or caller.key_id or "",
        name=person,
        email=account.email if account else None,
        has_password=account is not None and account.has_password,
        org=OrgView(call.org_id, org),
        plan=plan.name,
        features={**_FEATURES, **{feature: plan.has(feature) for feature in plans.FEATURES}},
        role=caller.role,
        scopes=sorted(caller.scopes),
    )


async def _account(call: Call) -> str:
    """Return whose account the caller may change: it is the same one in every org."""
    user_id = access.themself(call.caller)
    await accounts.check_reach(call.caller, user_id)
    return user_id


@route.patch("/api/me", anybody=True, answers=(Me,), also=(409,))
async def change_me(call: Call, body: ChangeMe) -> Me:
    """Change what one is called, or signs in with: signed in, or with a full key of one's own."""
    name = None if body.name is msgspec.UNSET else body.name
    email = None if body.email is msgspec.UNSET else body.email
    await accounts.change(await _account(call), name=name, email=email)
    return await _me(call)


@route.put("/api/me/password", anybody=True)
async def set_password(call: Call, body: SetPassword) -> Done:
    """Set one's own password; all other sign-ins of one's own end within a second, in every org."""
    await _account(call)
    await passwords.change(call.caller, current=body.current, new=body.password)
    return Done()


@route.post("/api/me/leave", anybody=True, also=(409,))
async def leave_org(call: Call) -> Done:
    """Leave the org: one's keys in it end, and one's sign-ins look at another org, or end."""
    access.themself(call.caller)
    await people.leave(call.caller)
    return Done()


@route.get("/api/v1/policy", scope="agents:read", role=Role.ADMIN)
async def get_policy(call: Call) -> Policy:
    """Show whom agents may hand work to, and the governors that keep a fleet from running away."""
    return await policy.get(call.org_id)


@route.patch("/api/v1/policy", scope="agents:write", role=Role.ADMIN)
async def change_policy(call: Call, body: ChangePolicy) -> Policy:
    """Change some of these rules."""
    fields = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not msgspec.UNSET}
    return await policy.change(call.org_id, fields)
