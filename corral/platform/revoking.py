"""How a key is revoked: together with the invitations that it leaves open, by which whoever had it could come in."""

from __future__ import annotations

from corral.platform import keys, orgs, people
from corral.platform.database import Unit, commit
from corral.platform.keys import Key


async def revoke(org_id: int, key_id: str) -> Key:
    """End a key at once, and what it has invited; a second time changes nothing."""
    key = await commit(_revoke(org_id, key_id))
    keys.tell(key_id)
    return key


def _revoke(org_id: int, key_id: str) -> Unit[Key]:
    yield from orgs.lock(org_id)  # what it is inviting now is there before, or not at all
    key = yield from keys.end(org_id, key_id)
    yield from people.withdraw(org_id, "invited_by = $2", f"key:{key_id}")
    return key
