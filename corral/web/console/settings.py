"""Settings of the org: whom agents may hand work to, and what keeps a fleet from running away."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from corral.platform import policy as policies
from corral.platform.access import Role
from corral.platform.policy import DelegateTo
from corral.web import answers
from corral.web.answers import Answer, redirect
from corral.web.call import Call
from corral.web.console.page import page
from corral.web.routes import Routes

route = Routes("console", hidden=True, content=answers.HTML)


@dataclass(frozen=True, slots=True)
class Governor:
    """One limit, explained."""

    field: str
    label: str
    says: str
    most: int


GOVERNORS = (
    Governor("max_depth", "Levels", "How deep a task may lie below the one a person made.", 100),
    Governor("max_fan_out", "Sent by one run", "Tasks and messages that one run may send.", 10_000),
    Governor("max_open_tasks", "Open tasks of an agent", "Beyond it, nobody may hand it another one.", 100_000),
    Governor("max_tasks_per_hour", "Tasks an hour", "New tasks in one tree; an endless loop ends here.", 100_000),
    Governor("due_hours", "Hours until due", "A handed-out task without an end by then is ended.", 24 * 365),
)
DELEGATE_TO = (
    (DelegateTo.ANYONE.value, "Anyone", "Every agent may hand work to every other."),
    (DelegateTo.TEAM.value, "Their team", "To agents of the same team, and to those who report to them."),
    (DelegateTo.REPORTS.value, "Their reports", "Only down the org chart."),
)


class PolicyForm(msgspec.Struct):
    """The rules, as typed."""

    delegate_to: str = ""
    max_depth: str = ""
    max_fan_out: str = ""
    max_open_tasks: str = ""
    max_tasks_per_hour: str = ""
    due_hours: str = ""


class Saved(msgspec.Struct):
    """Whether the form has just been saved."""

    saved: bool = False


@route.get("/app/settings", scope="agents:read")
async def settings_page(call: Call, query: Saved) -> Answer:
    """Show the rules for delegation."""
    policy = await policies.get(call.org_id)
    values = {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in _fields(policy)}
    return await _show(call, PolicyForm(**values), {}, saved=query.saved)


@route.post("/app/settings", scope="agents:write", role=Role.ADMIN, repeatable=False)
async def change_settings_from_page(call: Call, form: PolicyForm) -> Answer:
    """Change the rules for delegation; they hold from the next tool call on."""
    errors = {}
    if form.delegate_to not in {*DelegateTo}:
        errors["delegate_to"] = "Choose one of these."
    numbers: dict[str, float] = {}
    for one in GOVERNORS:
        number = _number(getattr(form, one.field))
        if number is None or not 0 < number <= one.most or (one.field != "due_hours" and number % 1):
            errors[one.field] = f"A number from 1 to {one.most:,}."
        else:
            numbers[one.field] = number if one.field == "due_hours" else int(number)
    if errors:
        return await _show(call, form, errors, status=400)
    await policies.change(call.org_id, {"delegate_to": DelegateTo(form.delegate_to), **numbers})
    return redirect("/app/settings?saved=true")


def _fields(policy: policies.Policy) -> list[tuple[str, object]]:
    return [(name, getattr(policy, name)) for name in policy.__struct_fields__]


def _number(text: str) -> float | None:
    try:
        number = float(text.strip())
    except ValueError:
        return None
    return number if math.isfinite(number) else None


async def _show(
    call: Call, form: PolicyForm, errors: Mapping[str, str], *, saved: bool = False, status: int = 200
) -> Answer:
    return await page(
        call, "settings.html", "settings", status=status, path="/app/settings", form=form, errors=errors, saved=saved,
        governors=GOVERNORS, choices=DELEGATE_TO,
    )  # fmt: skip
