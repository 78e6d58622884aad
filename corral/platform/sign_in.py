"""Signing in to the console: a link that works once makes a session that lasts two weeks.

The link carries its token in the fragment, which browsers keep to themselves: it reaches no log, proxy or Referer. The
page behind it posts the token.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from corral.base.errors import Unauthorized
from corral.base.ids import new_token
from corral.platform import audit
from corral.platform.access import Principal, Role, scopes_of
from corral.platform.database import Unit, commit, fetch, sql
from corral.platform.keys import digest
from corral.platform.settings import Settings

LINK_SECONDS = 3600
SESSION_SECONDS = 14 * 24 * 3600
_TRUSTED = 1.0
_MOST_CACHED = 10_000

#: hash → who it is, and until when (monotonic) that is believed.
_known: dict[str, tuple[Principal, float]] = {}


@dataclass(frozen=True, slots=True)
class Link:
    """A way in for one person, once."""

    token: str
    expires_at: int  #: ms since 1970

    def url(self, settings: Settings) -> str:
        """Return what to open in a browser."""
        return f"{settings.url}/app/sign-in#{self.token}"


async def make_link(org_id: int, user_id: str, *, seconds: float = LINK_SECONDS) -> Link:
    """Make a link for this person."""
    token = new_token(32)
    return Link(token, await commit(_make_link(org_id, user_id, digest(token), int(seconds * 1000))))


async def redeem(token: str) -> str:
    """Use a link's token up; return a session's, for the cookie. Raises Unauthorized if it is used, old or unknown."""
    session = new_token(32)
    await commit(_redeem(digest(token), digest(session)))
    return session


def recall(session: str) -> Principal | None:
    """Return whose session this is if that was asked less than a second ago."""
    found = _known.get(digest(session))
    return found[0] if found is not None and found[1] > time.monotonic() else None


async def authenticate(session: str) -> Principal | None:
    """Return whose session this is, None if it is none or over."""
    hashed = digest(session)
    rows = await fetch(
        "SELECT s.org_id, s.user_id, u.role FROM sign_ins s JOIN users u ON u.id = s.user_id "
        "WHERE s.hash = $1 AND s.expires_at > now_ms()",
        hashed,
    )
    if not rows:
        return None
    role = Role(rows[0]["role"])
    principal = Principal(
        org_id=rows[0]["org_id"],
        actor=f"user:{rows[0]['user_id']}",
        scopes=scopes_of(role),
        role=role,
        user_id=rows[0]["user_id"],
        sign_in=hashed,
    )
    if len(_known) >= _MOST_CACHED:
        _known.clear()
    _known[hashed] = principal, time.monotonic() + _TRUSTED
    return principal


async def sign_out(principal: Principal) -> None:
    """End this console session."""
    if principal.sign_in is not None:
        _known.pop(principal.sign_in, None)
        await commit(_sign_out(principal.org_id, principal.sign_in))


async def sweep() -> None:
    """Delete links and sessions that are over."""
    await fetch("DELETE FROM sign_in_links WHERE expires_at < now_ms()")
    await fetch("DELETE FROM sign_ins WHERE expires_at < now_ms()")


def forget() -> None:
    """Drop what this process remembers, because the database behind it is another one now."""
    _known.clear()


def _make_link(org_id: int, user_id: str, hashed: str, lives: int) -> Unit[int]:
    rows = yield sql(
        "INSERT INTO sign_in_links (hash, org_id, user_id, expires_at) VALUES ($1, $2, $3, now_ms() + $4) "
        "RETURNING expires_at",
        hashed,
        org_id,
        user_id,
        lives,
    )
    yield from audit.note(org_id, "sign_in_link.created", "user", user_id)
    return int(rows[0]["expires_at"])


def _sign_out(org_id: int, session: str) -> Unit[None]:
    rows = yield sql("DELETE FROM sign_ins WHERE hash = $1 RETURNING user_id", session)
    if rows:
        yield from audit.note(org_id, "sign_in.ended", "user", rows[0]["user_id"])


def _redeem(link: str, session: str) -> Unit[None]:
    rows = yield sql(
        "UPDATE sign_in_links SET used_at = now_ms() WHERE hash = $1 AND used_at IS NULL AND expires_at > now_ms() "
        "RETURNING org_id, user_id",
        link,
    )
    if not rows:
        raise Unauthorized("This sign-in link was used already or has expired; a start of the server prints a new one")
    yield sql(
        "INSERT INTO sign_ins (hash, org_id, user_id, created_at, expires_at) "
        "VALUES ($1, $2, $3, now_ms(), now_ms() + $4)",
        session,
        rows[0]["org_id"],
        rows[0]["user_id"],
        SESSION_SECONDS * 1000,
    )
    org_id, user_id = rows[0]["org_id"], rows[0]["user_id"]
    yield from audit.note(org_id, "sign_in.begun", "user", user_id, actor=f"user:{user_id}")
