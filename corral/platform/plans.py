"""What an org may have: how many agents, runners, runs at a time and people, and which features.

Plans are configuration (`plan_file`); which one an org has is for operators to say. The one there is without a file
limits nothing, and costs no statement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from corral.base.errors import BadRequest, Forbidden, NotFound
from corral.base.logs import get_logger
from corral.platform import audit, orgs
from corral.platform.database import Unit, commit, fetch, sql

log = get_logger()

#: What a plan can limit, and how people call one and several of it.
LIMITS = {
    "agents": ("agent", "agents"),
    "runners": ("runner", "runners"),
    "concurrent_runs": ("run at a time", "runs at a time"),
    "seats": ("person or open invitation", "people and open invitations"),
}
#: What a plan can switch off, and what is off then. What is there already can still be read and deleted.
FEATURES = {
    "audit_export": "exports of the audit log",
    "budgets": "budgets",
    "delegation": "delegation between agents",
    "mcp": "MCP servers",
    "secrets": "secrets",
    "sso": "sign-in with a provider",
}


class Full(Forbidden):
    """The org has as many as its plan allows."""


class Plan(msgspec.Struct, frozen=True):
    """What an org has booked."""

    name: str
    limits: Mapping[str, int] = {}  #: of those named in LIMITS; what is missing is unlimited
    features: Mapping[str, bool] = {}  #: of those named in FEATURES; what is missing is on

    def has(self, feature: str) -> bool:
        """Tell whether a feature is on."""
        return self.features.get(feature, True)

    def told(self) -> dict[str, int | None]:
        """Return all limits; None: unlimited."""
        return {what: self.limits.get(what) for what in LIMITS}


class Plans(msgspec.Struct, frozen=True):
    """All plans there are."""

    by_name: Mapping[str, Plan]
    default: Plan

    def of(self, name: str | None) -> Plan:
        """Return an org's plan. One that is not in the file any more is the default one."""
        return self.by_name.get(name, self.default) if name is not None else self.default

    def lack_any(self, feature: str) -> bool:
        """Tell whether any plan lacks this feature."""
        return not all(plan.has(feature) for plan in self.by_name.values())

    def limit_any(self, what: str) -> bool:
        """Tell whether any plan limits this."""
        return any(what in plan.limits for plan in self.by_name.values())


#: How the plan is called that there is without a file.
UNLIMITED = "self-hosted"
_WITHOUT = Plan(UNLIMITED)
#: The plans of this process.
_plans = Plans({UNLIMITED: _WITHOUT}, _WITHOUT)


def use(plans: Plans | None) -> None:
    """Make these the plans of this process; None: the one that limits nothing."""
    global _plans  # noqa: PLW0603 - chosen once by the composition root
    _plans = plans or Plans({UNLIMITED: _WITHOUT}, _WITHOUT)


def current() -> Plans:
    """Return the plans of this process."""
    return _plans


async def check() -> None:
    """Say which plans orgs have that are in no file any more."""
    rows = await fetch("SELECT plan, count(*) AS n FROM orgs WHERE plan IS NOT NULL GROUP BY plan ORDER BY plan")
    for row in rows:
        if row["plan"] not in _plans.by_name:
            log.warning("orgs have a plan that is not there; the default one holds", plan=row["plan"], orgs=row["n"])


def of(org_id: int) -> Unit[Plan]:
    """Read which plan an org has."""
    rows = yield sql("SELECT plan FROM orgs WHERE id = $1", org_id)
    return _plans.of(rows[0]["plan"] if rows else None)


def most(org_id: int, what: str) -> Unit[tuple[Plan, int] | None]:
    """Return the org's plan, and how many of `what` it allows; None: any number.

    Where there is a limit, others who would take the last place wait from here on until the commit.
    """
    if not _plans.limit_any(what):
        return None
    yield from orgs.lock(org_id)
    plan = yield from of(org_id)
    return (plan, plan.limits[what]) if what in plan.limits else None


def within(org_id: int, what: str, count: str, *args: Any) -> Unit[None]:
    """Raise Forbidden if one more of `what` would be too many.

    `count` is a statement that says how many there are as `n`; the org is its `$1`, `args` follow.
    """
    allowed = yield from most(org_id, what)
    if allowed is None:
        return
    rows = yield sql(count, org_id, *args)
    if rows[0]["n"] >= allowed[1]:
        raise Full(over(allowed[0], what))


def over(plan: Plan, what: str) -> str:
    """Say which limit is reached."""
    return f"Your plan, {plan.name}, allows {amount(plan, what)} ({what}), and you have reached that"


def amount(plan: Plan, what: str) -> str:
    """Say how many a plan allows."""
    number, (one, several) = plan.limits[what], LIMITS[what]
    return f"{number:,} {one if number == 1 else several}"


def require(plan: str | None, feature: str) -> None:
    """Raise Forbidden unless an org with this plan has the feature."""
    found = _plans.of(plan)
    if not found.has(feature):
        raise Forbidden(f"Your plan, {found.name}, does not include {FEATURES[feature]} ({feature})")


def demand(org_id: int, feature: str) -> Unit[None]:
    """Do so within a unit, where nobody knows the org's plan."""
    if _plans.lack_any(feature):
        require((yield from of(org_id)).name, feature)


def first(org_ids: Sequence[int], feature: str) -> Unit[int]:
    """Return the first of these orgs whose plan has the feature. Raises Forbidden, about the first, if no plan has."""
    if _plans.lack_any(feature):
        numbers = ",".join(str(int(org_id)) for org_id in org_ids)
        rows = yield sql(f"SELECT id, plan FROM orgs WHERE id IN ({numbers})")  # noqa: S608 - integers
        theirs = {row["id"]: row["plan"] for row in rows}
        found = next((org_id for org_id in org_ids if _plans.of(theirs[org_id]).has(feature)), org_ids[0])
        require(theirs[found], feature)
        return found
    return org_ids[0]


async def set_plan(org_id: int, name: str | None) -> Plan:
    """Give an org a plan; None: the default one. For operators alone."""
    if name is not None and name not in _plans.by_name:
        known = ", ".join(sorted(_plans.by_name))
        raise BadRequest(
            f"There is no plan {name!r}; there are {known}, by the file that CORRAL_PLANS names where this is run",
            field="plan",
        )
    return await commit(_set(org_id, name))


def _set(org_id: int, name: str | None) -> Unit[Plan]:
    yield from orgs.lock(org_id)
    rows = yield sql("SELECT plan FROM orgs WHERE id = $1", org_id)
    if not rows:
        raise NotFound(f"There is no org {org_id}")
    yield sql("UPDATE orgs SET plan = $2 WHERE id = $1", org_id, name)
    if changed := audit.changes(rows[0], {"plan": name}):
        yield from audit.note(org_id, "plan.changed", "plan", str(org_id), **changed)
    return _plans.of(name)
