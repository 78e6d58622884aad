"""Signing in by a link or a password, and out."""

from __future__ import annotations

import msgspec

from corral.base.errors import BadRequest, CorralError
from corral.platform import passwords, sign_in
from corral.web import answers, cookies, csrf
from corral.web.answers import Answer, redirect
from corral.web.call import Call
from corral.web.console.page import SIGN_IN, open_page
from corral.web.errors import headers_of, meaning_of
from corral.web.routes import Routes

route = Routes("console", hidden=True, content=answers.HTML)


class SignIn(msgspec.Struct):
    """The token of a link, which the page read from behind its #; or an email and a password."""

    token: str = ""
    email: str = ""
    password: str = ""


class Nothing(msgspec.Struct):
    """A form of buttons only."""


@route.get("/app/sign-in", open=True)
async def sign_in_page(call: Call) -> Answer:
    """Show the ways in; the page's script takes the token of a link from here."""
    return _page(call)


@route.post("/app/sign-in", open=True)
async def sign_in_from_page(call: Call, form: SignIn) -> Answer:
    """Use up a link, or look at a password, and begin a session."""
    csrf.check_origin(call.request, call.settings)
    try:
        if form.token:
            session = await sign_in.redeem(form.token, call.visit)
        elif form.email.strip() and form.password:
            session = await passwords.sign_in_with(form.email, form.password, call.visit)
        else:
            raise BadRequest(
                "Your email and your password, please", field="password" if form.email.strip() else "email"
            )
    except CorralError as error:
        return refused(call, error, email=form.email, is_link=bool(form.token))
    return redirect("/app/runs", headers={"set-cookie": cookies.signed_in(call, session)})


@route.post("/app/sign-out", scope="runs:read", repeatable=False)
async def sign_out(call: Call, form: Nothing) -> Answer:
    """End the session of this browser."""
    await sign_in.sign_out(call.caller)
    return redirect(SIGN_IN, headers={"set-cookie": cookies.signed_out(call)})


def refused(call: Call, error: CorralError, *, email: str | None = None, is_link: bool = False) -> Answer:
    """Show the ways in again, and why this one led nowhere: beside the fields if `email` is what was typed there."""
    errors: dict[str, str] = {}
    if email is not None and not is_link:
        errors[error.field or "password"] = error.message
    answer = _page(
        call, status=meaning_of(error).status, email=email or "", errors=errors, is_link=is_link,
        problem="" if errors else error.message,
    )  # fmt: skip
    answer.headers.update(headers_of(error))
    return answer


def _page(
    call: Call, *, status: int = 200, email: str = "", errors: dict[str, str] | None = None, problem: str = "",
    is_link: bool = False,
) -> Answer:  # fmt: skip
    provider = call.server.sign_on.options.name if call.server.sign_on is not None else ""
    return open_page(
        call.request, "sign_in.html", status=status, email=email, errors=errors or {}, problem=problem,
        is_link=is_link, provider=provider,
    )  # fmt: skip
