"""The browsers that people are signed in with: one's own, and for admins everybody's."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from corral.platform import sign_ins
from corral.platform.access import Role
from corral.platform.sign_ins import SignIn
from corral.web import answers
from corral.web.answers import Answer
from corral.web.call import Call
from corral.web.console import browsers
from corral.web.console.page import SIGN_IN, away_to, back_to, page
from corral.web.console.sign_in import Nothing
from corral.web.routes import Routes

route = Routes("console", hidden=True, content=answers.HTML)

PATH = "/app/sign-ins"
_MOST = 100
_MEANS = {"link": "by a link", "password": "with a password", "oidc": "elsewhere"}


@dataclass(frozen=True, slots=True)
class SignInView:
    """One browser."""

    sign_in: SignIn
    browser: str
    how: str


class Older(msgspec.Struct):
    """Where everybody's list goes on."""

    before: str | None = None


@route.get(PATH, scope="people:read", person=True)
async def sign_ins_page(call: Call, query: Older) -> Answer:
    """List where the caller is signed in, and for admins who else is in this org."""
    mine = await sign_ins.own(call.caller, limit=_MOST)
    is_admin = call.caller.may("people:write")
    found = await sign_ins.of_org(call.caller, limit=_MOST + 1, before=query.before) if is_admin else []
    others = [one for one in found[:_MOST] if one.user_id != call.caller.user_id]
    return await page(
        call, "sign_ins.html", "sign-ins", mine=[_view(call, one) for one in mine], is_admin=is_admin,
        others=[_view(call, one) for one in others], before=query.before,
        older=f"{PATH}?before={found[_MOST - 1].id}" if len(found) > _MOST else "",
    )  # fmt: skip


@route.post("/app/sign-ins/<sign_in_id>/end", scope="people:read", person=True, repeatable=False)
async def end_sign_in_from_page(call: Call, form: Nothing, sign_in_id: str) -> Answer:
    """End one of the caller's sign-ins."""
    is_current = await sign_ins.is_current(call.caller, sign_in_id)
    await sign_ins.end_own(call.caller, sign_in_id)
    return away_to(call, SIGN_IN) if is_current else back_to(call, PATH)


@route.post("/app/sign-ins/end-others", scope="people:read", person=True, repeatable=False)
async def end_other_sign_ins_from_page(call: Call, form: Nothing) -> Answer:
    """End all of the caller's sign-ins but this one."""
    await sign_ins.end_others(call.caller)
    return back_to(call, PATH)


@route.post("/app/people/sign-ins/<sign_in_id>/end", scope="people:write", role=Role.ADMIN, repeatable=False)
async def end_sign_in_of_org_from_page(call: Call, form: Nothing, sign_in_id: str) -> Answer:
    """End somebody's sign-in into this org."""
    await sign_ins.end_in_org(call.org_id, sign_in_id)
    return back_to(call, PATH)


def _view(call: Call, one: SignIn) -> SignInView:
    elsewhere = call.server.sign_on.options.name if call.server.sign_on is not None else "single sign-on"
    how = f"by {elsewhere}" if one.means == "oidc" else _MEANS.get(one.means, one.means)
    return SignInView(one, browsers.named(one.agent), how)
