"""Orgs: the first one with its owner and a key to begin with, and the others that its owners make."""

from __future__ import annotations

from dataclasses import dataclass

from corral.base.errors import BadRequest, Forbidden, NotFound
from corral.base.ids import new_id, new_token
from corral.platform import accounts, audit, keys, sign_in
from corral.platform.access import Principal, Role
from corral.platform.database import Unit, commit, fetch, sql
from corral.platform.settings import Settings

FIRST_ORG = 1


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """What the first org starts with."""

    org_id: int
    owner_id: str
    new_key: str | None  #: a key made just now, to be shown once; None on every later start


@dataclass(frozen=True, slots=True)
class Org:
    """An org, as somebody in it sees it."""

    id: int
    name: str
    role: Role  #: what they are in it


async def bootstrap(settings: Settings) -> Bootstrapped:
    """Make sure that the first org, its owner and a full key exist. Several servers may do so at once, and again."""
    chosen = settings.bootstrap_key
    if chosen and (len(chosen) < 16 or not chosen.isascii() or any(letter.isspace() for letter in chosen)):
        raise BadRequest("CORRAL_BOOTSTRAP_KEY must be at least 16 plain characters", field="CORRAL_BOOTSTRAP_KEY")
    return await commit(_bootstrap(chosen))


async def names(org_id: int, user_id: str | None) -> tuple[str, str]:
    """Return what the org and the person are called; a person who is gone has no name."""
    rows = await fetch(
        "SELECT o.name AS org, u.name AS person FROM orgs o LEFT JOIN members m ON m.org_id = o.id AND m.user_id = $2 "
        "LEFT JOIN users u ON u.id = m.user_id WHERE o.id = $1",
        org_id,
        user_id,
    )
    return (rows[0]["org"], rows[0]["person"] or "") if rows else ("", "")


async def people(org_id: int) -> dict[str, str]:
    """Return what the people of an org are called, by the name rows and events know them by: `user:<id>`."""
    rows = await fetch(
        "SELECT u.id, u.name FROM members m JOIN users u ON u.id = m.user_id WHERE m.org_id = $1", org_id
    )
    return {f"user:{row['id']}": row["name"] for row in rows}


async def owner(org_id: int) -> str:
    """Return the id of the org's first owner."""
    rows = await fetch(_OWNER, org_id)
    return str(rows[0]["id"])


async def mine(by: Principal) -> list[Org]:
    """Return the orgs that the caller may look at: of a key its own, of a person all that they are in."""
    if by.sign_in is None:
        return [Org(by.org_id, (await names(by.org_id, None))[0], by.role)]
    rows = await fetch(
        "SELECT o.id, o.name, m.role FROM members m JOIN orgs o ON o.id = m.org_id WHERE m.user_id = $1 "
        "ORDER BY o.name, o.id LIMIT 1000",
        by.user_id,
    )
    return [Org(row["id"], row["name"], Role(row["role"])) for row in rows]


async def create(name: str, by: Principal, *, token: str | None = None) -> Org:
    """Make an org with the caller as its owner, and, with a token, a full key of it.

    Those who own the first org may, from there: it is the installation's own.
    """
    return await commit(_create(_named(name), by, token))


async def rename(org_id: int, name: str) -> str:
    """Change what an org is called; return that."""
    await commit(_rename(org_id, _named(name)))
    return _named(name)


async def switch(by: Principal, org_id: int) -> None:
    """Let the caller's session look at another org that they are in. Raises NotFound if they are not."""
    await commit(_switch(by, org_id))
    assert by.user_id is not None
    sign_in.tell(by.user_id)


def lock(org_id: int) -> Unit[None]:
    """Keep others until the commit from what only one at a time may decide: no two halves of a circle at once."""
    yield sql("UPDATE orgs SET policy = policy WHERE id = $1", org_id)


_OWNER = "SELECT user_id AS id FROM members WHERE org_id = $1 AND role = 'owner' ORDER BY no LIMIT 1"
_NAME_LONGEST = 200
_OWNERS_ALONE = "Orgs are made by owners of the first org of this installation, from there"


