"""People, invitations, sign-ins and orgs, without what lets anybody in."""

from __future__ import annotations

import msgspec

from corral.platform.access import Role
from corral.platform.invitations import Invitation
from corral.platform.people import Person
from corral.platform.sign_ins import SignIn
from corral.web.present.times import shown


class PersonView(msgspec.Struct, kw_only=True):
    """Somebody in the org."""

    id: str
    name: str
    email: str | None  #: what they sign in with; null: they have only ever used links
    role: Role  #: in this org
    joined_at: str
    last_used_at: str | None  #: when they last looked at this org in a browser, to the minute


class InvitationView(msgspec.Struct, kw_only=True):
    """An invitation as people see it after it was made."""

    id: str
    email: str | None  #: whom it is for; null: whoever has the link
    role: Role
    status: str  #: open, accepted, revoked or expired
    invited_by: str  #: `user:<id>` or `key:<id>`
    created_at: str
    expires_at: str
    accepted_at: str | None
    accepted_by: str | None  #: the id of who came in by it
    revoked_at: str | None


class NewInvitation(InvitationView, kw_only=True):
    """An invitation just made: the only answer that holds its link."""

    url: str


class SignInView(msgspec.Struct, kw_only=True):
    """A browser that somebody is signed in with."""

    id: str
    person: str  #: the id of who that is
    name: str  #: what they are called
    org_id: int  #: that it looks at now
    means: str  #: link, password or oidc
    address: str
    agent: str  #: what the browser calls itself
    current: bool  #: it is the one that asks
    created_at: str
    expires_at: str
    last_used_at: str | None  #: to the minute


class OrgView(msgspec.Struct):
    """A tenant."""

    id: int
    name: str


class MyOrg(OrgView):
    """An org that the caller is in."""

    role: Role  #: what they are there
    current: bool  #: it is the one that this call is about


def person_view(person: Person) -> PersonView:
    """Show somebody."""
    return PersonView(
        id=person.id,
        name=person.name,
        email=person.email,
        role=person.role,
        joined_at=shown(person.joined_at) or "",
        last_used_at=shown(person.last_used_at),
    )


def invitation_view(invitation: Invitation) -> InvitationView:
    """Show an invitation."""
    return InvitationView(
        id=invitation.id,
        email=invitation.email,
        role=invitation.role,
        status=invitation.status,
        invited_by=invitation.invited_by,
        created_at=shown(invitation.created_at) or "",
        expires_at=shown(invitation.expires_at) or "",
        accepted_at=shown(invitation.accepted_at),
        accepted_by=invitation.accepted_by,
        revoked_at=shown(invitation.revoked_at),
    )


def new_invitation(invitation: Invitation, url: str) -> NewInvitation:
    """Show an invitation with its link, this once."""
    return NewInvitation(url=url, **msgspec.structs.asdict(invitation_view(invitation)))


def sign_in_view(found: SignIn) -> SignInView:
    """Show a sign-in."""
    return SignInView(
        id=found.id,
        person=found.user_id,
        name=found.user_name,
        org_id=found.org_id,
        means=found.means,
        address=found.address,
        agent=found.agent,
        current=found.is_current,
        created_at=shown(found.created_at) or "",
        expires_at=shown(found.expires_at) or "",
        last_used_at=shown(found.last_used_at),
    )
