"""What every page is rendered with: who looks at it, what waits for them, and where they are."""

from __future__ import annotations

from typing import Any

from sanic.request import Request

from corral.base.errors import CorralError, Unauthorized
from corral.platform import orgs
from corral.platform.access import Principal, Role
from corral.runs import approvals
from corral.web import csrf
from corral.web.answers import Answer, as_html, empty, redirect
from corral.web.call import Call
from corral.web.console import budget_views
from corral.web.console.render import NAV, THEMES, Shell, render

THEME_COOKIE = "corral_theme"
SIGN_IN = "/app/sign-in"


async def page(
    call: Call, template: str, here: str, *, status: int = 200, path: str | None = None, **values: Any
) -> Answer:
    """Render a template for the caller; `here` is its entry of the rail, `path` where its forms return to."""
    shell = await _shell(call.caller, call.request, here, path or _path(call.request))
    return as_html(render(template, shell, **values), status)


def open_page(
    request: Request, template: str, *, status: int = 200, caller: Principal | None = None, **values: Any
) -> Answer:
    """Render a template for somebody who need not have signed in; with a caller its forms are theirs."""
    token = csrf.token(caller) if caller is not None and caller.sign_in is not None else ""
    shell = Shell(org="", user="", here="", path=request.path, theme=_theme(request), csrf=token)
    return as_html(render(template, shell, **values), status)


def back_to(call: Call, path: str) -> Answer:
    """Lead back to a page after a form did what it does. htmx fetches that page, and takes its regions from it."""
    return redirect(path if path.startswith("/app/") else "/app/runs")


def away_to(call: Call, path: str) -> Answer:
    """Lead to another page, also where htmx sent the form."""
    if is_htmx(call.request):
        return empty(204, headers={"hx-redirect": path})
    return redirect(path)


def own(call: Call) -> str:
    """Return the id of whoever is signed in, on a route that is for persons only."""
    assert call.caller.user_id is not None, "nobody signs in without an account"
    return call.caller.user_id


def is_htmx(request: Request) -> bool:
    """Tell whether a region of a page asks, and not a person's navigation."""
    return request.headers.getone("hx-request", "") == "true"


async def error_page(request: Request, error: CorralError, status: int) -> Answer:
    """Say what went wrong under /app as a page; whoever is not signed in is led to where that is done."""
    if isinstance(error, Unauthorized) and not is_htmx(request) and request.path != SIGN_IN:
        return redirect(SIGN_IN)
    return open_page(
        request, "problem.html", status=status, title=_TITLES.get(status, "That did not work"), message=error.message
    )


_TITLES = {
    401: "Please sign in",
    403: "You may not do that",
    404: "There is nothing here",
    409: "That is not possible now",
    500: "Corral made a mistake",
    503: "The server is away for a moment",
}


async def _shell(caller: Principal, request: Request, here: str, path: str) -> Shell:
    org, person = await orgs.names(caller.org_id, caller.user_id)
    mine = await orgs.mine(caller) if caller.sign_in is not None else []
    return Shell(
        org=org,
        org_id=caller.org_id,
        orgs=mine if len(mine) > 1 else (),
        may_make_orgs=caller.sign_in is not None and caller.org_id == orgs.FIRST_ORG and caller.role == Role.OWNER,
        user=person or "API key",
        user_id=caller.user_id or "",
        here=here,
        path=path,
        theme=_theme(request),
        csrf=csrf.token(caller) if caller.sign_in is not None else "",
        pending=await approvals.count_pending(caller.org_id) + await budget_views.count_stopping(caller),
        nav=tuple(item for item in NAV if caller.role.covers(item.least)),
        may=caller.may,
    )


def _theme(request: Request) -> str | None:
    chosen = request.cookies.get(THEME_COOKIE)
    return chosen if chosen in THEMES else None


def _path(request: Request) -> str:
    return f"{request.path}?{request.query_string}" if request.query_string else str(request.path)
