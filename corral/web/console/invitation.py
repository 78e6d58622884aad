"""An invitation as whoever opens it sees it: who invites them to what, and the ways to come in."""

from __future__ import annotations

import msgspec

from corral.base.errors import BadRequest, CorralError, Unauthorized
from corral.platform import accounts, invitations, passwords
from corral.platform.access import Principal
from corral.platform.invitations import Offer
from corral.web import answers, cookies, csrf
from corral.web.answers import Answer, redirect
from corral.web.call import Call
from corral.web.console.page import open_page
from corral.web.errors import headers_of, meaning_of
from corral.web.pipeline import authenticated
from corral.web.routes import Routes

route = Routes("console", hidden=True, content=answers.HTML)


class Token(msgspec.Struct):
    """The token of the link, which the page read from behind its #."""

    token: str = ""


class Accept(msgspec.Struct):
    """Who comes in."""

    token: str = ""
    name: str = ""
    email: str = ""
    password: str = ""


@route.get("/app/invitation", open=True)
async def invitation_page(call: Call) -> Answer:
    """Show what an invitation is; the page's script sends the token of the link from here."""
    return open_page(call.request, "invitation.html", offer=None, problem="")


@route.post("/app/invitation", open=True)
async def look_at_invitation(call: Call, form: Token) -> Answer:
    """Show what somebody is invited to."""
    csrf.check_origin(call.request, call.settings)
    return await _page(call, Accept(token=form.token))


@route.post("/app/invitation/accept", open=True)
async def accept_invitation_from_page(call: Call, form: Accept) -> Answer:
    """Come in, as somebody new or with a password."""
    csrf.check_origin(call.request, call.settings)
    try:
        session = await invitations.accept(
            form.token, name=form.name, email=form.email, password=form.password, visit=call.visit
        )
    except CorralError as error:
        return await _page(call, form, error=error)
    return redirect("/app/runs", headers={"set-cookie": cookies.signed_in(call, session)})


@route.post("/app/invitation/join", scope="people:read", person=True, repeatable=False)
async def join_from_page(call: Call, form: Token) -> Answer:
    """Come in as who is signed in."""
    try:
        await invitations.join(form.token, call.caller)
    except CorralError as error:
        return await _page(call, Accept(token=form.token), error=error)
    return redirect("/app/runs")


async def _page(call: Call, form: Accept, *, error: CorralError | None = None) -> Answer:
    try:
        offer = await invitations.look(form.token)
    except CorralError as over:
        return open_page(
            call.request, "invitation.html", status=meaning_of(over).status, offer=None, problem=over.message
        )
    caller = await _signed_in(call)
    who = await accounts.get(caller.user_id) if caller is not None and caller.user_id is not None else None
    answer = open_page(
        call.request, "invitation.html", caller=caller, status=meaning_of(error).status if error else 200,
        offer=offer, form=form, who=who, errors=_errors(error, offer) if error and who is None else {},
        problem=error.message if error and who is not None else "", shortest=passwords.SHORTEST,
        provider=call.server.sign_on.options.name if call.server.sign_on is not None else "",
    )  # fmt: skip
    answer.headers.update(headers_of(error) if error else {})
    return answer


def _errors(error: CorralError, offer: Offer) -> dict[str, str]:
    if isinstance(error, Unauthorized):
        return {"password": "There is an account with this email, and this is not its password"}
    field = error.field if isinstance(error, BadRequest) else None
    return {field or ("password" if offer.email else "email"): error.message}


async def _signed_in(call: Call) -> Principal | None:
    try:
        found = await authenticated(call.request, call.settings)
    except Unauthorized:
        return None
    return found if found.sign_in is not None else None
