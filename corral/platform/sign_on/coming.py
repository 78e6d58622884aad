"""Who comes in by the provider: whoever is known by it, has an account with the email that it verified, or was invited.

An identity belongs to an account for good. An email leads to an account once, when the two are connected: what the
provider calls somebody never passes to another person, an address may. Nor does an email lead to an account with a
password: anybody may have made that and called it theirs, and would be in it together with whose address it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from corral.base.errors import Conflict, NotFound
from corral.base.ids import new_token
from corral.platform import accounts, audit, invitations, orgs, people, plans, sign_in
from corral.platform.access import Principal
from corral.platform.database import Duplicate, Unit, commit, fetch, sql
from corral.platform.sign_in import Visit
from corral.platform.sign_on.errors import Refused
from corral.platform.sign_on.options import SignOn
from corral.platform.sign_on.tokens import Identity

_MOST = 100


@dataclass(frozen=True, slots=True)
class Connected:
    """An identity of somebody's account."""

    no: int
    issuer: str
    subject: str
    created_at: int


async def enter(found: Identity, options: SignOn, visit: Visit) -> str:
    """Begin a session for whom the provider vouches for; return its token. Raises Refused if they may not come in."""
    _check_domain(found, options)
    session = new_token(32)
    await commit(_enter(found, options, session, visit))
    return session


async def accept(found: Identity, token: str, options: SignOn, visit: Visit) -> str:
    """Come in by an invitation, as an account that is made if there is none; return a session's token."""
    _check_domain(found, options)
    session = new_token(32)
    await commit(_accept(found, token, options, session, visit))
    return session


async def connect(found: Identity, by: Principal, options: SignOn) -> None:
    """Let the caller sign in as this identity from now on."""
    await commit(_connect(found, by, options))


async def disconnect(by: Principal, no: int) -> None:
    """Take an identity from the caller's account. Raises Conflict if they could not sign in without."""
    await commit(_disconnect(by, no))


async def connected(user_id: str) -> list[Connected]:
    """Return the identities of an account."""
    rows = await fetch(
        "SELECT no, issuer, subject, created_at FROM identities WHERE user_id = $1 ORDER BY no LIMIT $2", user_id, _MOST
    )
    return [Connected(row["no"], row["issuer"], row["subject"], row["created_at"]) for row in rows]


def _check_domain(found: Identity, options: SignOn) -> None:
    if options.allows(found.email):
        return
    if found.email is None:
        raise Refused(
            f"{options.name} does not say that your email address is verified, and only some addresses come in"
        )
    raise Refused(f"{found.email} may not come in here; sign in at {options.name} with another account")


def _enter(found: Identity, options: SignOn, session: str, visit: Visit) -> Unit[None]:
    user_id, is_connected = yield from _known(found, options)
    if user_id is None:
        user_id = yield from _newcomer(found, options)
    if not is_connected:
        yield from _keep(found, user_id)
    theirs = yield from sign_in.orgs_of(user_id)
    org_id = yield from plans.first(theirs, "sso")
    yield from sign_in.begin(user_id, session, "oidc", visit, org_id=org_id)


def _accept(found: Identity, token: str, options: SignOn, session: str, visit: Visit) -> Unit[None]:
    yield from invitations.offered(token)
    user_id, is_connected = yield from _known(found, options)
    if user_id is None:
        user_id = yield from accounts.create(name=_name(found), email=found.email, password=None)
    invitation = yield from invitations.use(token, user_id, found.email)
    if not is_connected:  # only now is there an org whose audit log can say so
        yield from _keep(found, user_id)
    org_id = yield from sign_in.begin(user_id, session, "oidc", visit, org_id=invitation.org_id)
    yield from plans.demand(org_id, "sso")


