"""Looking at another org, and making one."""

from __future__ import annotations

import msgspec

from corral.base.errors import BadRequest
from corral.platform import orgs
from corral.web import answers
from corral.web.answers import Answer, redirect
from corral.web.api.paging import Count
from corral.web.call import Call
from corral.web.console.page import page
from corral.web.routes import Routes

route = Routes("console", hidden=True, content=answers.HTML)


class Switch(msgspec.Struct):
    """Which org to look at."""

    org: Count = 0


class NewOrg(msgspec.Struct):
    """What the form makes."""

    name: str = ""


@route.post("/app/orgs/switch", scope="people:read", person=True, repeatable=False)
async def switch_org_from_page(call: Call, form: Switch) -> Answer:
    """Look at another of the caller's orgs, from its first page on."""
    await orgs.switch(call.caller, form.org)
    return redirect("/app/runs")


@route.get("/app/orgs/new", scope="people:read")
async def new_org_page(call: Call) -> Answer:
    """Show what a new org needs."""
    return await page(call, "org_form.html", "people", form=NewOrg(), errors={})


@route.post("/app/orgs/new", scope="people:read", person=True, repeatable=False)
async def make_org_from_page(call: Call, form: NewOrg) -> Answer:
    """Make an org, and look at it."""
    try:
        made = await orgs.create(form.name, call.caller)
    except BadRequest as error:
        return await page(
            call, "org_form.html", "people", status=400, path="/app/orgs/new", form=form,
            errors={error.field or "name": error.message},
        )  # fmt: skip
    await orgs.switch(call.caller, made.id)
    return redirect("/app/people")
