"""Sign-ins: begun with a password, listed, and ended, one's own and those of the org's people."""

from __future__ import annotations

import msgspec

from corral.base.errors import NotFound
from corral.platform import access, orgs, passwords, sign_ins
from corral.platform.access import Role
from corral.web import cookies, csrf
from corral.web.api.invitations import Email, Password
from corral.web.api.paging import Count, Id, Page, cut
from corral.web.api.runs import Done
from corral.web.call import Call
from corral.web.present.people import SignInView, sign_in_view
from corral.web.routes import Routes

route = Routes("sign-in")


class SignInWith(msgspec.Struct, forbid_unknown_fields=True):
    """Who signs in."""

    email: Email
    password: Password


class Which(Page, forbid_unknown_fields=True):
    """Whose sign-ins; the caller's own if nothing is said."""

    person: Id | None = None  #: somebody's in the org
    everyone: bool = False  #: all of the org


class LookAt(msgspec.Struct, forbid_unknown_fields=True):
    """Where a session looks from now on."""

    org_id: Count


@route.post("/api/sign-ins", open=True, status=201, also=(400, 401, 403, 413, 429))
async def begin_sign_in(call: Call, body: SignInWith) -> Done:
    """Sign in with email and password; the answer sets the cookie."""
    csrf.check_visitor(call.request, call.settings)
    session = await passwords.sign_in_with(body.email, body.password, call.visit)
    call.headers["set-cookie"] = cookies.signed_in(call, session)
    return Done()


@route.get("/api/sign-ins", scope="people:read")
async def list_sign_ins(call: Call, query: Which) -> list[SignInView]:
    """List sign-ins, newest first: the caller's own, or, for admins, those that look at the org."""
    size, before = query.size + 1, query.before
    if query.everyone or query.person not in {None, call.caller.user_id}:
        access.require(call.caller, "people:read", Role.ADMIN)
        of = None if query.everyone else query.person
        found = await sign_ins.of_org(call.caller, limit=size, before=before, user_id=of)
    else:
        found = await sign_ins.own(call.caller, limit=size, before=before)
    filters = {"person": query.person, "everyone": "true" if query.everyone else None}
    return [sign_in_view(one) for one in cut(call, found, query, [one.id for one in found], **filters)]


@route.patch("/api/sign-ins/<id>", anybody=True)
async def switch_org(call: Call, id: str, body: LookAt) -> Done:
    """Let the session that asks look at another org that its person is in."""
    if call.caller.sign_in is None or not await sign_ins.is_current(call.caller, id):
        raise NotFound(f"You are not signed in as {id}")
    await orgs.switch(call.caller, body.org_id)
    return Done()


@route.delete("/api/sign-ins/<id>", anybody=True)
async def end_sign_in(call: Call, id: str) -> Done:
    """End a sign-in within a second: one's own, or, for admins, one that looks at the org."""
    if await sign_ins.is_own(call.caller, id):
        access.themself(call.caller)
        await sign_ins.end_own(call.caller, id)
    else:
        access.require(call.caller, "people:write", Role.ADMIN)
        await sign_ins.end_in_org(call.org_id, id)
    return Done()
