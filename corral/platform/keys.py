"""API keys: made, listed, changed, and recognised on every request."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from corral.base.errors import BadRequest, Forbidden, NotFound
from corral.base.ids import new_id, new_token
from corral.platform import accounts, audit
from corral.platform.access import RUNNER, SCOPES, Principal, Role, granted
from corral.platform.database import Row, Rows, Unit, commit, fetch, sql
from corral.platform.models import ApiKey

PREFIX = "crl_live_"
#: Seconds that a recognised key stays so without asking the database: another server's revocation takes so long.
_TRUSTED = 1.0
_MINUTE = 60_000
_MOST_CACHED = 10_000
_NAME_LONGEST = 200
_COLUMNS = "id, org_id, user_id, name, prefix, scopes, created_at, expires_at, revoked_at, last_used_at, rate_limit"
#: What makes a row of `api_keys` a key that works.
LIVE = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now_ms())"
#: Said of one that was recognised a moment ago and does not work any more.
OVER = "This key has been revoked, or has expired"


@dataclass(frozen=True, slots=True)
class Key:
    """A key as people see it afterwards: everything but the key itself."""

    id: str
    org_id: int
    user_id: str | None
    name: str
    prefix: str
    scopes: list[str]
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    last_used_at: int | None
    rate_limit: int | None  #: requests a minute, 0 for any number; None: as its org has it


#: Called with the id of a key that has changed or ended, after the commit; the composition root has others told.
Listener = Callable[[str], None]
_listeners: list[Listener] = []

#: hash → who it is, and until when (monotonic) that is believed.
_known: dict[str, tuple[Principal, float]] = {}
#: key id → whose it is, which never changes.
_owners: dict[str, str | None] = {}
#: Ids of keys used since `write_last_used` ran.
_used: set[str] = set()


async def create(
    org_id: int,
    *,
    name: str,
    scopes: Sequence[str],
    by: Principal | None = None,
    user_id: str | None = None,
    expires_in: float | None = None,
    expires_at: int | None = None,
    token: str | None = None,
    id_: str | None = None,
    rate_limit: int | None = None,
) -> tuple[Key, str]:
    """Make a key of `org_id`; return it and its token, which is shown now and never again.

    Nobody (`by`) hands out more than they have: what a key makes ends when that does, or before. `expires_in` is in
    seconds from now, `expires_at` a moment in ms; one of them at most. `token` is chosen by operators only.
    """
    if not 0 < len(name) <= _NAME_LONGEST:
        raise BadRequest(f"name must have 1 to {_NAME_LONGEST} characters", field="name")
    stored = _checked(scopes, by)
    token = token or PREFIX + new_token(32)
    owner = user_id or (by.user_id if by else None)
    expiry = (expires_at, None if expires_in is None else int(expires_in * 1000))
    new = insert(org_id, name=name, scopes=stored, user_id=owner, token=token, id_=id_)
    maker = by.key_id if by else None
    made = commit(_create(new, org_id, owner, expiry=expiry, rate_limit=rate_limit, maker=maker))
    return await made, token


async def page(
    org_id: int, *, limit: int, before: str | None = None, live_only: bool = False, revoked: bool = True
) -> list[Key]:
    """Return keys, newest first, with those that are `revoked` or without; `before` is a key's id, exclusive."""
    if before is not None and not await fetch("SELECT 1 FROM api_keys WHERE org_id = $1 AND id = $2", org_id, before):
        raise BadRequest(f"before: there is no key {before} here", field="before")
    rows = await fetch(
        f"SELECT {_COLUMNS} FROM api_keys WHERE org_id = $1 AND id < $2 "  # noqa: S608 - our own column names
        f"{f'AND {LIVE} ' if live_only else ''}{'' if revoked else 'AND revoked_at IS NULL '}"
        "ORDER BY id DESC LIMIT $3",
        org_id,
        before or "g",
        limit,
    )
    return [_key(row) for row in rows]


async def names(org_id: int, ids: Iterable[str]) -> dict[str, str]:
    """Return what keys are called, by id."""
    return dict(await ApiKey.filter(org_id=org_id, id__in=list(ids)).values_list("id", "name"))


async def get(org_id: int, key_id: str) -> Key:
    """Return one key of the org."""
    rows = await fetch(f"SELECT {_COLUMNS} FROM api_keys WHERE org_id = $1 AND id = $2", org_id, key_id)  # noqa: S608
    return _found(rows, key_id)


async def owner(key_id: str) -> str | None:
    """Return the id of the person whose key this is."""
    if key_id not in _owners:
        rows = await fetch("SELECT user_id FROM api_keys WHERE id = $1", key_id)
        if len(_owners) >= _MOST_CACHED:
            _owners.clear()
        _owners[key_id] = rows[0]["user_id"] if rows else None
    return _owners[key_id]


