"""The people of an org: who they are, what they are there, and how they leave it.

Whoever changes something here holds the org's lock, so that the last owner cannot be lost in a race. Nobody gives or
takes a role above their own.
"""

from __future__ import annotations

from dataclasses import dataclass

from corral.base.errors import BadRequest, Conflict, Forbidden, NotFound
from corral.platform import accounts, audit, keys, orgs, plans, sign_in
from corral.platform.access import Principal, Role, scopes_of
from corral.platform.audited import Action
from corral.platform.database import Row, Unit, commit, fetch, sql


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody in an org."""

    id: str
    name: str
    email: str | None
    role: Role
    joined_at: int
    last_used_at: int | None  #: when they last looked at this org in a browser, to the minute


async def page(org_id: int, *, limit: int, before: str | None = None) -> list[Person]:
    """Return who is in the org, the newest accounts first; `before` is a person's id, exclusive."""
    if before is not None and not await fetch(
        "SELECT 1 FROM members WHERE org_id = $1 AND user_id = $2", org_id, before
    ):
        raise BadRequest(f"before: there is nobody {before} here", field="before")
    rows = await fetch(f"{_PEOPLE} AND m.user_id < $2 ORDER BY m.user_id DESC LIMIT $3", org_id, before or "g", limit)
    return [_person(row) for row in rows]


async def get(org_id: int, user_id: str) -> Person:
    """Return somebody in the org."""
    return await commit(_find(org_id, user_id))


async def change_role(org_id: int, user_id: str, role: Role, by: Principal) -> Person:
    """Make somebody something else in the org. Raises Conflict if it would be left without an owner."""
    person = await commit(_change_role(org_id, user_id, role, by))
    sign_in.tell(user_id)
    return person


async def remove(org_id: int, user_id: str, by: Principal) -> Person:
    """Take somebody out of the org: their keys in it end, and their sign-ins look at another org of theirs, or end."""
    person, ended = await commit(_remove(org_id, user_id, by))
    for key_id in ended:
        keys.tell(key_id)
    sign_in.tell(user_id)
    return person


async def leave(by: Principal) -> None:
    """Take the caller out of the org."""
    assert by.user_id is not None
    await remove(by.org_id, by.user_id, by)


async def is_last_owner(by: Principal) -> bool:
    """Tell whether the org would be left without an owner, did the caller leave."""
    return by.role == Role.OWNER and not await fetch(_OTHER_OWNERS, by.org_id, by.user_id)


def admit(org_id: int, user_id: str, role: Role) -> Unit[None]:
    """Let somebody into the org. Raises Conflict if they are in it, Forbidden if its plan has no seat left."""
    yield from orgs.lock(org_id)
    already = yield sql("SELECT 1 FROM members WHERE org_id = $1 AND user_id = $2", org_id, user_id)
    if already:
        raise Conflict("You are in this org already")
    yield from plans.within(org_id, "seats", SEATS)
    yield sql(
        "INSERT INTO members (org_id, user_id, role, created_at) VALUES ($1, $2, $3, now_ms())",
        org_id,
        user_id,
        role.value,
    )
    yield from audit.note(org_id, "member.joined", "user", user_id, actor=f"user:{user_id}", role=role.value)
    yield from _keep_old_columns(user_id)


def may_give(by: Principal, role: Role) -> Unit[None]:
    """Raise Forbidden unless the caller, as they are now, may make somebody this."""
    yield from _outranks(by, role)
    if not (yield from keys.is_live(by.key_id)):
        raise Forbidden(keys.OVER)
    if not scopes_of(role) <= by.scopes:
        raise Forbidden(f"This key cannot make anybody {role}: it lacks some of what that role may do")


def withdraw(org_id: int, which: str, maker: str) -> Unit[None]:
    """Revoke open invitations of the org; `which` says by whom, as SQL, where `$2` is the maker."""
    revoked = yield sql(
        f"UPDATE invitations SET revoked_at = now_ms() WHERE org_id = $1 AND {OPEN} AND {which} "  # noqa: S608 - ours
        "RETURNING id, email",
        org_id,
        maker,
    )
    for row in revoked:
        yield from audit.note(org_id, "invitation.revoked", "invitation", row["id"], email=row["email"])


def _find(org_id: int, user_id: str) -> Unit[Person]:
    rows = yield sql(f"{_PEOPLE} AND m.user_id = $2", org_id, user_id)
    if not rows:
        raise NotFound(f"There is nobody {user_id} here")
    return _person(rows[0])


def _change_role(org_id: int, user_id: str, role: Role, by: Principal) -> Unit[Person]:
    yield from orgs.lock(org_id)
    yield from may_give(by, role)
    was = (yield from _find(org_id, user_id)).role
    yield from _outranks(by, was)
    if was == Role.OWNER and role != Role.OWNER:
        yield from _keep_an_owner(org_id, user_id)
    yield sql("UPDATE members SET role = $3 WHERE org_id = $1 AND user_id = $2", org_id, user_id, role.value)
    if changed := audit.changes({"role": was.value}, {"role": role.value}):
        yield from audit.note(org_id, "member.changed", "user", user_id, **changed)
    yield from _keep_old_columns(user_id)
    yield from _withdraw(org_id, user_id, role)
    return (yield from _find(org_id, user_id))


