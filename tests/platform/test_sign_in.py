from __future__ import annotations

import asyncio

import pytest

from corral.base.errors import Unauthorized
from corral.platform import keys, sign_in
from corral.platform.database import fetch
from corral.platform.orgs import Bootstrapped
from corral.platform.settings import Settings


async def test_a_link_signs_its_person_in_once(org: Bootstrapped, settings: Settings) -> None:
    link = await sign_in.make_link(org.org_id, org.owner_id)
    assert link.url(settings).endswith(f"/app/sign-in#{link.token}")
    session = await sign_in.redeem(link.token)
    found = await sign_in.authenticate(session)
    assert found is not None
    assert (found.org_id, found.user_id, found.key_id) == (org.org_id, org.owner_id, None)
    with pytest.raises(Unauthorized):
        await sign_in.redeem(link.token)


async def test_of_many_who_redeem_a_link_at_once_one_gets_in(org: Bootstrapped) -> None:
    link = await sign_in.make_link(org.org_id, org.owner_id)
    results = await asyncio.gather(*[sign_in.redeem(link.token) for _ in range(8)], return_exceptions=True)
    assert len([one for one in results if isinstance(one, str)]) == 1
    assert len([one for one in results if isinstance(one, Unauthorized)]) == 7


async def test_an_old_link_does_not_work(org: Bootstrapped) -> None:
    link = await sign_in.make_link(org.org_id, org.owner_id, seconds=-1)
    with pytest.raises(Unauthorized):
        await sign_in.redeem(link.token)


async def test_what_a_key_with_an_end_makes_a_link_for_ends_with_it_at_the_latest(org: Bootstrapped) -> None:
    async def made(seconds: float | None) -> tuple[int | None, int, int]:
        """When a key, its link and the link's session end."""
        made, token = await keys.create(org.org_id, name="k", scopes=["*"], user_id=org.owner_id, expires_in=seconds)
        link = await sign_in.make_link(org.org_id, org.owner_id, by=await keys.authenticate(token))
        session = await sign_in.redeem(link.token)
        assert await sign_in.authenticate(session) is not None
        (row,) = await fetch("SELECT expires_at FROM sign_ins WHERE hash = $1", keys.digest(session))
        return made.expires_at, link.expires_at, row["expires_at"]

    key, link, session = await made(600)
    assert key == link == session
    key, link, session = await made(86_400)
    assert key == session > link
    _, link, forever = await made(None)
    assert forever > session


async def test_nobody_moves_the_end_that_a_link_tells(org: Bootstrapped) -> None:
    _, token = await keys.create(org.org_id, name="k", scopes=["*"], user_id=org.owner_id, expires_in=600)
    link = await sign_in.make_link(org.org_id, org.owner_id, by=await keys.authenticate(token))
    secret, _, end = link.token.partition(".")
    for forged in (secret, f"{secret}.", f"{secret}.{int(end) + 1}", f"{secret}.x"):
        with pytest.raises(Unauthorized):
            await sign_in.redeem(forged)


async def test_who_signs_out_is_out_at_once(org: Bootstrapped) -> None:
    session = await sign_in.redeem((await sign_in.make_link(org.org_id, org.owner_id)).token)
    found = await sign_in.authenticate(session)
    assert found is not None
    assert sign_in.recall(session) == found
    await sign_in.sign_out(found)
    assert sign_in.recall(session) is None
    assert await sign_in.authenticate(session) is None


async def test_neither_links_nor_sessions_are_stored_as_they_are(org: Bootstrapped) -> None:
    link = await sign_in.make_link(org.org_id, org.owner_id)
    session = await sign_in.redeem(link.token)
    stored = [row[0] for row in await fetch("SELECT hash FROM sign_ins UNION ALL SELECT hash FROM sign_in_links")]
    assert len(stored) == 2
    assert link.token not in stored
    assert session not in stored


async def test_what_is_over_is_swept(org: Bootstrapped) -> None:
    await sign_in.make_link(org.org_id, org.owner_id, seconds=-1)
    kept = await sign_in.make_link(org.org_id, org.owner_id)
    await sign_in.sweep()
    assert len(await fetch("SELECT 1 FROM sign_in_links")) == 1
    await sign_in.redeem(kept.token)
