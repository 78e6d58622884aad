"""Budgets: the list, the form that sets and changes one, and each one's page with what it has stopped."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from typing import Any

import msgspec

from corral.agents import board, roster
from corral.base.errors import BadRequest, Conflict
from corral.platform import keys
from corral.platform.access import Role
from corral.usage import budgets
from corral.usage.budgets import Budget
from corral.web import answers
from corral.web.answers import Answer, redirect
from corral.web.api import budgets as api
from corral.web.api.budgets import ChangeBudget, SetBudget
from corral.web.call import Call
from corral.web.console.budget_views import PERIODS, budget_view, stopped
from corral.web.console.overtaken import Change, marked, overtaken
from corral.web.console.page import back_to, page
from corral.web.console.run_views import title
from corral.web.console.run_views import views as run_views
from corral.web.console.runs import said
from corral.web.console.sign_in import Nothing
from corral.web.routes import Routes

route = Routes("console", hidden=True, content=answers.HTML)

_WRITE = "usage:write"
_CHOICES = 200
_LEAST, _MOST = 0.01, 1_000_000_000
#: Whom one may be for, explained.
_SCOPES = (
    (budgets.ORG, "The whole org", "Everything that anybody’s runs cost."),
    (budgets.TEAM, "A team", "All agents of it together."),
    (budgets.AGENT, "An agent", ""),
    (budgets.TASK, "A tree of tasks", "A task, and all that is handed on below it."),
    (budgets.KEY, "An API key", "What was launched with it."),
)
#: From the fullest: who has to do something about one finds it first.
_ORDER = {"100": 0, "80": 1, "50": 2, "ok": 3}


class BudgetForm(Change):
    """What the form holds; whom it is for has a field for each scope."""

    scope: str = "org"
    team: str = ""
    agent: str = ""
    task: str = ""
    key: str = ""
    name: str = ""
    limit: str = ""
    period: str = "month"
    tz: str = "UTC"
    hard: str = "true"


class Preset(msgspec.Struct):
    """What a new budget's form begins with."""

    scope: str = "org"
    target: str = ""


class Limit(msgspec.Struct):
    """A budget's new limit."""

    limit: str = ""


@route.get("/app/budgets", scope="usage:read")
async def budgets_page(call: Call) -> Answer:
    """List the budgets, the fullest first."""
    found = [budget_view(told) for told in await api.views(call.org_id, await budgets.page(call.org_id))]
    found.sort(key=lambda one: (_ORDER[one.told.level], -one.told.percent))
    used = sum(one.told.level == "100" for one in found)
    return await page(
        call, "budgets.html", "budgets", budgets=found,
        summary=f"{len(found)} budget{'s' if len(found) != 1 else ''}" + (f" · {used} used up" if used else ""),
    )  # fmt: skip


@route.get("/app/budgets/new", scope=_WRITE, role=Role.ADMIN)
async def new_budget_page(call: Call, query: Preset) -> Answer:
    """Show the form that sets a budget."""
    form = BudgetForm(scope=query.scope)
    if query.scope in {scope for scope, *_ in _SCOPES} - {budgets.ORG}:
        setattr(form, query.scope, query.target)
    return await _form(call, form, {})


@route.post("/app/budgets", feature="budgets", scope=_WRITE, role=Role.ADMIN, repeatable=False)
async def set_budget_from_page(call: Call, form: BudgetForm) -> Answer:
    """Set a budget and lead to its page, or show the form again with what is wrong beside the field."""
    errors = _problems(form)
    target = getattr(form, form.scope) if form.scope != budgets.ORG and "scope" not in errors else None
    if target == "":
        errors[form.scope] = "Choose one. Where there is none, a budget can be for something else."
    if not errors:
        body = {**_fields(form), "scope": form.scope, "target": target, "name": form.name.strip() or None}
        try:
            made = await api.set_budget(call, msgspec.convert(body, SetBudget))
        except (BadRequest, Conflict) as error:
            errors |= _told(form, error)
        else:
            return redirect(f"/app/budgets/{made.id}")
    return await _form(call, form, errors, status=400)


@route.get("/app/budgets/<budget_id>", scope="usage:read")
async def budget_page(call: Call, budget_id: str) -> Answer:
    """Show one budget: how it stands, and what it has stopped."""
    return await _show(call, await budgets.get(call.org_id, budget_id))


@route.get("/app/budgets/<budget_id>/edit", scope=_WRITE, role=Role.ADMIN)
async def edit_budget_page(call: Call, budget_id: str) -> Answer:
    """Show the form that changes a budget."""
    budget = await budgets.get(call.org_id, budget_id)
    return await _form(call, marked(_filled(budget)), {}, budget)


@route.post("/app/budgets/<budget_id>/edit", feature="budgets", scope=_WRITE, role=Role.ADMIN, repeatable=False)
async def change_budget_from_page(call: Call, form: BudgetForm, budget_id: str) -> Answer:
    """Change a budget."""
    budget = await budgets.get(call.org_id, budget_id)
    errors = _problems(form) or overtaken(form, _filled(budget))
    if not errors:
        body = {**_fields(form), "name": form.name.strip() or budget.name}
        try:
            await api.change_budget(call, budget_id, msgspec.convert(body, ChangeBudget))
        except (BadRequest, Conflict) as error:
            errors |= _told(form, error)
        else:
            return redirect(f"/app/budgets/{budget_id}")
    return await _form(call, form, errors, budget, status=400)


