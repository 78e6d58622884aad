"""Secrets of an org and of its agents: stored, listed by name, removed, and resolved for a run. Never shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from corral.base.errors import BadRequest, NotFound
from corral.base.logs import conceal, get_logger
from corral.platform import audit
from corral.platform.database import Row, Unit, commit, fetch, many, sql
from corral.secrets import cipher, keyring
from corral.secrets.cipher import MasterKey, WrongMasterKey

#: What names of secrets look like, and how many bytes of UTF-8 their values have at most.
NAME = "^[A-Z][A-Z0-9_]*$"
NAME_LONGEST = 200
VALUE_MOST = 64 * 1024

log = get_logger()


class Entry(msgspec.Struct, frozen=True):
    """A secret without its value."""

    key: str
    agent_id: str | None  #: None is the org's
    version: int
    updated_at: int
    last_used_at: int | None
    last_used_by: str | None  #: `run:<id>`, or the person or key that had something tested with it

    @property
    def scope(self) -> str:
        """Return whose it is: org or agent."""
        return _scope(self.agent_id or "")


class Use(msgspec.Struct, frozen=True):
    """A secret was opened, once."""

    no: int
    key: str
    agent_id: str | None  #: whose it is; None is the org's
    version: int
    used_by: str  #: as `last_used_by` of an entry
    attempt: int | None  #: of the run
    used_at: int

    @property
    def scope(self) -> str:
        """Return whose the secret is: org or agent."""
        return _scope(self.agent_id or "")


_ENTRIES = (
    "SELECT s.key, s.agent_id, s.version, s.updated_at, u.used_at, u.used_by FROM secrets s "
    "LEFT JOIN secret_uses u ON u.no = (SELECT max(no) FROM secret_uses WHERE secret_no = s.no) "
)


async def check() -> None:
    """Say early, in the log, if this server cannot open what is stored: its secrets are of use to no run until then."""
    rows = await fetch(
        "SELECT DISTINCT k.master FROM data_keys k WHERE EXISTS (SELECT 1 FROM secrets s WHERE s.org_id = k.org_id)"
    )
    try:
        for row in rows:
            keyring.opening(row["master"])
    except (WrongMasterKey, BadRequest) as error:
        log.warning("secrets cannot be opened", why=error.message)


async def put(org_id: int, key: str, value: str, *, agent_id: str | None = None) -> None:
    """Store a secret of the org or of an agent, in the place of what was there by that name."""
    await commit(putting(org_id, key, value, agent_id=agent_id)())


def putting(org_id: int, key: str, value: str, *, agent_id: str | None = None) -> Callable[[], Unit[None]]:
    """Return what stores it within a unit; the master key is looked for, and made if need be, before that."""
    if len(key) > NAME_LONGEST or not re.fullmatch(NAME.strip("^$"), key):
        raise BadRequest(
            f"key must be capital letters, digits and underscores, at most {NAME_LONGEST}, and begin with a letter",
            field="key",
        )
    if not value or len(value.encode()) > VALUE_MOST:
        raise BadRequest(f"value must have 1 to {VALUE_MOST:,} bytes", field="value")
    return partial(_put, org_id, agent_id or "", key, value, keyring.sealing())


async def page(
    org_id: int, *, scope: str, agent_id: str | None = None, limit: int = 1000, before: str | None = None
) -> list[Entry]:
    """Return the secrets of a scope, newest first; of scope agent those of all agents, or of the one named.

    `before`, exclusive, is a secret's name, or an agent's id and a secret's name with a slash between.
    """
    whose = "s.agent_id = $4" if scope == "org" or agent_id is not None else "s.agent_id <> $4"
    rows = await fetch(
        f"{_ENTRIES}WHERE s.org_id = $1 AND s.no < $2 AND {whose} ORDER BY s.no DESC LIMIT $3",
        org_id,
        await _no(org_id, agent_id or "", before) if before is not None else 1 << 62,
        limit,
        agent_id or "",
    )
    return [_entry(row) for row in rows]


async def get(org_id: int, key: str, *, agent_id: str | None = None, field: str | None = None) -> Entry:
    """Return one secret; NotFound, or BadRequest about `field` where its name was part of a query."""
    rows = await fetch(f"{_ENTRIES}WHERE s.org_id = $1 AND s.agent_id = $2 AND s.key = $3", org_id, agent_id or "", key)
    if rows:
        return _entry(rows[0])
    if field is not None:
        raise BadRequest(f"{field}: there is no secret {key} {_of(agent_id)}", field=field)
    raise _none(key, agent_id)


async def uses(
    org_id: int, key: str | None = None, *, agent_id: str | None = None, limit: int = 1000, before: int | None = None
) -> list[Use]:
    """Return when a secret that is there was opened, newest first; without a key all uses, of deleted ones as well."""
    which, args = "", list[str]()
    if key is not None:
        which = "AND secret_no = (SELECT no FROM secrets WHERE org_id = $1 AND agent_id = $4 AND key = $5) "
        args = [agent_id or "", key]
    rows = await fetch(
        "SELECT no, key, agent_id, version, used_by, attempt, used_at FROM secret_uses "  # noqa: S608 - ours
        f"WHERE org_id = $1 AND no < $2 {which}ORDER BY no DESC LIMIT $3",
        org_id,
        before if before is not None else 1 << 62,
        limit,
        *args,
    )
    return [
        Use(
            row["no"], row["key"], row["agent_id"] or None, row["version"], row["used_by"], row["attempt"],
            row["used_at"],
        )
        for row in rows
    ]  # fmt: skip


async def stored(org_id: int) -> dict[str | None, set[str]]:
    """Return the names of all secrets, by the agent whose they are; None has the org's."""
    found: dict[str | None, set[str]] = {None: set()}
    for row in await fetch("SELECT key, agent_id FROM secrets WHERE org_id = $1", org_id):
        found.setdefault(row["agent_id"] or None, set()).add(row["key"])
    return found


