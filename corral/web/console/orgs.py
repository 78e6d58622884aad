"""Looking at another org, making one, and what this one is called."""

from __future__ import annotations

import msgspec

from corral.base.errors import BadRequest
from corral.platform import orgs
from corral.platform.access import Role
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


class Called(msgspec.Struct):
    """What an org is to be called."""

    name: str = ""


@route.post("/app/orgs/switch", scope="people:read", person=True, repeatable=False)
async def switch_org_from_page(call: Call, form: Switch) -> Answer:
    """Look at another of the caller's orgs, from its first page on."""
    await orgs.switch(call.caller, form.org)
    return redirect("/app/runs")


@route.get("/app/orgs/new", scope="people:read")
async def new_org_page(call: Call) -> Answer:
    """Show what a new org needs."""
    return await page(call, "org_form.html", "people", form=Called(), errors={}, is_new=True)


@route.post("/app/orgs/new", scope="people:read", person=True, repeatable=False)
async def make_org_from_page(call: Call, form: Called) -> Answer:
    """Make an org, and look at it."""
    try:
        made = await orgs.create(form.name, call.caller)
    except BadRequest as error:
        return await _wrong(call, "/app/orgs/new", form, error)
    await orgs.switch(call.caller, made.id)
    return redirect("/app/people")


@route.get("/app/orgs/rename", scope="people:write", role=Role.OWNER)
async def rename_org_page(call: Call) -> Answer:
    """Show what the org is called, to be changed."""
    name, _ = await orgs.names(call.org_id, None)
    return await page(call, "org_form.html", "people", form=Called(name), errors={}, is_new=False)


@route.post("/app/orgs/rename", scope="people:write", role=Role.OWNER, repeatable=False)
async def rename_org_from_page(call: Call, form: Called) -> Answer:
    """Change what the org is called."""
    try:
        await orgs.rename(call.org_id, form.name)
    except BadRequest as error:
        return await _wrong(call, "/app/orgs/rename", form, error)
    return redirect("/app/people")


async def _wrong(call: Call, path: str, form: Called, error: BadRequest) -> Answer:
    return await page(
        call, "org_form.html", "people", status=400, path=path, form=form, is_new=path.endswith("new"),
        errors={error.field or "name": error.message},
    )  # fmt: skip
