from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from corral.base.errors import BadRequest, Forbidden, NotFound
from corral.platform import keys, revoking
from corral.platform.access import FULL, SCOPES, Principal, Role, scopes_of
from corral.platform.database import fetch
from corral.platform.orgs import Bootstrapped
from tests.platform.team import hire


async def test_a_key_is_known_by_its_token_alone_and_only_its_hash_is_stored(owner: Principal) -> None:
    key, token = await keys.create(owner.org_id, name="ci", scopes=["runs:read"], by=owner)
    found = await keys.authenticate(token)
    assert found is not None
    assert (found.org_id, found.actor) == (owner.org_id, f"key:{key.id}")
    assert found.scopes == {"runs:read"}
    assert token.startswith("crl_live_")
    assert token.startswith(key.prefix)
    rows = await fetch("SELECT name, prefix, hash, scopes FROM api_keys WHERE id = $1", key.id)
    assert token not in [rows[0][column] for column in range(4)]
    assert await keys.authenticate(token + "x") is None
    assert await keys.authenticate("") is None


async def test_a_revoked_key_is_forgotten_at_once(owner: Principal) -> None:
    key, token = await keys.create(owner.org_id, name="short", scopes=["*"], by=owner)
    assert await keys.authenticate(token) is not None
    assert keys.recall(token) is not None
    await revoking.revoke(owner.org_id, key.id)
    assert keys.recall(token) is None
    assert await keys.authenticate(token) is None
    again = await revoking.revoke(owner.org_id, key.id)
    assert again.revoked_at is not None