async def remove(org_id: int, key: str, *, agent_id: str | None = None) -> None:
    """Delete a secret."""
    await commit(removing(org_id, key, agent_id=agent_id))


def removing(org_id: int, key: str, *, agent_id: str | None = None) -> Unit[None]:
    """Delete it within a unit."""
    rows = yield sql(
        "DELETE FROM secrets WHERE org_id = $1 AND agent_id = $2 AND key = $3 RETURNING no", org_id, agent_id or "", key
    )
    if not rows:
        raise _none(key, agent_id)
    yield from audit.note(org_id, "secret.deleted", "secret", key, agent=agent_id)


def names(org_id: int, agent_id: str | None) -> Unit[set[str]]:
    """Return the names of what a run of this agent is given."""
    rows = yield sql("SELECT key FROM secrets WHERE org_id = $1 AND agent_id IN ('', $2)", org_id, agent_id or "")
    return {row["key"] for row in rows}


async def resolve(org_id: int, agent_id: str | None, by: str, attempt: int | None = None) -> dict[str, str]:
    """Return what a run of this agent is given: the org's secrets and its own, of which its own win.

    `by` is who gets them, `run:<id>` of that attempt; it is recorded of each, or else none is returned.
    """
    return await commit(resolving(org_id, agent_id, by, attempt))


def resolving(org_id: int, agent_id: str | None, by: str, attempt: int | None = None) -> Unit[dict[str, str]]:
    """Do so within a unit."""
    rows = yield sql(
        "SELECT s.no, s.key, s.agent_id, s.version, s.sealed, k.master, k.wrapped FROM secrets s "
        "LEFT JOIN data_keys k ON k.org_id = s.org_id WHERE s.org_id = $1 AND s.agent_id IN ('', $2) "
        "ORDER BY s.agent_id, s.key",
        org_id,
        agent_id or "",
    )
    if not rows:
        return {}
    if rows[0]["wrapped"] is None:
        raise cipher.Broken(f"The key of the secrets of org {org_id} is gone from the database: store them anew")
    data_key = keyring.opening(rows[0]["master"]).unwrap(org_id, rows[0]["wrapped"])
    given = {row["key"]: row for row in rows}  # an agent's own come last
    yield many(
        "INSERT INTO secret_uses (org_id, secret_no, agent_id, key, version, used_by, attempt, used_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, now_ms())",
        [(org_id, row["no"], row["agent_id"], key, row["version"], by, attempt) for key, row in given.items()],
    )
    values = {key: _opened(data_key, org_id, row["agent_id"], key, row["sealed"]) for key, row in given.items()}
    conceal(values.items())
    return values


