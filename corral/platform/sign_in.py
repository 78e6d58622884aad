"""Signing in to the console: a link that works once, a password or an identity makes a session that lasts two weeks.

The link carries its token in the fragment, which browsers keep to themselves: it reaches no log, proxy or Referer. The
page behind it posts the token.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from corral.base.errors import Forbidden, NotFound, Unauthorized
from corral.base.ids import new_id, new_token
from corral.platform import accounts, audit, keys
from corral.platform.access import Principal, Role, scopes_of
from corral.platform.database import Unit, commit, fetch, sql
from corral.platform.keys import digest
from corral.platform.settings import Settings

LINK_SECONDS = 3600
SESSION_SECONDS = 14 * 24 * 3600
_TRUSTED = 1.0
_MINUTE = 60_000
_MOST_CACHED = 10_000
_AGENT_LONGEST = 300
#: Stands in a link's token before the moment, in ms, that its session ends at the latest.
_UNTIL = "."
_MOST_ADDRESSES = 1000

#: How somebody has shown who they are.
Means = Literal["link", "password", "oidc"]

#: Called with the id of a person of whom something has changed, after the commit; the composition root has others told.
Listener = Callable[[str], None]
_listeners: list[Listener] = []

#: hash → who it is, and until when (monotonic) that is believed.
_known: dict[str, tuple[Principal, float]] = {}
#: Hashes of sessions used since `write_last_used` ran.
_used: set[str] = set()


@dataclass(frozen=True, slots=True)
class Visit:
    """Where somebody signs in from."""

    address: str = ""
    agent: str = ""  #: what their browser calls itself


@dataclass(frozen=True, slots=True)
class Link:
    """A way in for one person, once."""

    token: str
    expires_at: int  #: ms since 1970

    def url(self, settings: Settings) -> str:
        """Return what to open in a browser."""
        return f"{settings.url}/app/sign-in#{self.token}"


async def make_link(org_id: int, user_id: str, *, seconds: float = LINK_SECONDS, by: Principal | None = None) -> Link:
    """Make a link for this person. Neither it nor the session that it begins outlasts the key that makes it (`by`)."""
    end = (await keys.get(org_id, by.key_id)).expires_at if by and by.key_id else None
    # The token says when: nobody can change that, because only its hash leads to the row.
    token = new_token(32) if end is None else f"{new_token(32)}{_UNTIL}{end}"
    return Link(token, await commit(_make_link(org_id, user_id, digest(token), int(seconds * 1000), end)))


async def make_link_for(email: str) -> Link:
    """Make a link for who has this email, into the org that they looked at last. Raises NotFound if nobody has it."""
    account = await accounts.find(email)
    if account is None:
        raise NotFound(f"There is no account with the email {email}; `corral people` lists those there are")
    return await make_link((await commit(orgs_of(account.id)))[0], account.id)


async def redeem(token: str, visit: Visit = Visit()) -> str:
    """Use a link's token up; return a session's, for the cookie. Raises Unauthorized if it is used, old or unknown."""
    session = new_token(32)
    await commit(_redeem(token, session, visit))
    return session


def begin(
    user_id: str, session: str, means: Means, visit: Visit, *, org_id: int | None = None, end: int | None = None
) -> Unit[int]:
    """Start a session with this token; without an org it looks at the one that the person looked at last. Return it.

    `end` is a moment in ms that it does not outlast.
    """
    yield from accounts.hold(user_id)
    theirs = yield from orgs_of(user_id)
    if org_id is None:
        org_id = theirs[0]
    elif org_id not in theirs:
        raise Forbidden(accounts.GONE)
    yield sql(
        "INSERT INTO sign_ins "  # noqa: S608 - our own words
        "(hash, id, org_id, user_id, means, address, agent, created_at, expires_at, last_used_at) "
        f"VALUES ($1, $2, $3, $4, $5, $6, $7, now_ms(), {_end(8, 9)}, now_ms())",
        digest(session),
        new_id(),
        org_id,
        user_id,
        means,
        visit.address,
        visit.agent[:_AGENT_LONGEST],
        SESSION_SECONDS * 1000,
        end,
    )
    yield from audit.note(org_id, "sign_in.begun", "user", user_id, actor=f"user:{user_id}", means=means)
    return org_id


def recall(session: str) -> Principal | None:
    """Return whose session this is if that was asked less than a second ago."""
    found = _known.get(digest(session))
    return found[0] if found is not None and found[1] > time.monotonic() else None


async def authenticate(session: str) -> Principal | None:
    """Return whose session this is, None if it is none or over."""
    hashed, asked = digest(session), time.monotonic()
    rows = await fetch(
        "SELECT s.org_id, s.user_id, m.role, o.plan, s.last_used_at, now_ms() AS now FROM sign_ins s "
        "JOIN members m ON m.org_id = s.org_id AND m.user_id = s.user_id JOIN orgs o ON o.id = s.org_id "
        "WHERE s.hash = $1 AND s.expires_at > now_ms()",
        hashed,
    )
    if not rows:
        return None
    if rows[0]["last_used_at"] is None or rows[0]["last_used_at"] + _MINUTE <= rows[0]["now"]:
        _used.add(hashed)
    role = Role(rows[0]["role"])
    principal = Principal(
        org_id=rows[0]["org_id"],
        actor=f"user:{rows[0]['user_id']}",
        scopes=scopes_of(role),
        role=role,
        user_id=rows[0]["user_id"],
        sign_in=hashed,
        plan=rows[0]["plan"],
    )
    if len(_known) >= _MOST_CACHED:
        _known.clear()
    _known[hashed] = principal, asked + _TRUSTED
    return principal


async def addresses(user_id: str) -> list[str]:
    """Return from where somebody is signed in."""
    query = "SELECT DISTINCT address FROM sign_ins WHERE user_id = $1 AND expires_at > now_ms() LIMIT $2"
    return [row["address"] for row in await fetch(query, user_id, _MOST_ADDRESSES)]


async def sign_out(principal: Principal) -> None:
    """End this console session."""
    if principal.sign_in is not None:
        await commit(_sign_out(principal.org_id, principal.sign_in))
        tell(principal.user_id or "")


async def write_last_used() -> None:
    """Note when the sessions used lately were used, to the minute. Run by a loop, so that no request waits for it."""
    while _used:
        await fetch("UPDATE sign_ins SET last_used_at = now_ms() / $2 * $2 WHERE hash = $1", _used.pop(), _MINUTE)


async def sweep() -> None:
    """Delete links and sessions that are over."""
    await fetch("DELETE FROM sign_in_links WHERE expires_at < now_ms()")
    await fetch("DELETE FROM sign_ins WHERE expires_at < now_ms()")


def on_change(listener: Listener) -> None:
    """Call `listener` when what a person may do has changed; the composition root registers it."""
    if listener not in _listeners:
        _listeners.append(listener)


def tell(user_id: str) -> None:
    """Let whoever listens know, after the commit, that a person may do other things now, or looks at another org."""
    doubt(user_id)
    for listener in _listeners:
        listener(user_id)


def doubt(user_id: str) -> None:
    """Ask the database about this person's sessions and keys when they are used next, and not in a second."""
    keys.doubt(user_id)
    for hashed in [hashed for hashed, (principal, _) in _known.items() if principal.user_id == user_id]:
        del _known[hashed]


