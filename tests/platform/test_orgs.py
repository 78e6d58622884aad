from __future__ import annotations

import asyncio
import dataclasses

import pytest

from corral.base.errors import BadRequest
from corral.platform import keys, orgs, revoking
from corral.platform.settings import Settings


async def test_the_first_start_makes_an_org_an_owner_and_a_full_key_and_later_ones_find_them(
    settings: Settings,
) -> None:
    first = await orgs.bootstrap(settings)
    again = await orgs.bootstrap(settings)
    assert first.new_key is not None
    assert (again.org_id, again.owner_id, again.new_key) == (first.org_id, first.owner_id, None)
    found = await keys.authenticate(first.new_key)
    assert found is not None
    assert found.has("*")


async def test_many_servers_may_start_at_once(settings: Settings) -> None:
    made = await asyncio.gather(*[orgs.bootstrap(settings) for _ in range(6)])
    assert len({one.owner_id for one in made}) == 1
    assert len([one for one in made if one.new_key]) == 1


async def test_a_chosen_key_works_and_is_not_told_again(settings: Settings) -> None:
    chosen = dataclasses.replace(settings, bootstrap_key="crl_live_chosen_by_the_operator")
    made = await asyncio.gather(*[orgs.bootstrap(chosen) for _ in range(3)])
    assert {one.new_key for one in made} == {None}
    found = await keys.authenticate("crl_live_chosen_by_the_operator")
    assert found is not None
    assert found.has("*")
    assert len(await keys.page(made[0].org_id, limit=10)) == 1


async def test_a_chosen_key_that_was_revoked_stays_revoked(settings: Settings) -> None:
    chosen = dataclasses.replace(settings, bootstrap_key="crl_live_chosen_by_the_operator")
    made = await orgs.bootstrap(chosen)
    (key,) = await keys.page(made.org_id, limit=10)
    await revoking.revoke(made.org_id, key.id)
    await orgs.bootstrap(chosen)
    assert await keys.authenticate("crl_live_chosen_by_the_operator") is None


@pytest.mark.parametrize("bad", ["short", "with a space in the middle", "crl_live_ümläute_und_mehr"])
async def test_a_weak_or_strange_chosen_key_is_refused(settings: Settings, bad: str) -> None:
    with pytest.raises(BadRequest, match="CORRAL_BOOTSTRAP_KEY"):
        await orgs.bootstrap(dataclasses.replace(settings, bootstrap_key=bad))