@route.post("/app/budgets/<budget_id>/limit", feature="budgets", scope=_WRITE, role=Role.ADMIN, repeatable=False)
async def raise_budget_from_page(call: Call, form: Limit, budget_id: str) -> Answer:
    """Raise or lower a budget; what it has stopped goes on if there is money again."""
    budget = await budgets.get(call.org_id, budget_id)
    if (limit := _dollars(form.limit)) is None:
        return await _show(call, budget, problem=_NO_AMOUNT, status=400)
    await api.change_budget(call, budget_id, ChangeBudget(limit_usd=limit))
    return back_to(call, f"/app/budgets/{budget_id}")


@route.post("/app/budgets/<budget_id>/delete", scope=_WRITE, role=Role.ADMIN, repeatable=False)
async def delete_budget_from_page(call: Call, form: Nothing, budget_id: str) -> Answer:
    """Delete a budget."""
    await budgets.remove(call.org_id, budget_id)
    return redirect("/app/budgets")


def _filled(budget: Budget) -> BudgetForm:
    """Return the form as a budget fills it."""
    return BudgetForm(
        scope=budget.scope, name=budget.name, limit=_typed(budget.limit_micros), period=budget.period, tz=budget.tz,
        hard="true" if budget.hard else "false",
    )  # fmt: skip


_NO_AMOUNT = f"An amount in dollars from {_LEAST} to {_MOST:,}."


def _problems(form: BudgetForm) -> dict[str, str]:
    errors = {}
    if form.scope not in {scope for scope, *_ in _SCOPES}:
        errors["scope"] = "Choose one of these."
    if _dollars(form.limit) is None:
        errors["limit"] = _NO_AMOUNT
    if len(form.name) > 100:
        errors["name"] = "At most 100 characters, please."
    if form.period not in {period for period, *_ in PERIODS}:
        errors["period"] = "Choose one of these."
    if not 0 < len(form.tz.strip()) <= 100:
        errors["tz"] = "Name a time zone, as Europe/Berlin."
    return errors


def _fields(form: BudgetForm) -> dict[str, Any]:
    """Return what a form without problems says, whomever it is for."""
    return {
        "limit_usd": _dollars(form.limit),
        "period": form.period,
        "tz": form.tz.strip(),
        "hard": form.hard == "true",
    }


def _told(form: BudgetForm, error: BadRequest | Conflict) -> dict[str, str]:
    """Return what is wrong, beside the field that holds it."""
    field = error.field or "scope"
    return {form.scope if field == "target" and form.scope != budgets.ORG else field: said(error)}


def _dollars(text: str) -> float | None:
    try:
        amount = float(text.strip().removeprefix("$").replace(",", ""))
    except ValueError:
        return None
    return amount if math.isfinite(amount) and _LEAST <= amount <= _MOST else None


def _typed(micros: int) -> str:
    """Return an amount as somebody would type it: no more decimals than it has, but two."""
    text = f"{micros / 1_000_000:.6f}".rstrip("0")
    return text + "0" * max(0, 2 - len(text.partition(".")[2]))


async def _show(call: Call, budget: Budget, *, problem: str | None = None, status: int = 200) -> Answer:
    shown = budget_view(await api.view(budget))
    runs = await stopped(budget) if shown.told.paused_runs or shown.told.held_runs else []
    return await page(
        call, "budget.html", "budgets", status=status, path=f"/app/budgets/{budget.id}",
        budget=shown, limit=_typed(budget.limit_micros), runs=await run_views(call.org_id, runs), problem=problem,
        command=_command(budget, shown.told.target_name),
    )  # fmt: skip


async def _form(
    call: Call, form: BudgetForm, errors: Mapping[str, str], budget: Budget | None = None, status: int = 200
) -> Answer:
    agents = list(reversed(await roster.page(call.org_id)))
    roots = [task for task in await board.page(call.org_id, statuses=board.OPEN) if task.parent_id is None]
    made = await keys.page(call.org_id, limit=_CHOICES, live_only=True) if call.caller.has("keys:read") else []
    return await page(
        call, "budget_form.html", "budgets", status=status,
        path=f"/app/budgets/{budget.id}/edit" if budget else "/app/budgets/new", form=form, errors=errors,
        budget=budget_view(await api.view(budget)) if budget else None, periods=PERIODS, scopes=_SCOPES,
        choices={
            budgets.TEAM: [(team, team) for team in sorted({one.team for one in agents if one.team})],
            budgets.AGENT: [(one.id, one.name) for one in agents],
            budgets.TASK: [(task.id, task.title or title(task.input)) for task in roots[:_CHOICES]],
            budgets.KEY: [(key.id, f"{key.name} ({key.prefix}…)") for key in made],
        },
    )  # fmt: skip


def _command(budget: Budget, whose: str) -> str:
    """Return what sets it from a terminal, or changes it."""
    scope = {
        budgets.TEAM: ["--team", budget.target],
        budgets.AGENT: ["--agent", whose],
        budgets.TASK: ["--task", budget.target],
        budgets.KEY: ["--key", budget.target],
    }.get(budget.scope, [])
    soft = [] if budget.hard else ["--soft"]
    limit = _typed(budget.limit_micros)
    return shlex.join(["corral", "budgets", "set", limit, "--period", budget.period, *scope, *soft])