async def test_what_was_long_on_its_way_from_the_database_is_believed_no_longer_for_it(
    owner: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, token = await keys.create(owner.org_id, name="slow", scopes=["*"], by=owner)
    now = time.monotonic()
    monkeypatch.setattr(keys, "time", SimpleNamespace(monotonic=lambda: now))

    async def slowly(query: str, *args: object) -> object:
        nonlocal now
        rows = await fetch(query, *args)
        now += 2
        return rows

    monkeypatch.setattr(keys, "fetch", slowly)
    assert await keys.authenticate(token) is not None
    assert keys.recall(token) is None  # it may have been revoked since


@pytest.mark.parametrize("name", ["", "k" * 201])
async def test_a_key_has_a_name_that_fits(owner: Principal, name: str) -> None:
    with pytest.raises(BadRequest, match="1 to 200 characters") as error:
        await keys.create(owner.org_id, name=name, scopes=["*"], by=owner)
    assert error.value.field == "name"


async def test_keys_that_are_revoked_take_no_room_from_those_that_are_not(owner: Principal) -> None:
    old, _ = await keys.create(owner.org_id, name="old", scopes=["*"], by=owner)
    for _ in range(3):
        key, _ = await keys.create(owner.org_id, name="k", scopes=["*"], by=owner)
        await revoking.revoke(owner.org_id, key.id)
    assert (await keys.page(owner.org_id, limit=1, revoked=False))[0].id == old.id


async def test_an_expired_key_is_unknown(owner: Principal) -> None:
    _, token = await keys.create(owner.org_id, name="old", scopes=["*"], by=owner, expires_in=-1)
    assert await keys.authenticate(token) is None


async def test_a_key_of_another_org_is_not_found(owner: Principal) -> None:
    key, _ = await keys.create(owner.org_id, name="mine", scopes=["*"], by=owner)
    with pytest.raises(NotFound):
        await revoking.revoke(owner.org_id + 1, key.id)
    with pytest.raises(NotFound):
        await keys.get(owner.org_id + 1, key.id)
    assert await keys.page(owner.org_id + 1, limit=10) == []


async def test_nobody_hands_out_more_than_they_have(owner: Principal) -> None:
    _, token = await keys.create(owner.org_id, name="some", scopes=["keys:write", "runs:read"], by=owner)
    some = await keys.authenticate(token)
    with pytest.raises(Forbidden, match="runs:write"):
        await keys.create(owner.org_id, name="more", scopes=["runs:write"], by=some)
    with pytest.raises(Forbidden):
        await keys.create(owner.org_id, name="all", scopes=["*"], by=some)


async def test_what_a_key_makes_ends_no_later_than_that_key(owner: Principal) -> None:
    short, token = await keys.create(owner.org_id, name="short", scopes=["*"], by=owner, expires_in=60)
    by_short = await keys.authenticate(token)
    assert by_short is not None
    made, token = await keys.create(owner.org_id, name="as long", scopes=["runs:read"], by=by_short)
    assert made.expires_at == short.expires_at
    sooner, _ = await keys.create(owner.org_id, name="sooner", scopes=["runs:read"], by=by_short, expires_in=5)
    assert (sooner.expires_at or 0) < (short.expires_at or 0)
    with pytest.raises(Forbidden, match="ends when that key does"):
        await keys.create(owner.org_id, name="later", scopes=["runs:read"], by=by_short, expires_in=120)
    assert "later" not in [key.name for key in await keys.page(owner.org_id, limit=50)]


async def test_a_key_loses_what_its_owner_loses(owner: Principal, org: Bootstrapped) -> None:
    _, token = await keys.create(owner.org_id, name="mine", scopes=["*"], by=owner)
    await fetch("UPDATE members SET role = 'viewer' WHERE user_id = $1", org.owner_id)
    found = await keys.authenticate(token)
    assert found is not None
    assert found.role is Role.VIEWER
    assert found.scopes == scopes_of(Role.VIEWER)


async def test_a_key_ends_with_its_owner(owner: Principal) -> None:
    ada = await hire(owner.org_id)
    _, token = await keys.create(owner.org_id, name="hers", scopes=["*"], user_id=ada)
    await fetch("DELETE FROM members WHERE user_id = $1", ada)  # so, without revoking it
    assert await keys.authenticate(token) is None
    with pytest.raises(Forbidden, match="not in this org any more"):
        await keys.create(owner.org_id, name="another", scopes=["*"], user_id=ada)


async def test_a_key_that_was_just_revoked_makes_none(owner: Principal) -> None:
    await fetch("UPDATE api_keys SET revoked_at = now_ms() WHERE id = $1", owner.key_id)
    with pytest.raises(Forbidden, match="has been revoked"):  # although the request began when it worked
        await keys.create(owner.org_id, name="k", scopes=["*"], by=owner)


async def test_a_key_is_not_remembered_beyond_its_end(owner: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(keys, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(keys, "_TRUSTED", 60)
    _, token = await keys.create(owner.org_id, name="short", scopes=["*"], by=owner, expires_in=30)
    assert await keys.authenticate(token) is not None
    assert keys.recall(token) is not None
    now += 31
    assert keys.recall(token) is None


async def test_unknown_scopes_and_none_are_refused(owner: Principal) -> None:
    for scopes in ([], ["everything"], ["runs:read", "RUNS:WRITE"]):
        with pytest.raises(BadRequest) as error:
            await keys.create(owner.org_id, name="k", scopes=scopes, by=owner)
        assert error.value.field == "scopes"


async def test_keys_are_paged_newest_first(owner: Principal) -> None:
    made = [(await keys.create(owner.org_id, name=f"k{n}", scopes=["*"], by=owner))[0].id for n in range(4)]
    first = await keys.page(owner.org_id, limit=2)
    assert [key.id for key in first] == made[:1:-1]
    rest = await keys.page(owner.org_id, limit=2, before=first[-1].id)
    assert [key.id for key in rest] == made[1::-1]
    with pytest.raises(BadRequest, match="before"):
        await keys.page(owner.org_id, limit=2, before="nonsense")


async def test_the_last_use_is_noted_to_the_minute_and_off_the_hot_path(owner: Principal) -> None:
    key, token = await keys.create(owner.org_id, name="used", scopes=["*"], by=owner)
    await keys.authenticate(token)
    assert (await keys.get(owner.org_id, key.id)).last_used_at is None
    await keys.write_last_used()
    used = (await keys.get(owner.org_id, key.id)).last_used_at
    assert used is not None
    assert used % 60_000 == 0
    await keys.authenticate(token)
    await keys.write_last_used()
    assert (await keys.get(owner.org_id, key.id)).last_used_at in {used, used + 60_000}


def test_the_owners_scopes_are_all_there_are() -> None:
    assert {*SCOPES, "*"} == FULL
