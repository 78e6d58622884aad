"""Passwords: stored as argon2 hashes, which take a tenth of a second and 64 MB to compute, and so in two threads.

Whoever tries to sign in with an email that nobody has waits as long as with one that somebody has.
"""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from corral.base.errors import BadRequest, CorralError, Forbidden, RateLimited, Unauthorized
from corral.base.ids import new_token
from corral.platform import accounts, audit, sign_in, throttle
from corral.platform.access import Principal
from corral.platform.database import Unit, commit, fetch, sql
from corral.platform.sign_in import Visit

SHORTEST = 10  #: characters
LONGEST = 1024  #: bytes of UTF-8
#: A session that a link began may set a new password for so long: that is how a forgotten one is replaced.
FRESH_MS = 60 * 60 * 1000
_WRONG = "There is no account with this email and password"
#: Beyond it, who comes is asked to come again: a queue without an end would make everybody wait.
_MOST_WAITING = 64

_hasher = PasswordHasher()
_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="argon2")
_waiting = 0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Recognised:
    """Whose email and password somebody has shown."""

    user_id: str
    changed_at: int | None  #: when the password was set that they have shown
    rehashed: str | None  #: its hash by the parameters of today, if it was stored by others


async def sign_in_with(email: str, password: str, visit: Visit) -> str:
    """Begin a session for who has this email and password; return its token, for the cookie.

    Raises Unauthorized, which doesn't tell which of the two is wrong, and RateLimited after too many failures.
    """
    recognised = await recognise(email, password, visit)
    session = new_token(32)
    await commit(_begin(recognised, session, visit))
    return session


async def recognise(email: str, password: str, visit: Visit) -> Recognised:
    """Return whose email and password these are. Raises as `sign_in_with` does."""
    email = accounts.email_of(email)
    rows = await fetch("SELECT id, password, password_changed_at FROM users WHERE email = $1", email)
    stored = rows[0]["password"] if rows else None
    known = await sign_in.addresses(rows[0]["id"] if rows else "")
    if not await _tried(email, visit.address, stored, password, known) or stored is None:
        raise Unauthorized(_WRONG)
    rehashed = await _in_thread(lambda: _hasher.hash(_normal(password))) if _hasher.check_needs_rehash(stored) else None
    return Recognised(rows[0]["id"], rows[0]["password_changed_at"], rehashed)


def confirm(recognised: Recognised) -> Unit[str]:
    """Return whose password was shown; Unauthorized if it was changed since. Until the commit nobody changes it."""
    same = yield sql(
        "UPDATE users SET password = COALESCE($3, password) WHERE id = $1 AND COALESCE(password_changed_at, 0) = $2 "
        "RETURNING id",
        recognised.user_id,
        recognised.changed_at or 0,
        recognised.rehashed,
    )
    if not same:
        raise Unauthorized(_WRONG)
    return recognised.user_id


async def change(by: Principal, *, current: str | None, new: str) -> None:
    """Set the caller's own password, and end all their other sign-ins, wherever those are.

    Who has one shows it, except in a session that a link began within the hour.
    """
    assert by.user_id is not None
    stored = (await fetch("SELECT password FROM users WHERE id = $1", by.user_id))[0]["password"]
    if await needs_current(by):
        if not current:
            raise BadRequest("current must be the password that you have now", field="current")
        if not await _tried(by.user_id, "", stored, current):
            raise Forbidden("current is not the password that you have now")
    await commit(_change(by, stored, await hashed_of(new)))
    sign_in.tell(by.user_id)


async def needs_current(by: Principal) -> bool:
    """Tell whether the caller must show the password that they have, to set another one."""
    rows = await fetch("SELECT 1 FROM users WHERE id = $1 AND password IS NOT NULL", by.user_id)
    return bool(rows) and not await _came_by_link(by)


async def hashed_of(password: str) -> str:
    """Return what is stored of a password. Raises BadRequest if nobody should have it."""
    text = _normal(password)
    if len(text) < SHORTEST:
        raise BadRequest(f"password must have at least {SHORTEST} characters, not {len(text)}", field="password")
    if (size := len(text.encode())) > LONGEST:
        raise BadRequest(f"password must have at most {LONGEST:,} bytes, not {size:,}", field="password")
    return await _in_thread(lambda: _hasher.hash(text))


async def _tried(account: str, address: str, stored: str | None, password: str, known: Iterable[str] = ()) -> bool:
    """Tell whether this is the password; that it is not is counted."""
    entered = await throttle.enter(account, address, known=known)
    try:
        is_right = await _verified(stored, password)
    except CorralError:  # nobody has looked at it
        await throttle.take_back(entered)
        raise
    if is_right:
        await throttle.take_back(entered)
    return is_right


async def _verified(stored: str | None, password: str) -> bool:
    """Tell whether this is the password, in the same time if there is none."""
    text = _normal(password)
    known = stored if len(text.encode()) <= LONGEST else None

    def verify() -> bool:
        try:
            _hasher.verify(known or _nobodys(), text if known else "")
        except (VerifyMismatchError, VerificationError, InvalidHashError):
            return False
        return known is not None

    return await _in_thread(verify)


@cache
def _nobodys() -> str:
    """Return the hash of a password that nobody knows."""
    return _hasher.hash(new_token(32))


def _normal(password: str) -> str:
    """Return the password in the one spelling that all keyboards' spellings of it have."""
    try:
        password.encode()
    except UnicodeEncodeError as error:
        raise BadRequest("password must be text", field="password") from error
    # One that is too long in any spelling stays as it is: what is made for it takes minutes to normalise.
    return password if len(password) > 2 * LONGEST else unicodedata.normalize("NFC", password)


async def _in_thread(work: Callable[[], T]) -> T:
    global _waiting  # noqa: PLW0603 - of this process
    if _waiting >= _MOST_WAITING:
        raise RateLimited("Very many people sign in at the moment; try again in a few seconds", retry_after=3)
    _waiting += 1
    try:
        return await asyncio.get_running_loop().run_in_executor(_threads, work)
    finally:
        _waiting -= 1


async def _came_by_link(by: Principal) -> bool:
    rows = await fetch(
        "SELECT 1 FROM sign_ins WHERE hash = $1 AND means = 'link' AND created_at > now_ms() - $2", by.sign_in, FRESH_MS
    )
    return bool(rows)


def _begin(recognised: Recognised, session: str, visit: Visit) -> Unit[None]:
    yield from confirm(recognised)
    yield from sign_in.begin(recognised.user_id, session, "password", visit)


def _change(by: Principal, was: str | None, hashed: str) -> Unit[None]:
    changed = yield sql(
        "UPDATE users SET password = $2, password_changed_at = now_ms() WHERE id = $1 "
        "AND (password = $3 OR (password IS NULL AND $3 IS NULL)) RETURNING id",
        by.user_id,
        hashed,
        was,
    )
    if not changed:
        raise Forbidden("Your password has just been changed elsewhere")
    assert by.user_id is not None
    yield from audit.note_everywhere(by.user_id, "password.changed")
    yield sql("UPDATE sign_in_links SET used_at = now_ms() WHERE user_id = $1 AND used_at IS NULL", by.user_id)
    yield sql("DELETE FROM sign_ins WHERE user_id = $1 AND hash <> $2", by.user_id, by.sign_in or "")
