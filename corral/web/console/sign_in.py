"""Signing in by a link, and out."""

from __future__ import annotations

import msgspec

from corral.base.errors import Unauthorized
from corral.platform import sign_in
from corral.web import answers, cookies, csrf
from corral.web.answers import Answer, redirect
from corral.web.call import Call
from corral.web.console.page import SIGN_IN, open_page
from corral.web.routes import Routes

route = Routes("console", hidden=True, content=answers.HTML)


class SignIn(msgspec.Struct):
    """The token of a link, which the page read from behind its #."""

    token: str = ""


class Nothing(msgspec.Struct):
    """A form of buttons only."""


@route.get("/app/sign-in", open=True)
async def sign_in_page(call: Call) -> Answer:
    """Show how to sign in; the page's script takes the token of a link from here."""
    return open_page(call.request, "sign_in.html", problem=None)


@route.post("/app/sign-in", open=True)
async def redeem_link(call: Call, form: SignIn) -> Answer:
    """Use up a link and begin a session."""
    csrf.check_origin(call.request, call.settings)
    try:
        session = await sign_in.redeem(form.token, call.visit)
    except Unauthorized as error:
        return open_page(call.request, "sign_in.html", status=401, problem=error.message)
    return redirect("/app/runs", headers={"set-cookie": cookies.signed_in(call, session)})


@route.post("/app/sign-out", scope="runs:read", repeatable=False)
async def sign_out(call: Call, form: Nothing) -> Answer:
    """End the session of this browser."""
    await sign_in.sign_out(call.caller)
    return redirect(SIGN_IN, headers={"set-cookie": cookies.signed_out(call)})
