"""Invitations: made and their link shown once, listed, revoked, and used by who was invited."""

from __future__ import annotations

from typing import Annotated

import msgspec

from corral.base.errors import Forbidden
from corral.platform import invitations
from corral.platform.access import Role
from corral.web import cookies, csrf
from corral.web.api.paging import Page, cut
from corral.web.api.runs import Done
from corral.web.call import Call
from corral.web.present.people import InvitationView, NewInvitation, invitation_view, new_invitation
from corral.web.routes import Routes

route = Routes("people")

Email = Annotated[str, msgspec.Meta(min_length=3, max_length=254)]
Token = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Password = Annotated[str, msgspec.Meta(min_length=1, max_length=10_000)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class Invite(msgspec.Struct, forbid_unknown_fields=True):
    """Somebody to invite."""

    role: Role = Role.MEMBER
    email: Email | None = None  #: only who has it comes in; null: whoever has the link
    days: Annotated[float, msgspec.Meta(gt=0, le=invitations.MOST_DAYS)] = invitations.DAYS  #: until it expires


class Accept(msgspec.Struct, forbid_unknown_fields=True):
    """What somebody who was invited makes their account of, or shows of the one they have."""

    token: Token  #: what is behind the # of the link
    email: Email
    password: Password
    name: Name = ""  #: for a new account


class Join(msgspec.Struct, forbid_unknown_fields=True):
    """An invitation for who is signed in."""

    token: Token  #: what is behind the # of the link


@route.post(
    "/api/invitations", scope="people:write", role=Role.ADMIN, status=201, secret=True, answers=(InvitationView,)
)
async def create_invitation(call: Call, body: Invite) -> NewInvitation:
    """Invite somebody. This answer is the only one that holds the link."""
    invitation, token = await invitations.create(
        call.caller, role=body.role, email=body.email, days=body.days, id_=call.new_id()
    )
    return new_invitation(invitation, invitations.url(token, call.settings))


@route.get("/api/invitations", scope="people:read", role=Role.ADMIN)
async def list_invitations(call: Call, query: Page) -> list[InvitationView]:
    """List invitations, newest first, those that are over as well."""
    found = await invitations.page(call.org_id, limit=query.size + 1, before=query.before)
    return [invitation_view(one) for one in cut(call, found, query, [one.id for one in found])]


@route.delete("/api/invitations/<id>", scope="people:write", role=Role.ADMIN, also=(409,))
async def revoke_invitation(call: Call, id: str) -> InvitationView:
    """End an invitation at once."""
    return invitation_view(await invitations.revoke(call.org_id, id))


@route.post("/api/invitations/accept", open=True, status=201, also=(400, 401, 403, 404, 409, 413, 429))
async def accept_invitation(call: Call, body: Accept) -> Done:
    """Come in with a new account, or with the one that has this email and password; the answer sets the cookie."""
    csrf.check_visitor(call.request, call.settings)
    session = await invitations.accept(
        body.token, name=body.name, email=body.email, password=body.password, visit=call.visit
    )
    call.headers["set-cookie"] = cookies.signed_in(call, session)
    return Done()


@route.post("/api/invitations/join", anybody=True, also=(404,))
async def join_by_invitation(call: Call, body: Join) -> Done:
    """Come in as who is signed in; this session looks at the new org from now on."""
    if call.caller.sign_in is None:
        raise Forbidden("A key is of one org for ever; open the invitation's link in a browser")
    await invitations.join(body.token, call.caller)
    return Done()
