"""Invitations: a link by which one person comes into an org, once. Its token is in the fragment, as a sign-in link's.

Who opens it makes an account with a password, shows the one that they have, or is signed in already. An invitation for
an email takes nobody with another one.
"""

from __future__ import annotations

from dataclasses import dataclass

from corral.base.errors import BadRequest, Conflict, Forbidden, NotFound
from corral.base.ids import new_id, new_token
from corral.platform import accounts, audit, orgs, passwords, people, plans, sign_in
from corral.platform.access import Principal, Role
from corral.platform.accounts import Account
from corral.platform.database import Row, Unit, commit, fetch, sql
from corral.platform.keys import digest
from corral.platform.settings import Settings
from corral.platform.sign_in import Visit

DAYS = 7.0
MOST_DAYS = 30.0
_DAY_MS = 24 * 3600 * 1000
_KEPT_MS = 90 * _DAY_MS
_OVER = "This invitation was used already, was revoked or has expired; ask for another one"


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation as people see it afterwards: everything but its token."""

    id: str
    org_id: int
    email: str | None  #: None: for whoever has the link
    role: Role
    invited_by: str  #: an actor
    created_at: int
    expires_at: int
    accepted_at: int | None
    accepted_by: str | None  #: a person's id
    revoked_at: int | None
    status: str  #: open, accepted, revoked or expired


@dataclass(frozen=True, slots=True)
class Offer:
    """What somebody who opens an invitation is told."""

    org: str
    role: Role
    email: str | None
    has_account: bool  #: there is an account with this email: it is that account's password that they show
    invited_by: str  #: the name of whoever made it; empty if that was a key


def url(token: str, settings: Settings) -> str:
    """Return what to send to who is invited."""
    return f"{settings.url}/app/invitation#{token}"


async def create(
    by: Principal, *, role: Role, email: str | None = None, days: float = DAYS, id_: str | None = None
) -> tuple[Invitation, str]:
    """Invite somebody into the caller's org; return the invitation and its token, which is shown now and never again.

    One invitation for an email is open at a time: another one takes its place.
    """
    if not 0 < days <= MOST_DAYS:
        raise BadRequest(f"days must be more than 0, and at most {MOST_DAYS:g}", field="days")
    token = new_token(32)
    address = None if email is None else accounts.email_of(email)
    return await commit(_create(by, role, address, ms=int(days * _DAY_MS), token=token, id_=id_ or new_id())), token


async def page(org_id: int, *, limit: int, before: str | None = None, open_only: bool = False) -> list[Invitation]:
    """Return invitations, newest first; `before` is an invitation's id, exclusive."""
    if before is not None and not await fetch(
        "SELECT 1 FROM invitations WHERE org_id = $1 AND id = $2", org_id, before
    ):
        raise BadRequest(f"before: there is no invitation {before} here", field="before")
    rows = await fetch(
        f"SELECT {_COLUMNS} FROM invitations WHERE org_id = $1 AND id < $2 "  # noqa: S608 - our own column names
        f"{f'AND {_OPEN} ' if open_only else ''}ORDER BY id DESC LIMIT $3",
        org_id,
        before or "g",
        limit,
    )
    return [_invitation(row) for row in rows]


async def get(org_id: int, invitation_id: str) -> Invitation:
    """Return one invitation of the org."""
    rows = await fetch(f"SELECT {_COLUMNS} FROM invitations WHERE org_id = $1 AND id = $2", org_id, invitation_id)  # noqa: S608
    if not rows:
        raise NotFound(f"There is no invitation {invitation_id}")
    return _invitation(rows[0])


async def revoke(org_id: int, invitation_id: str) -> Invitation:
    """End an invitation; a second time changes nothing. Raises Conflict if somebody has come in by it."""
    return await commit(_revoke(org_id, invitation_id))


