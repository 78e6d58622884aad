"""Budgets: what an org, a team, an agent, a tree of tasks or a key may spend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

from corral.agents import board, roster
from corral.base.errors import BadRequest, NotFound
from corral.platform import keys, orgs
from corral.platform.access import Role
from corral.runs import admission
from corral.usage import alerts, budgets
from corral.usage.budgets import Budget, Whose
from corral.web.api.paging import Page, cut
from corral.web.api.runs import Done
from corral.web.call import Call
from corral.web.present.budgets import BudgetView, budget_view
from corral.web.routes import Routes

route = Routes("usage")

Scope = Literal["org", "team", "agent", "task", "key"]
Period = Literal["day", "week", "month", "total"]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Target = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Zone = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Dollars = Annotated[float, msgspec.Meta(ge=0.01, le=1_000_000_000)]


class SetBudget(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A budget to set."""

    scope: Scope
    target: Target | None = None  #: a team's name, or the id of an agent, of a tree's root task, of a key
    name: Name | None = None  #: how holds and warnings call it
    limit_usd: Dollars
    period: Period
    tz: Zone = "UTC"  #: whose days, as Europe/Berlin; weeks begin on Monday
    hard: bool = True  #: stops runs; else it only warns


class ChangeBudget(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What to change about a budget; what is left out stays."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    limit_usd: Dollars | msgspec.UnsetType = msgspec.UNSET
    period: Period | msgspec.UnsetType = msgspec.UNSET
    tz: Zone | msgspec.UnsetType = msgspec.UNSET
    hard: bool | msgspec.UnsetType = msgspec.UNSET


@route.get("/api/budgets", scope="usage:read")
async def list_budgets(call: Call, query: Page) -> list[BudgetView]:
    """List budgets and how they stand, newest first."""
    found = await budgets.page(call.org_id, limit=query.size + 1, before=query.before)
    return await views(call.org_id, cut(call, found, query, [budget.id for budget in found]))


@route.post(
    "/api/budgets",
    feature="budgets",
    scope="usage:write",
    role=Role.ADMIN,
    status=201,
    answers=(BudgetView,),
    also=(409,),
)
async def set_budget(call: Call, body: SetBudget) -> BudgetView:
    """Set a budget. It is over all runs of its scope, those that are under way included."""
    target = await _target(call.org_id, body.scope, body.target)
    fields = {
        "scope": body.scope,
        "target": target,
        "name": body.name or await _called(call.org_id, (body.scope, target)),
        "limit_micros": _micros(body.limit_usd),
        "period": body.period,
        "tz": body.tz,
        "hard": body.hard,
    }
    return await view(await budgets.create(call.org_id, call.new_id(), call.actor, fields))


@route.get("/api/budgets/<id>", scope="usage:read")
async def get_budget(call: Call, id: str) -> BudgetView:
    """Show a budget and how it stands."""
    return await view(await budgets.get(call.org_id, id))


@route.patch("/api/budgets/<id>", feature="budgets", scope="usage:write", role=Role.ADMIN, also=(409,))
async def change_budget(call: Call, id: str, body: ChangeBudget) -> BudgetView:
    """Change a budget. If it is raised, what it has stopped goes on within two seconds."""
    given = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not msgspec.UNSET}
    if "limit_usd" in given:
        given["limit_micros"] = _micros(given.pop("limit_usd"))
    return await view(await budgets.update(call.org_id, id, given))


@route.delete("/api/budgets/<id>", scope="usage:write", role=Role.ADMIN)
async def delete_budget(call: Call, id: str) -> Done:
    """Delete a budget: what it has stopped goes on, if no other one forbids that."""
    await budgets.remove(call.org_id, id)
    return Done()


async def views(org_id: int, some: Sequence[Budget]) -> list[BudgetView]:
    """Show budgets, in this order."""
    if not some:
        return []
    standings = await admission.look(org_id, some)
    reached = [one.budget for one in standings if alerts.reached(one.budget, one.spent)]
    told = await alerts.present(reached, standings[0].now) if reached else {}
    names = await _names(org_id, {budget.whose for budget in some})
    return [budget_view(standing, told.get(standing.budget.no, ()), names) for standing in standings]


async def view(budget: Budget) -> BudgetView:
    """Show one budget. Raises NotFound if it is deleted meanwhile."""
    found = await views(budget.org_id, [budget])
    if not found:
        raise budgets.unknown(budget.id)
    return found[0]


async def _target(org_id: int, scope: Scope, target: str | None) -> str:
    """Return whom the budget is for, as it is stored; BadRequest if there is no such one."""
    if scope == budgets.ORG:
        if target is not None:
            raise BadRequest("target: a budget of the org has none; leave it out", field="target")
        return ""
    if target is None:
        raise BadRequest(f"target: name the {scope} that the budget is for", field="target")
    match scope:
        case "team":
            if all(agent.team != target for agent in await roster.page(org_id)):
                raise BadRequest(f"target: no agent is in a team {target!r}", field="target")
        case "agent":
            await roster.get(org_id, target, field="target")
        case "task":
            task = await board.get(org_id, target, field="target")
            if task.root_id != task.id:
                raise BadRequest(
                    f"target: a budget is for a whole tree of tasks; this one's root is {task.root_id}", field="target"
                )
        case "key":
            try:
                await keys.get(org_id, target)
            except NotFound as error:
                raise BadRequest(f"target: there is no key {target} here", field="target") from error
    return target


async def _called(org_id: int, whose: Whose) -> str:
    """Return what a budget is called that was given no name: as whom it is for."""
    return (await _names(org_id, {whose}))[whose][:100]


async def _names(org_id: int, some: set[Whose]) -> dict[Whose, str]:
    """Return what those are called whom budgets are for."""
    of: dict[str, list[str]] = {}
    for scope, target in some:
        of.setdefault(scope, []).append(target)
    found: dict[str, dict[str, Any]] = {
        "org": {"": (await orgs.names(org_id, None))[0]} if "org" in of else {},
        "team": {team: team for team in of.get("team", ())},
        "agent": await roster.names(org_id, of["agent"]) if "agent" in of else {},
        "task": await board.titles(org_id, of["task"]) if "task" in of else {},
        "key": await keys.names(org_id, of["key"]) if "key" in of else {},
    }
    return {(scope, target): found[scope].get(target, "") for scope, target in some}


def _micros(dollars: float) -> int:
    return round(dollars * 1_000_000)
