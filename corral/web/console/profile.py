"""Whoever is signed in: what they are called, how they sign in, and the way out of the org."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from corral.base.errors import BadRequest, Conflict, CorralError, Forbidden, RateLimited, Unauthorized
from corral.platform import accounts, orgs, passwords, people
from corral.platform.sign_on import coming
from corral.web import answers, cookies
from corral.web.answers import Answer, redirect
from corral.web.call import Call
from corral.web.console.page import SIGN_IN, own, page
from corral.web.console.sign_in import Nothing
from corral.web.errors import meaning_of
from corral.web.routes import Routes

route = Routes("console", hidden=True, content=answers.HTML)

_SAID = {
    "account": "Saved.",
    "password": "Your password is set, and your other sign-ins have ended.",
    "identity": "Connected: you may sign in this way from now on.",
    "disconnected": "Disconnected.",
}


class Saved(msgspec.Struct):
    """What has just been saved."""

    saved: str = ""


class AccountForm(msgspec.Struct):
    """What somebody is called, and signs in with."""

    name: str = ""
    email: str = ""


class PasswordForm(msgspec.Struct):
    """The password that somebody has, and the one that they want."""

    current: str = ""
    password: str = ""
    again: str = ""


@route.get("/app/profile", scope="people:read", person=True)
async def profile_page(call: Call, query: Saved) -> Answer:
    """Show the caller's account."""
    return await _page(call, said=_SAID.get(query.saved, ""))


@route.post("/app/profile", scope="people:read", person=True, repeatable=False)
async def change_account_from_page(call: Call, form: AccountForm) -> Answer:
    """Change what the caller is called, and the email that they sign in with."""
    try:
        await accounts.change(own(call), name=form.name, email=form.email.strip() or None)
    except (BadRequest, Conflict) as error:
        return await _page(call, account=form, errors={error.field or "email": error.message}, status=400)
    return redirect("/app/profile?saved=account")


@route.post("/app/profile/password", scope="people:read", person=True, repeatable=False)
async def change_password_from_page(call: Call, form: PasswordForm) -> Answer:
    """Set the caller's password, and end their other sign-ins."""
    if form.password != form.again:
        return await _page(call, errors={"again": "This is not the same password."}, status=400)
    try:
        await passwords.change(call.caller, current=form.current or None, new=form.password)
    except (BadRequest, Forbidden, RateLimited, Unauthorized) as error:
        field = error.field or ("password" if isinstance(error, BadRequest) else "current")
        return await _page(call, errors={field: error.message}, status=meaning_of(error).status)
    return redirect("/app/profile?saved=password")


@route.post("/app/profile/identities/<no>/disconnect", scope="people:read", person=True, repeatable=False)
async def disconnect_identity(call: Call, form: Nothing, no: str) -> Answer:
    """Take an identity from the caller's account."""
    try:
        await coming.disconnect(call.caller, int(no) if no.isascii() and no.isdigit() and len(no) < 19 else 0)
    except Conflict as error:
        return await _page(call, problem=error.message, status=409)
    return redirect("/app/profile?saved=disconnected")


@route.post("/app/profile/leave", scope="people:read", person=True, repeatable=False)
async def leave_org_from_page(call: Call, form: Nothing) -> Answer:
    """Take the caller out of the org; the sign-in looks at another one of theirs, or ends."""
    elsewhere = len(await orgs.mine(call.caller)) > 1
    try:
        await people.leave(call.caller)
    except CorralError as error:
        return await _page(call, problem=error.message, status=409)
    if elsewhere:
        return redirect("/app/runs")
    return redirect(SIGN_IN, headers={"set-cookie": cookies.signed_out(call)})


async def _page(
    call: Call,
    *,
    account: AccountForm | None = None,
    errors: Mapping[str, str] | None = None,
    said: str = "",
    problem: str = "",
    status: int = 200,
) -> Answer:
    user_id = own(call)
    is_one = await accounts.get(user_id)
    return await page(
        call, "profile.html", "profile", status=status, path="/app/profile",
        account=is_one, form=account or AccountForm(is_one.name, is_one.email or ""), errors=errors or {}, said=said,
        problem=problem, identities=await coming.connected(user_id), shortest=passwords.SHORTEST,
        provider=call.server.sign_on.options if call.server.sign_on is not None else None,
        needs_current=await passwords.needs_current(call.caller), role=call.caller.role.value,
        is_last_owner=await people.is_last_owner(call.caller),
    )  # fmt: skip