def _named(name: str) -> str:
    name = " ".join(name.split())
    if not 0 < len(name) <= _NAME_LONGEST:
        raise BadRequest(f"name must have 1 to {_NAME_LONGEST} characters", field="name")
    return name


def _create(name: str, by: Principal, token: str | None) -> Unit[Org]:
    if by.org_id != FIRST_ORG or by.role != Role.OWNER or not by.has("*"):
        raise Forbidden(_OWNERS_ALONE)
    if by.user_id is None:
        raise Forbidden("A key that belongs to nobody cannot make an org: it would have no owner")
    yield from lock(FIRST_ORG)
    if (yield from accounts.stay(FIRST_ORG, by.user_id)) != Role.OWNER:  # who was one when they were recognised
        raise Forbidden(_OWNERS_ALONE)
    rows = yield sql(  # the first has a number that no sequence knows of
        "INSERT INTO orgs (id, name, created_at) SELECT MAX(id) + 1, $1, now_ms() FROM orgs RETURNING id", name
    )
    org_id = rows[0]["id"]
    yield sql(
        "INSERT INTO members (org_id, user_id, role, created_at) VALUES ($1, $2, $3, now_ms())",
        org_id,
        by.user_id,
        Role.OWNER.value,
    )
    yield from audit.note(org_id, "org.created", "org", str(org_id), actor=f"user:{by.user_id}", name=name)
    yield from audit.note(by.org_id, "org.created", "org", str(org_id), name=name)
    if token is not None:
        yield from keys.insert(org_id, name="first key", scopes="*", user_id=by.user_id, token=token)
    return Org(org_id, name, Role.OWNER)


def _rename(org_id: int, name: str) -> Unit[None]:
    yield from lock(org_id)
    rows = yield sql("SELECT name FROM orgs WHERE id = $1", org_id)
    yield sql("UPDATE orgs SET name = $2 WHERE id = $1", org_id, name)
    if changed := audit.changes(rows[0], {"name": name}):
        yield from audit.note(org_id, "org.changed", "org", str(org_id), **changed)


def _switch(by: Principal, org_id: int) -> Unit[None]:
    assert by.user_id is not None
    yield from accounts.hold(by.user_id)
    rows = yield sql(
        "UPDATE sign_ins SET org_id = $2 WHERE hash = $1 AND EXISTS (SELECT 1 FROM members m WHERE m.org_id = $2 "
        "AND m.user_id = sign_ins.user_id) RETURNING hash",
        by.sign_in,
        org_id,
    )
    if not rows:
        raise NotFound(f"You are in no org {org_id}")
    if org_id != by.org_id:
        yield from audit.note(org_id, "sign_in.switched", "user", by.user_id, actor=by.actor)


def _bootstrap(chosen: str) -> Unit[Bootstrapped]:
    made = yield sql(
        "INSERT INTO orgs (id, name, created_at) VALUES ($1, $2, now_ms()) ON CONFLICT (id) DO NOTHING RETURNING id",
        FIRST_ORG,
        "Corral",
    )
    owner_id, new_key = "", None
    if made:
        owner_id = new_id()
        yield from audit.note(FIRST_ORG, "org.created", "org", str(FIRST_ORG), owner=f"user:{owner_id}")
        yield sql(
            "INSERT INTO users (id, org_id, name, role, created_at) VALUES ($1, $2, $3, $4, now_ms())",
            owner_id,
            FIRST_ORG,
            "Owner",
            Role.OWNER.value,
        )
        yield sql(
            "INSERT INTO members (org_id, user_id, role, created_at) VALUES ($1, $2, $3, now_ms()) "
            "ON CONFLICT (org_id, user_id) DO NOTHING",  # a trigger has done so already, for the version before
            FIRST_ORG,
            owner_id,
            Role.OWNER.value,
        )
        if not chosen:
            new_key = keys.PREFIX + new_token(32)
            yield from keys.insert(FIRST_ORG, name="first key", scopes="*", user_id=owner_id, token=new_key)
    else:
        rows = yield sql(_OWNER, FIRST_ORG)
        owner_id = rows[0]["id"]
    if chosen:
        yield from keys.insert(FIRST_ORG, name="bootstrap key", scopes="*", user_id=owner_id, token=chosen)
    return Bootstrapped(FIRST_ORG, owner_id, new_key)