async def look(token: str) -> Offer:
    """Return what an open invitation offers. Raises NotFound if it is none."""
    rows = await fetch(
        "SELECT o.name, i.role, i.email, (SELECT 1 FROM users u WHERE u.email = i.email) AS account, "  # noqa: S608
        "(SELECT u.name FROM users u WHERE u.id = substr(i.invited_by, 6)) AS by_name "
        f"FROM invitations i JOIN orgs o ON o.id = i.org_id WHERE i.hash = $1 AND {_OPEN}",
        digest(token),
    )
    if not rows:
        raise NotFound(_OVER)
    row = rows[0]
    return Offer(row["name"], Role(row["role"]), row["email"], bool(row["account"]), row["by_name"] or "")


async def accept(token: str, *, name: str, email: str, password: str, visit: Visit) -> str:
    """Come in with a new account, or with the one that has this email and password; return a session's token.

    Raises Unauthorized if the email's account has another password, NotFound if the invitation is over.
    """
    offer = await look(token)
    address = accounts.email_of(email)
    _check_email(offer.email, address)
    there = await accounts.find(address)
    if there is not None and there.has_password:
        account = passwords.confirm(await passwords.recognise(address, password, visit))
    else:
        account = _account(there, name, address, await passwords.hashed_of(password))
    session = new_token(32)
    await commit(_accept(token, account, address, session, visit))
    return session


async def join(token: str, by: Principal) -> int:
    """Let the signed-in caller into the invitation's org, which their session looks at from now on; return it."""
    org_id = await commit(_join(token, by))
    assert by.user_id is not None
    sign_in.tell(by.user_id)
    return org_id


def offered(token: str) -> Unit[Invitation]:
    """Return the invitation that a link stands for, and hold its org. Raises NotFound if it is over."""
    rows = yield sql(f"SELECT {_COLUMNS} FROM invitations WHERE hash = $1 AND {_OPEN}", digest(token))  # noqa: S608
    if not rows:
        raise NotFound(_OVER)
    yield from orgs.lock(rows[0]["org_id"])
    return _invitation(rows[0])


def for_email(email: str) -> Unit[Invitation | None]:
    """Return the newest open invitation for an email, for who has shown that it is theirs, and hold its org."""
    rows = yield sql(
        f"SELECT {_COLUMNS} FROM invitations WHERE email = $1 AND {_OPEN} ORDER BY id DESC LIMIT 1",  # noqa: S608
        email,
    )
    if not rows:
        return None
    yield from orgs.lock(rows[0]["org_id"])
    return _invitation(rows[0])


def use(token: str, user_id: str, email: str | None) -> Unit[Invitation]:
    """Use an invitation up and let this person in. Raises NotFound if it is over, Forbidden if for another email."""
    invitation = yield from offered(token)
    _check_email(invitation.email, email)
    yield from fulfil(invitation, user_id)
    return invitation


def fulfil(invitation: Invitation, user_id: str) -> Unit[None]:
    """Let this person in, for whom the invitation is. Raises NotFound if it is over meanwhile."""
    yield from orgs.lock(invitation.org_id)  # first, as whoever replaces or withdraws it does
    rows = yield sql(
        f"UPDATE invitations SET accepted_at = now_ms(), accepted_by = $2 WHERE id = $1 AND {_OPEN} RETURNING id",  # noqa: S608
        invitation.id,
        user_id,
    )
    if not rows:
        raise NotFound(_OVER)
    yield from people.admit(invitation.org_id, user_id, invitation.role)


async def sweep() -> None:
    """Delete invitations that have been over for months."""
    await fetch("DELETE FROM invitations WHERE expires_at < now_ms() - $1", _KEPT_MS)