async def change(org_id: int, key_id: str, fields: Mapping[str, Any]) -> Key:
    """Change what a key is called (`name`) or how often it may call (`rate_limit`)."""
    key = await commit(_change(org_id, key_id, fields))
    tell(key_id)
    return key


def on_change(listener: Listener) -> None:
    """Call `listener` when a key was changed or has ended; the composition root registers it."""
    if listener not in _listeners:
        _listeners.append(listener)


def drop(key_id: str) -> None:
    """Ask the database about a key when it calls again: it has changed, or ended."""
    for hashed in [hashed for hashed, (principal, _) in _known.items() if principal.key_id == key_id]:
        del _known[hashed]


def end(org_id: int, key_id: str) -> Unit[Key]:
    """Revoke a key within another unit, whose caller tells of it after the commit; a second time changes nothing."""
    rows = yield sql(
        "UPDATE api_keys SET revoked_at = now_ms() WHERE org_id = $1 AND id = $2 AND revoked_at IS NULL "  # noqa: S608
        f"RETURNING {_COLUMNS}",
        org_id,
        key_id,
    )
    if rows:
        yield from audit.note(org_id, "key.revoked", "key", key_id, name=rows[0]["name"])
        return _key(rows[0])
    rows = yield sql(f"SELECT {_COLUMNS} FROM api_keys WHERE org_id = $1 AND id = $2", org_id, key_id)  # noqa: S608
    return _found(rows, key_id)


def is_live(key_id: str | None) -> Unit[bool]:
    """Tell whether a key that was recognised a while ago still works; who called without one does."""
    if key_id is None:
        return True
    return bool((yield sql(f"SELECT 1 FROM api_keys WHERE id = $1 AND {LIVE}", key_id)))  # noqa: S608 - a constant


def recall(token: str) -> Principal | None:
    """Return who shows `token` if that was asked less than a second ago; None means: `authenticate` must be asked."""
    found = _known.get(digest(token))
    return found[0] if found is not None and found[1] > time.monotonic() else None


async def authenticate(token: str) -> Principal | None:
    """Return who shows `token`, None if it is no live key."""
    hashed, asked = digest(token), time.monotonic()
    rows = await fetch(
        "SELECT k.id, k.org_id, k.user_id, k.hash, k.scopes, k.last_used_at, k.expires_at, m.role, o.plan, "
        "coalesce(k.rate_limit, o.rate_limit) AS rate_limit, now_ms() AS now FROM api_keys k "
        "LEFT JOIN members m ON m.org_id = k.org_id AND m.user_id = k.user_id LEFT JOIN orgs o ON o.id = k.org_id "
        "WHERE k.hash = $1 AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now_ms())",
        hashed,
    )
    # The index compares hashes, and not in constant time; that tells nothing about a token of 256 bits.
    if not rows or not hmac.compare_digest(rows[0]["hash"], hashed):
        return None
    row = rows[0]
    if row["user_id"] is not None and row["role"] is None:
        return None  # its owner has gone
    if row["last_used_at"] is None or row["last_used_at"] + _MINUTE <= row["now"]:
        _used.add(row["id"])
    role = Role(row["role"]) if row["role"] else Role.OWNER
    principal = Principal(
        org_id=row["org_id"],
        actor=f"key:{row['id']}",
        scopes=granted(row["scopes"], role),
        role=role,
        user_id=row["user_id"],
        key_id=row["id"],
        rate_limit=row["rate_limit"],
        plan=row["plan"],
    )
    if len(_known) >= _MOST_CACHED:
        _known.clear()
    left = _TRUSTED if row["expires_at"] is None else min(_TRUSTED, (row["expires_at"] - row["now"]) / 1000)
    _known[hashed] = principal, asked + left  # the answer may have been long on its way
    return principal


async def write_last_used() -> None:
    """Note when the keys used lately were used, to the minute. Run by a loop, so that no request waits for it."""
    while _used:
        key_id = _used.pop()
        await fetch(
            "UPDATE api_keys SET last_used_at = now_ms() / $2 * $2 WHERE id = $1 "
            "AND (last_used_at IS NULL OR last_used_at < now_ms() / $2 * $2)",
            key_id,
            _MINUTE,
        )


def doubt(user_id: str) -> None:
    """Ask the database about this person's keys when they are used next, and not in a second."""
    for hashed in [hashed for hashed, (principal, _) in _known.items() if principal.user_id == user_id]:
        del _known[hashed]


def forget() -> None:
    """Drop what this process remembers, because the database behind it is another one now."""
    _known.clear()
    _owners.clear()
    _used.clear()


def digest(token: str) -> str:
    """Return what is stored of a token: tokens are random, so a fast hash is enough."""
    return sha256(token.encode(errors="surrogateescape")).hexdigest()


