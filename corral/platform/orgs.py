"""The first start: one org, its owner, and a key to begin with."""

from __future__ import annotations

from dataclasses import dataclass

from corral.base.errors import BadRequest
from corral.base.ids import new_id, new_token
from corral.platform import audit, keys
from corral.platform.access import Role
from corral.platform.database import Unit, commit, fetch, sql
from corral.platform.settings import Settings

FIRST_ORG = 1


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """What the first org starts with."""

    org_id: int
    owner_id: str
    new_key: str | None  #: a key made just now, to be shown once; None on every later start


async def bootstrap(settings: Settings) -> Bootstrapped:
    """Make sure that the first org, its owner and a full key exist. Several servers may do so at once, and again."""
    chosen = settings.bootstrap_key
    if chosen and (len(chosen) < 16 or not chosen.isascii() or any(letter.isspace() for letter in chosen)):
        raise BadRequest("CORRAL_BOOTSTRAP_KEY must be at least 16 plain characters", field="CORRAL_BOOTSTRAP_KEY")
    return await commit(_bootstrap(chosen))


async def names(org_id: int, user_id: str | None) -> tuple[str, str]:
    """Return what the org and the person are called; a person who is gone has no name."""
    rows = await fetch(
        "SELECT o.name AS org, u.name AS person FROM orgs o LEFT JOIN users u ON u.org_id = o.id AND u.id = $2 "
        "WHERE o.id = $1",
        org_id,
        user_id,
    )
    return (rows[0]["org"], rows[0]["person"] or "") if rows else ("", "")


async def people(org_id: int) -> dict[str, str]:
    """Return what the people of an org are called, by the name rows and events know them by: `user:<id>`."""
    rows = await fetch("SELECT id, name FROM users WHERE org_id = $1", org_id)
    return {f"user:{row['id']}": row["name"] for row in rows}


async def owner(org_id: int) -> str:
    """Return the id of the org's first owner."""
    rows = await fetch(_OWNER, org_id)
    return str(rows[0]["id"])


def lock(org_id: int) -> Unit[None]:
    """Keep others until the commit from what only one at a time may decide: no two halves of a circle at once."""
    yield sql("UPDATE orgs SET policy = policy WHERE id = $1", org_id)


_OWNER = "SELECT id FROM users WHERE org_id = $1 AND role = 'owner' ORDER BY id LIMIT 1"


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
        if not chosen:
            new_key = keys.PREFIX + new_token(32)
            yield from keys.insert(FIRST_ORG, name="first key", scopes="*", user_id=owner_id, token=new_key)
    else:
        rows = yield sql(_OWNER, FIRST_ORG)
        owner_id = rows[0]["id"]
    if chosen:
        yield from keys.insert(FIRST_ORG, name="bootstrap key", scopes="*", user_id=owner_id, token=chosen)
    return Bootstrapped(FIRST_ORG, owner_id, new_key)