def _create(by: Principal, role: Role, email: str | None, *, ms: int, token: str, id_: str) -> Unit[Invitation]:
    yield from orgs.lock(by.org_id)
    yield from people.may_give(by, role)
    if email is not None:
        inside = yield sql(
            "SELECT 1 FROM users u JOIN members m ON m.user_id = u.id WHERE m.org_id = $1 AND u.email = $2",
            by.org_id,
            email,
        )
        if inside:
            raise Conflict(f"{email} is in this org already")
        replaced = yield sql(
            "UPDATE invitations SET revoked_at = now_ms() "  # noqa: S608
            f"WHERE org_id = $1 AND email = $2 AND {_OPEN} RETURNING id",
            by.org_id,
            email,
        )
        for row in replaced:
            yield from audit.note(by.org_id, "invitation.revoked", "invitation", row["id"], email=email)
    yield from plans.within(by.org_id, "seats", people.SEATS)
    rows = yield sql(
        "INSERT INTO invitations (id, org_id, hash, email, role, invited_by, created_at, expires_at) "  # noqa: S608
        f"VALUES ($1, $2, $3, $4, $5, $6, now_ms(), now_ms() + $7) RETURNING {_COLUMNS}",
        id_,
        by.org_id,
        digest(token),
        email,
        role.value,
        by.actor,
        ms,
    )
    yield from audit.note(by.org_id, "invitation.created", "invitation", id_, role=role.value, email=email)
    return _invitation(rows[0])


def _revoke(org_id: int, invitation_id: str) -> Unit[Invitation]:
    revoked = yield sql(
        "UPDATE invitations SET revoked_at = now_ms() WHERE org_id = $1 AND id = $2 AND accepted_at IS NULL "
        "AND revoked_at IS NULL RETURNING email",
        org_id,
        invitation_id,
    )
    if revoked:
        yield from audit.note(org_id, "invitation.revoked", "invitation", invitation_id, email=revoked[0]["email"])
    rows = yield sql(f"SELECT {_COLUMNS} FROM invitations WHERE org_id = $1 AND id = $2", org_id, invitation_id)  # noqa: S608
    if not rows:
        raise NotFound(f"There is no invitation {invitation_id}")
    if rows[0]["accepted_at"] is not None:
        raise Conflict("Somebody has come in by this invitation; remove them instead")
    return _invitation(rows[0])


def _account(there: Account | None, name: str, email: str, hashed: str) -> Unit[str]:
    """Make an account, or give a password to the one that somebody left behind who never had one; return its id."""
    if there is None:
        return (yield from accounts.create(name=name, email=email, password=hashed))
    yield from accounts.revive(there.id, hashed)
    return there.id


def _accept(token: str, account: Unit[str], email: str, session: str, visit: Visit) -> Unit[None]:
    yield from offered(token)
    user_id = yield from account
    invitation = yield from use(token, user_id, email)
    yield from sign_in.begin(user_id, session, "password", visit, org_id=invitation.org_id)


def _join(token: str, by: Principal) -> Unit[int]:
    rows = yield sql("SELECT email FROM users WHERE id = $1", by.user_id)
    invitation = yield from use(token, by.user_id or "", rows[0]["email"] if rows else None)
    yield sql("UPDATE sign_ins SET org_id = $2 WHERE hash = $1", by.sign_in, invitation.org_id)
    return invitation.org_id


def _check_email(wanted: str | None, email: str | None) -> None:
    if wanted is not None and wanted != email:
        raise Forbidden(f"This invitation is for {wanted}; sign in with that email, or ask for one for yours")


_OPEN = people.OPEN
_COLUMNS = (
    "id, org_id, email, role, invited_by, created_at, expires_at, accepted_at, accepted_by, revoked_at, now_ms() AS now"
)


def _invitation(row: Row) -> Invitation:
    return Invitation(
        id=row["id"],
        org_id=row["org_id"],
        email=row["email"],
        role=Role(row["role"]),
        invited_by=row["invited_by"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        accepted_at=row["accepted_at"],
        accepted_by=row["accepted_by"],
        revoked_at=row["revoked_at"],
        status=_status(row),
    )


def _status(row: Row) -> str:
    if row["accepted_at"] is not None:
        return "accepted"
    if row["revoked_at"] is not None:
        return "revoked"
    return "expired" if row["expires_at"] <= row["now"] else "open"