def insert(
    org_id: int, *, name: str, scopes: str, user_id: str | None, token: str, id_: str | None = None
) -> Unit[Key | None]:
    """Make a key within another unit; None if this token has been a key before."""
    key_id = id_ or new_id()
    rows = yield sql(
        "INSERT INTO api_keys (id, org_id, user_id, name, prefix, hash, scopes, created_at) "  # noqa: S608
        f"VALUES ($1, $2, $3, $4, $5, $6, $7, now_ms()) ON CONFLICT (hash) DO NOTHING RETURNING {_COLUMNS}",
        key_id,
        org_id,
        user_id,
        name,
        _prefix(token),
        digest(token),
        scopes,
    )
    if not rows:
        return None
    yield from audit.note(
        org_id, "key.created", "key", key_id, name=name, scopes=scopes.split(), owner=user_id and f"user:{user_id}"
    )
    return _key(rows[0])


def _create(
    new: Unit[Key | None],
    org_id: int,
    owner: str | None,
    *,
    expiry: tuple[int | None, int | None],
    rate_limit: int | None,
    maker: str | None,
) -> Unit[Key]:
    if owner is not None:  # whoever takes them out of the org revokes this key as well
        yield from accounts.stay(org_id, owner)
    end = None
    if maker is not None:
        live = yield sql(f"SELECT expires_at FROM api_keys WHERE id = $1 AND {LIVE}", maker)  # noqa: S608 - a constant
        if not live:  # it was revoked since it was recognised
            raise Forbidden(OVER)
        end = live[0]["expires_at"]
    key = yield from new
    if key is None:
        raise BadRequest("This token has been a key before; choose another")
    if (*expiry, rate_limit, end) == (None, None, None, None):
        return key
    at, within = expiry
    rows = yield sql(
        "UPDATE api_keys SET expires_at = coalesce($2, now_ms() + $3, $5), rate_limit = $4 WHERE id = $1 "  # noqa: S608
        f"RETURNING {_COLUMNS}",
        key.id,
        at,
        within,
        rate_limit,
        end,
    )
    made = _key(rows[0])
    if end is not None and (made.expires_at or 0) > end:
        raise Forbidden("expires_at (expiresAt): what a key makes ends when that key does, or before; leave it out")
    return made


def _change(org_id: int, key_id: str, fields: Mapping[str, Any]) -> Unit[Key]:
    found = yield sql(
        f"UPDATE api_keys SET id = id WHERE org_id = $1 AND id = $2 RETURNING {_COLUMNS}",  # noqa: S608 - ours
        org_id,
        key_id,
    )
    before = _found(found, key_id)
    sets = "".join(f", {column} = ${n}" for n, column in enumerate(fields, 3))
    rows = yield sql(
        f"UPDATE api_keys SET id = id{sets} WHERE org_id = $1 AND id = $2 RETURNING {_COLUMNS}",  # noqa: S608 - ours
        org_id,
        key_id,
        *fields.values(),
    )
    if changed := audit.changes(asdict(before), fields):
        yield from audit.note(org_id, "key.changed", "key", key_id, name=before.name, **changed)
    return _found(rows, key_id)


def tell(key_id: str) -> None:
    """Let whoever listens know, after the commit, that a key was changed or has ended."""
    drop(key_id)
    for listener in _listeners:
        listener(key_id)


def _found(rows: Rows, key_id: str) -> Key:
    if not rows:
        raise NotFound(f"There is no key {key_id}")
    return _key(rows[0])


def _checked(scopes: Sequence[str], by: Principal | None) -> str:
    if not scopes:
        raise BadRequest(f"scopes must name at least one of {', '.join(SCOPES)}, or *", field="scopes")
    for scope in scopes:
        if scope not in SCOPES and scope != "*":
            raise BadRequest(f"scopes: there is no {scope!r}; there are {', '.join(SCOPES)}, and *", field="scopes")
        if by is not None and not by.has(scope):
            raise Forbidden(f"You cannot give a key the scope {scope}: you do not have it yourself")
    if RUNNER in scopes and set(scopes) - {RUNNER}:
        raise BadRequest(
            f"scopes: {RUNNER} stands alone, because such a key does a runner's work and nothing else; "
            "use runners:write beside other scopes",
            field="scopes",
        )
    return "*" if "*" in scopes else " ".join(scope for scope in SCOPES if scope in scopes)


def _prefix(token: str) -> str:
    """Return enough of a token to tell it from others, and too little to guess it from."""
    return token[: len(PREFIX) + 4] if token.startswith(PREFIX) else token[: min(4, len(token) // 4)]


def _key(row: Row) -> Key:
    return Key(
        id=row["id"],
        org_id=row["org_id"],
        user_id=row["user_id"],
        name=row["name"],
        prefix=row["prefix"],
        scopes=row["scopes"].split(),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
        rate_limit=row["rate_limit"],
    )
