"""People of an org, made as invitations make them."""

from __future__ import annotations

import itertools

from corral.platform import accounts, people, sign_in
from corral.platform.access import Principal, Role
from corral.platform.database import Unit, commit
from corral.platform.sign_in import Visit

NOWHERE = Visit()

#: A hash that no password has, for who never shows one.
UNKNOWN = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA"

_numbers = itertools.count(1)


async def hire(org_id: int, role: Role = Role.MEMBER, *, email: str | None = None, password: str | None = None) -> str:
    """Let somebody new into the org, and return their id."""
    number = next(_numbers)

    def unit() -> Unit[str]:
        user_id = yield from accounts.create(
            name=f"{role.title()} {number}", email=email or f"p{number}@example.com", password=password
        )
        yield from people.admit(org_id, user_id, role)
        return user_id

    return await commit(unit())


async def session(user_id: str, visit: Visit = NOWHERE, *, org_id: int | None = None) -> str:
    """Sign somebody in, and return their session's token."""
    token = f"session-{next(_numbers)}"
    await commit(sign_in.begin(user_id, token, "password", visit, org_id=org_id))
    return token


async def signed_in(user_id: str, *, org_id: int | None = None) -> Principal:
    """Sign somebody in, and return who they are."""
    found = await sign_in.authenticate(await session(user_id, org_id=org_id))
    assert found is not None
    return found


async def employ(org_id: int, role: Role = Role.MEMBER) -> Principal:
    """Let somebody new into the org, and sign them in."""
    return await signed_in(await hire(org_id, role), org_id=org_id)