def _put(org_id: int, agent_id: str, key: str, value: str, known: MasterKey) -> Unit[None]:
    data_key = yield from _data_key(org_id, known)
    rows = yield sql(
        "INSERT INTO secrets (org_id, agent_id, key, sealed, created_at, updated_at) "
        "VALUES ($1, $2, $3, $4, now_ms(), now_ms()) ON CONFLICT (org_id, agent_id, key) "
        "DO UPDATE SET sealed = excluded.sealed, version = secrets.version + 1, updated_at = excluded.updated_at "
        "RETURNING version",
        org_id,
        agent_id,
        key,
        cipher.seal(data_key, value.encode(), *place(org_id, agent_id, key)),
    )
    yield from audit.note(org_id, "secret.stored", "secret", key, agent=agent_id or None, version=rows[0]["version"])


def _data_key(org_id: int, known: MasterKey) -> Unit[bytes]:
    """Return the org's data key, and hold its row: nobody else changes or first makes it meanwhile."""
    fresh = cipher.new_key()
    stored = known.fingerprint, known.wrap(org_id, fresh)
    yield sql(
        "INSERT INTO data_keys (org_id, master, wrapped, created_at) VALUES ($1, $2, $3, now_ms()) "
        "ON CONFLICT (org_id) DO NOTHING",
        org_id,
        *stored,
    )
    rows = yield sql("UPDATE data_keys SET org_id = org_id WHERE org_id = $1 RETURNING master, wrapped", org_id)
    try:
        return keyring.opening(rows[0]["master"]).unwrap(org_id, rows[0]["wrapped"])
    except WrongMasterKey:
        if (yield sql("SELECT 1 FROM secrets WHERE org_id = $1 LIMIT 1", org_id)):
            raise
    yield sql(
        "UPDATE data_keys SET master = $2, wrapped = $3, created_at = now_ms() WHERE org_id = $1", org_id, *stored
    )
    return fresh


def _entry(row: Row) -> Entry:
    return Entry(row["key"], row["agent_id"] or None, row["version"], row["updated_at"], row["used_at"], row["used_by"])


def _of(agent_id: str | None) -> str:
    return f"of agent {agent_id}" if agent_id else "of the org"


def _none(key: str, agent_id: str | None) -> NotFound:
    return NotFound(f"There is no secret {key} {_of(agent_id)}")


async def _no(org_id: int, agent_id: str, before: str) -> int:
    named, _, key = before.rpartition("/")
    rows = await fetch(
        "SELECT no FROM secrets WHERE org_id = $1 AND agent_id = $2 AND key = $3", org_id, named or agent_id, key
    )
    if not rows:
        raise BadRequest(f"before: there is no secret {before} here", field="before")
    return int(rows[0]["no"])


def _opened(data_key: bytes, org_id: int, agent_id: str, key: str, sealed: bytes) -> str:
    try:
        return cipher.unseal(data_key, sealed, *place(org_id, agent_id, key)).decode()
    except cipher.Broken as error:
        raise cipher.Broken(f"The secret {key} was changed outside of Corral: store it anew") from error


def place(org_id: int, agent_id: str, key: str) -> Sequence[str | int]:
    """Return where a secret belongs, which its seal is bound to."""
    return org_id, _scope(agent_id), agent_id, key


def _scope(agent_id: str) -> str:
    return "agent" if agent_id else "org"