def forget() -> None:
    """Drop what this process remembers, because the database behind it is another one now."""
    _known.clear()
    _used.clear()


def orgs_of(user_id: str) -> Unit[list[int]]:
    """Return a person's orgs: that of their last session first, then those before, then those never looked at.

    Raises Forbidden if they are in none.
    """
    rows = yield sql(
        "SELECT m.org_id FROM members m WHERE m.user_id = $1 ORDER BY (SELECT MAX(s.created_at) FROM sign_ins s "
        "WHERE s.user_id = m.user_id AND s.org_id = m.org_id) DESC NULLS LAST, m.no",
        user_id,
    )
    if not rows:
        raise Forbidden("This account is in no org any more; it needs an invitation")
    return [int(row["org_id"]) for row in rows]


def _make_link(org_id: int, user_id: str, hashed: str, lives: int, end: int | None) -> Unit[int]:
    yield from accounts.stay(org_id, user_id)
    rows = yield sql(
        f"INSERT INTO sign_in_links (hash, org_id, user_id, expires_at) VALUES ($1, $2, $3, {_end(4, 5)}) "  # noqa: S608 - ours
        "RETURNING expires_at",
        hashed,
        org_id,
        user_id,
        lives,
        end,
    )
    yield from audit.note(org_id, "sign_in_link.created", "user", user_id)
    return int(rows[0]["expires_at"])


def _sign_out(org_id: int, session: str) -> Unit[None]:
    rows = yield sql("DELETE FROM sign_ins WHERE hash = $1 RETURNING user_id", session)
    if rows:
        yield from audit.note(org_id, "sign_in.ended", "user", rows[0]["user_id"])


def _redeem(token: str, session: str, visit: Visit) -> Unit[None]:
    link = digest(token)
    whose = yield sql("SELECT user_id FROM sign_in_links WHERE hash = $1", link)
    for row in whose:  # a new password ends this link or, if this is first, the session
        yield from accounts.hold(row["user_id"])
    rows = yield sql(
        "UPDATE sign_in_links SET used_at = now_ms() WHERE hash = $1 AND used_at IS NULL AND expires_at > now_ms() "
        "RETURNING org_id, user_id",
        link,
    )
    if not rows:
        raise Unauthorized(
            "This sign-in link was used already or has expired; `corral sign-in` on its machine prints a new one"
        )
    _, _, end = token.partition(_UNTIL)
    yield from begin(
        rows[0]["user_id"], session, "link", visit, org_id=rows[0]["org_id"], end=int(end) if end else None
    )


def _end(lives: int, end: int) -> str:
    """Return the moment after so many ms, or an earlier end if there is one, as SQL of these placeholders."""
    return f"CASE WHEN ${end} < now_ms() + ${lives} THEN ${end} ELSE now_ms() + ${lives} END"
