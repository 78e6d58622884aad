"""Accounts: what a person is called, and the email they sign in with. An account may be in several orgs, or in none.

What a person may do somewhere, and what lets them in, is changed under their account's lock: no key, sign-in or link
comes to be while somebody takes them out. It is taken after an org's, and before everything else of theirs.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from corral.base.errors import BadRequest, Conflict, Forbidden, NotFound
from corral.base.ids import new_id
from corral.platform import audit
from corral.platform.access import Principal, Role
from corral.platform.database import Duplicate, Row, Unit, commit, fetch, sql

_EMAIL_LONGEST = 254
_NAME_LONGEST = 200
#: Categories of Unicode that are in no name: controls, and halves of characters.
_NO_TEXT = {"Cc", "Cs"}
_TOO_LONG = f"email must have at most {_EMAIL_LONGEST} characters"
#: What is said to who was taken out of an org a moment ago.
GONE = "You are not in this org any more"
_TAKEN = "There is an account with this email already"


@dataclass(frozen=True, slots=True)
class Account:
    """A person, whichever org they are looked at from."""

    id: str
    name: str
    email: str | None
    has_password: bool


async def get(user_id: str) -> Account:
    """Return an account."""
    return _account(await fetch(f"SELECT {_COLUMNS} FROM users WHERE id = $1", user_id), user_id)  # noqa: S608


async def find(email: str) -> Account | None:
    """Return the account that signs in with this email."""
    rows = await fetch(f"SELECT {_COLUMNS} FROM users WHERE email = $1", email_of(email))  # noqa: S608
    return _account(rows, email) if rows else None


async def change(user_id: str, *, name: str | None = None, email: str | None = None) -> Account:
    """Set what a person is called, or signs in with; None leaves it. Raises Conflict if the email is another's."""
    return await commit(
        _change(user_id, None if name is None else name_of(name), None if email is None else email_of(email))
    )


async def check_reach(by: Principal, user_id: str) -> None:
    """Raise Forbidden to a key, which is of one org, if whoever gets at this account comes into others by it."""
    if by.sign_in is None and await fetch(
        "SELECT 1 FROM members WHERE user_id = $1 AND org_id <> $2 LIMIT 1", user_id, by.org_id
    ):
        raise Forbidden(
            "A key is of one org, and this account is in others as well: sign in for that "
            "(`corral sign-in --for EMAIL` on the server's machine prints a link)"
        )


def hold(user_id: str) -> Unit[None]:
    """Keep others until the commit from changing this account, and what lets its person in or out."""
    yield sql("UPDATE users SET name = name WHERE id = $1", user_id)


def role_in(org_id: int, user_id: str) -> Unit[Role | None]:
    """Return what somebody is in an org; None if they are not in it."""
    rows = yield sql("SELECT role FROM members WHERE org_id = $1 AND user_id = $2", org_id, user_id)
    return Role(rows[0]["role"]) if rows else None


def stay(org_id: int, user_id: str) -> Unit[Role]:
    """Return what somebody is in an org, and keep them in it until the commit. Raises Forbidden if they are not."""
    yield from hold(user_id)
    role = yield from role_in(org_id, user_id)
    if role is None:
        raise Forbidden(GONE)
    return role


def create(*, name: str, email: str | None, password: str | None) -> Unit[str]:
    """Make an account (`password` is a hash) that is in no org yet, and return its id.

    Raises Conflict if there is an account with this email.
    """
    user_id = new_id()
    try:
        yield sql(
            "INSERT INTO users (id, org_id, name, role, email, password, created_at) "
            "VALUES ($1, 0, $2, 'viewer', $3, $4, now_ms())",
            user_id,
            name_of(name),
            None if email is None else email_of(email),
            password,
        )
    except Duplicate as error:
        raise Conflict(_TAKEN) from error
    return user_id


def revive(user_id: str, password: str) -> Unit[None]:
    """Give an account without any way in, and in no org, a password (its hash). Raises Conflict if it has one."""
    yield from hold(user_id)
    revived = yield sql(
        "UPDATE users SET password = $2, password_changed_at = now_ms() WHERE id = $1 AND password IS NULL "
        "AND NOT EXISTS (SELECT 1 FROM members m WHERE m.user_id = $1) "
        "AND NOT EXISTS (SELECT 1 FROM identities i WHERE i.user_id = $1) RETURNING id",
        user_id,
        password,
    )
    if not revived:
        raise Conflict("The account with this email has no password; sign in to it first, then open the link again")


def email_of(text: str) -> str:
    """Return an email as it is stored and looked for. Raises BadRequest if it can be none."""
    if len(text) > 4 * _EMAIL_LONGEST:  # too long in any spelling; one made for it takes minutes to normalise
        raise BadRequest(_TOO_LONG, field="email")
    email = unicodedata.normalize("NFC", text.strip()).lower()
    name, at, host = email.rpartition("@")
    if not (name and at and host) or "@" in name or not email.isprintable() or " " in email:
        raise BadRequest("email must be an address like ada@example.com", field="email")
    if len(email) > _EMAIL_LONGEST:
        raise BadRequest(_TOO_LONG, field="email")
    return email


def name_of(text: str) -> str:
    """Return a name without what would disturb a list of them. Raises BadRequest if nothing is left."""
    name = " ".join(text.split())
    if not name or len(name) > _NAME_LONGEST or any(unicodedata.category(letter) in _NO_TEXT for letter in name):
        raise BadRequest(f"name must have 1 to {_NAME_LONGEST} characters, and no control characters", field="name")
    return name


_COLUMNS = "id, name, email, COALESCE(password, '') <> '' AS has_password"


def _change(user_id: str, name: str | None, email: str | None) -> Unit[Account]:
    yield from hold(user_id)
    before = yield sql("SELECT name, email FROM users WHERE id = $1", user_id)
    try:
        rows = yield sql(
            "UPDATE users SET name = COALESCE($2, name), email = COALESCE($3, email) WHERE id = $1 "  # noqa: S608
            f"RETURNING {_COLUMNS}",
            user_id,
            name,
            email,
        )
    except Duplicate as error:
        raise Conflict(_TAKEN) from error
    account = _account(rows, user_id)
    if changed := audit.changes(before[0], {"name": account.name, "email": account.email}):
        yield from audit.note_everywhere(user_id, "account.changed", **changed)
    return account


def _account(rows: Sequence[Row], called: str) -> Account:
    if not rows:
        raise NotFound(f"There is no account {called}")
    return Account(rows[0]["id"], rows[0]["name"], rows[0]["email"], bool(rows[0]["has_password"]))