def _known(found: Identity, options: SignOn) -> Unit[tuple[str | None, bool]]:
    """Return whose account it is, and whether by the identity; by the email otherwise, which may connect the two."""
    rows = yield sql("SELECT user_id FROM identities WHERE issuer = $1 AND subject = $2", found.issuer, found.subject)
    if rows:
        return str(rows[0]["user_id"]), True
    if found.email is None:
        return None, False
    for row in (yield sql("SELECT id FROM users WHERE email = $1", found.email)):
        yield from accounts.hold(row["id"])  # nobody gives it a password, or another identity, meanwhile
    rows = yield sql(
        "SELECT u.id, u.password, "
        "(SELECT MAX(i.no) FROM identities i WHERE i.user_id = u.id AND i.issuer = $2) AS other "
        "FROM users u WHERE u.email = $1",
        found.email,
        found.issuer,
    )
    if not rows:
        return None, False
    if rows[0]["other"] is not None:
        raise Refused(
            f"The account with {found.email} belongs to another identity at {options.name}. Sign in another way, and "
            "connect this one in your profile"
        )
    if rows[0]["password"] is not None:
        raise Refused(
            f"There is an account with {found.email} and a password. Sign in with that, and connect {options.name} in "
            "your profile, once. If it is not yours, tell whoever runs this"
        )
    return str(rows[0]["id"]), False


def _newcomer(found: Identity, options: SignOn) -> Unit[str]:
    """Make an account for somebody who is invited by their email, or whom the operator lets come in."""
    if found.email is not None:
        invitation = yield from invitations.for_email(found.email)
        if invitation is not None:
            user_id = yield from accounts.create(name=_name(found), email=found.email, password=None)
            yield from invitations.fulfil(invitation, user_id)
            return user_id
    if options.join is None:
        raise Refused(_nobody(found, options))
    yield from orgs.lock(options.org)
    user_id = yield from accounts.create(name=_name(found), email=found.email, password=None)
    yield from people.admit(options.org, user_id, options.join)
    return user_id


def _nobody(found: Identity, options: SignOn) -> str:
    if found.email is not None:
        return f"Nobody here has the email {found.email}. Ask whoever runs this for an invitation"
    why = "has not verified your email address" if found.has_unverified_email else "does not tell your email address"
    return (
        f"{options.name} {why}, so that your account here is not found by it. Ask whoever runs this for an invitation"
    )


def _connect(found: Identity, by: Principal, options: SignOn) -> Unit[None]:
    assert by.user_id is not None
    rows = yield sql("SELECT user_id FROM identities WHERE issuer = $1 AND subject = $2", found.issuer, found.subject)
    if not rows:
        yield from _keep(found, by.user_id)
    elif rows[0]["user_id"] != by.user_id:
        raise Conflict(f"Somebody else here signs in with this account of {options.name}")


def _disconnect(by: Principal, no: int) -> Unit[None]:
    assert by.user_id is not None
    yield from accounts.hold(by.user_id)  # of two that are disconnected at once one stays
    gone = yield sql("DELETE FROM identities WHERE no = $1 AND user_id = $2 RETURNING issuer", no, by.user_id)
    if not gone:
        raise NotFound
    ways = yield sql(
        "SELECT 1 FROM users u WHERE u.id = $1 AND (u.password IS NOT NULL AND u.email IS NOT NULL "
        "OR EXISTS (SELECT 1 FROM identities i WHERE i.user_id = u.id))",
        by.user_id,
    )
    if not ways:
        raise Conflict("Set an email and a password first: without, you could not sign in any more")
    yield from audit.note_everywhere(by.user_id, "identity.disconnected", issuer=gone[0]["issuer"])


def _keep(found: Identity, user_id: str) -> Unit[None]:
    try:
        yield sql(
            "INSERT INTO identities (issuer, subject, user_id, created_at) VALUES ($1, $2, $3, now_ms())",
            found.issuer,
            found.subject,
            user_id,
        )
    except Duplicate as error:
        raise Conflict("Somebody came in as this identity at the very same moment; sign in once more") from error
    yield from audit.note_everywhere(user_id, "identity.connected", issuer=found.issuer)


def _name(found: Identity) -> str:
    return found.name or (found.email or "").partition("@")[0] or "Somebody"
