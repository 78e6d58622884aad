"""Signing in with the company's provider: the way there, and the way back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

import msgspec

from corral.base import logs
from corral.base.errors import CorralError, Forbidden, NotFound, Unauthorized, Unavailable
from corral.platform import throttle
from corral.platform.sign_on import coming, flow
from corral.platform.sign_on.errors import Refused
from corral.platform.sign_on.flow import Flow
from corral.platform.sign_on.provider import CALLBACK, Provider
from corral.platform.sign_on.tokens import Identity
from corral.web import answers, cookies, csrf
from corral.web.answers import Answer, redirect
from corral.web.call import Call
from corral.web.console import sign_in
from corral.web.console.page import open_page, own
from corral.web.console.sign_in import Nothing
from corral.web.pipeline import authenticated
from corral.web.routes import Routes

route = Routes("console", hidden=True, content=answers.HTML)
log = logs.get_logger()

COOKIE = "corral_sign_on"
_PATH = CALLBACK.rpartition("/")[0]
_LONGEST = 4096
_ERROR = re.compile(r"[a-z_]{1,40}")
#: What providers answer when they let nobody in, and what it means to whoever stands there.
_MEANS = {
    "access_denied": "did not let you in",
    "login_required": "wants you to sign in there first",
    "interaction_required": "wants to ask you something first",
    "consent_required": "needs your consent first",
    "temporarily_unavailable": "is too busy at the moment. Try again later",
    "server_error": "has made a mistake. Try again later",
}


class Begin(msgspec.Struct):
    """What somebody comes in for, if by an invitation."""

    invitation: str = ""  #: its token


@route.post(_PATH, open=True)
async def go_to_provider(call: Call, form: Begin) -> Answer:
    """Send the browser to the provider."""
    csrf.check_origin(call.request, call.settings)
    try:
        return await _leave(call, flow.begin(invitation=form.invitation[:_LONGEST]))
    except CorralError as error:
        return sign_in.refused(call, error)


@route.post("/app/profile/identities", feature="sso", scope="people:read", person=True, repeatable=False)
async def connect_identity(call: Call, form: Nothing) -> Answer:
    """Send the browser to the provider, to come back as whom this account is to be connected with."""
    return await _leave(call, flow.begin(user_id=own(call)))


@route.get(CALLBACK, open=True)
async def come_back(call: Call) -> Answer:
    """Let in whom the provider vouches for."""
    provider = _provider(call)
    try:
        answer = await _arrived(call, provider, provider.unpack(call.request.cookies.get(COOKIE) or ""))
    except CorralError as error:
        answer = sign_in.refused(call, error)
    answer.headers.add("set-cookie", cookies.header(call, COOKIE, "", 0, path=_PATH))
    return answer


async def _leave(call: Call, began: Flow) -> Answer:
    provider = _provider(call)
    await throttle.look(call.visit.address)  # who would be refused at the end does not set out
    url = await provider.begin(began)
    # A page that leads on, not a redirect: our policy keeps forms from ending elsewhere.
    answer = open_page(call.request, "leaving.html", url=url, provider=provider.options.name)
    answer.headers.add("set-cookie", cookies.header(call, COOKIE, provider.pack(began), flow.SECONDS, path=_PATH))
    return answer


async def _arrived(call: Call, provider: Provider, began: Flow | None) -> Answer:
    said = dict(parse_qsl(str(call.request.query_string)[:_LONGEST]))
    if began is None or not began.matches(said.get("state", "")):
        raise Forbidden(
            f"This browser did not begin this sign-in, or did so more than {flow.SECONDS // 60} minutes ago. "
            f"Begin again, at {call.settings.url}"
        )
    if "error" in said:
        log.warning("the sign-on provider lets nobody in", error=said["error"][:40])
        raise Refused(_refusal(provider.options.name, said["error"]))
    # Only now: whoever leads a browser here that did not begin uses up nothing of its address.
    entered = await throttle.enter(None, call.visit.address)
    try:
        answer = await _looked_at(call, provider, began, said)
    except Unavailable:  # nobody has looked at it
        await throttle.take_back(entered)
        raise
    await throttle.take_back(entered)
    return answer


async def _looked_at(call: Call, provider: Provider, began: Flow, said: Mapping[str, str]) -> Answer:
    """Ask the provider whom it vouches for, and let them in."""
    found = await provider.finish(began, code=said.get("code", ""), issuer=said.get("iss", ""))
    if began.user_id:
        return await _connected(call, provider, began, found)
    if began.invitation:
        session = await coming.accept(found, began.invitation, provider.options, call.visit)
    else:
        session = await coming.enter(found, provider.options, call.visit)
    return redirect("/app/runs", headers={"set-cookie": cookies.signed_in(call, session)})


async def _connected(call: Call, provider: Provider, began: Flow, found: Identity) -> Answer:
    try:
        caller = await authenticated(call.request, call.settings)
    except Unauthorized:
        caller = None
    if caller is None or caller.sign_in is None or caller.user_id != began.user_id:
        raise Forbidden("You have signed out, or in as somebody else, since you began this")
    await coming.connect(found, caller, provider.options)
    return redirect("/app/profile?saved=identity")


def _refusal(name: str, error: str) -> str:
    known = _MEANS.get(error)
    if known is not None:
        return f"{name} {known}"
    return f"{name} did not let you in" + (f" ({error})" if _ERROR.fullmatch(error) else "")


def _provider(call: Call) -> Provider:
    if call.server.sign_on is None:
        raise NotFound("There is no provider to sign in with: CORRAL_OIDC_ISSUER names none")
    return call.server.sign_on