def _remove(org_id: int, user_id: str, by: Principal) -> Unit[tuple[Person, list[str]]]:
    yield from orgs.lock(org_id)
    yield from accounts.hold(user_id)
    person = yield from _find(org_id, user_id)
    if user_id != by.user_id:
        yield from _outranks(by, person.role)
    if person.role == Role.OWNER:
        yield from _keep_an_owner(org_id, user_id)
    yield from _withdraw(org_id, user_id, None)
    yield sql("DELETE FROM members WHERE org_id = $1 AND user_id = $2", org_id, user_id)
    ended = yield sql(
        "UPDATE api_keys SET revoked_at = now_ms() WHERE org_id = $1 AND user_id = $2 AND revoked_at IS NULL "
        "RETURNING id, name",
        org_id,
        user_id,
    )
    for row in ended:
        yield from audit.note(org_id, "key.revoked", "key", row["id"], name=row["name"])
    yield sql("DELETE FROM sign_in_links WHERE org_id = $1 AND user_id = $2", org_id, user_id)
    elsewhere = yield sql("SELECT org_id FROM members WHERE user_id = $1 ORDER BY no LIMIT 1", user_id)
    if elsewhere:
        yield sql(
            "UPDATE sign_ins SET org_id = $3 WHERE org_id = $1 AND user_id = $2",
            org_id,
            user_id,
            elsewhere[0]["org_id"],
        )
    else:
        yield sql("DELETE FROM sign_ins WHERE user_id = $1", user_id)
    yield from _keep_old_columns(user_id)
    action: Action = "member.left" if user_id == by.user_id else "member.removed"
    yield from audit.note(org_id, action, "user", user_id, name=person.name, role=person.role.value)
    return person, [row["id"] for row in ended]


def _outranks(by: Principal, role: Role) -> Unit[None]:
    """Raise Forbidden if `role` is above the caller's, which may have changed since they were recognised."""
    own = by.role if by.user_id is None else (yield from accounts.role_in(by.org_id, by.user_id))
    if own is None:
        raise Forbidden(accounts.GONE)
    if not (own.covers(Role.ADMIN) and own.covers(role)):
        raise Forbidden(f"Nobody gives or takes a role above their own: yours is {own}, and this is about {role}")


def _keep_an_owner(org_id: int, user_id: str) -> Unit[None]:
    others = yield sql(_OTHER_OWNERS, org_id, user_id)
    if not others:
        raise Conflict("This is the org's last owner; make somebody else an owner first")


def _withdraw(org_id: int, user_id: str, role: Role | None) -> Unit[None]:
    """Revoke the open invitations that somebody made, as a person or by a key, and could not make any more."""
    still = [one.value for one in Role if role is not None and role.covers(Role.ADMIN) and role.covers(one)]
    allowed = f"role NOT IN ({', '.join(repr(one) for one in still)}) AND " if still else ""
    theirs = (
        "(invited_by = 'user:' || $2 OR invited_by IN "
        "(SELECT 'key:' || k.id FROM api_keys k WHERE k.org_id = $1 AND k.user_id = $2))"
    )
    yield from withdraw(org_id, allowed + theirs, user_id)


def _keep_old_columns(user_id: str) -> Unit[None]:
    """Write what servers of the version before read: of one org of the person, what they are there."""
    rows = yield sql(
        "SELECT m.org_id, m.role FROM members m JOIN users u ON u.id = m.user_id WHERE m.user_id = $1 "
        "ORDER BY CASE WHEN m.org_id = u.org_id THEN 0 ELSE 1 END, m.no LIMIT 1",
        user_id,
    )
    if rows:
        yield sql("UPDATE users SET org_id = $2, role = $3 WHERE id = $1", user_id, rows[0]["org_id"], rows[0]["role"])
    else:
        yield sql("UPDATE users SET role = 'viewer' WHERE id = $1", user_id)


_OTHER_OWNERS = "SELECT 1 FROM members WHERE org_id = $1 AND role = 'owner' AND user_id <> $2 LIMIT 1"
#: What makes an invitation one that may still be accepted.
OPEN = "accepted_at IS NULL AND revoked_at IS NULL AND expires_at > now_ms()"
#: How many seats are taken in an org, `$1`: by people, and by whom it has invited.
SEATS = (
    "SELECT (SELECT count(*) FROM members WHERE org_id = $1) + "  # noqa: S608 - a constant
    f"(SELECT count(*) FROM invitations WHERE org_id = $1 AND {OPEN}) AS n"
)
_PEOPLE = (
    "SELECT u.id, u.name, u.email, m.role, m.created_at, (SELECT MAX(s.last_used_at) FROM sign_ins s "
    "WHERE s.org_id = m.org_id AND s.user_id = m.user_id) AS last_used_at "
    "FROM members m JOIN users u ON u.id = m.user_id WHERE m.org_id = $1"
)


def _person(row: Row) -> Person:
    return Person(
        id=row["id"],
        name=row["name"],
        email=row["email"],
        role=Role(row["role"]),
        joined_at=row["created_at"],
        last_used_at=row["last_used_at"],
    )
