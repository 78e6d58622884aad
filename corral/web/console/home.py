"""The console's table: every page, and the ways in."""

from __future__ import annotations

from corral.web import answers
from corral.web.answers import Answer, redirect
from corral.web.call import Call
from corral.web.console import (
    agents,
    audit,
    budgets,
    bus,
    epics,
    inbox,
    invitation,
    keys,
    mcps,
    orgs,
    people,
    plan,
    prices,
    profile,
    run,
    runners,
    runs,
    secrets,
    settings,
    sign_in,
    sign_ins,
    sign_on,
    statement,
    system,
    tasks,
    usage,
)
from corral.web.routes import Route, Routes

route = Routes("console", hidden=True, content=answers.HTML)


@route.get("/", open=True)
async def root(call: Call) -> Answer:
    """Lead to the console."""
    return redirect("/app/runs")


@route.get("/app", open=True)
async def app_root(call: Call) -> Answer:
    """Lead to the first page."""
    return redirect("/app/runs")


#: All pages, for the composition root, which also sets `page.error_page` as the server's `errors.pages`.
ROUTES: list[Route] = [
    *route.all,
    *sign_in.route.all,
    *sign_on.route.all,
    *invitation.route.all,
    *runs.route.all,
    *run.route.all,
    *inbox.route.all,
    *agents.route.all,
    *tasks.route.all,
    *epics.route.all,
    *bus.route.all,
    *runners.route.all,
    *mcps.route.all,
    *secrets.route.all,
    *budgets.route.all,
    *people.route.all,
    *orgs.route.all,
    *profile.route.all,
    *sign_ins.route.all,
    *keys.route.all,
    *audit.route.all,
    *usage.route.all,
    *prices.route.all,
    *statement.route.all,
    *plan.route.all,
    *settings.route.all,
    *system.route.all,
]
