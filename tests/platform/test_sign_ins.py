from __future__ import annotations

import pytest

from corral.base.errors import BadRequest, NotFound
from corral.platform import keys, orgs, sign_in, sign_ins
from corral.platform.access import Principal, Role
from corral.platform.database import fetch
from corral.platform.orgs import Bootstrapped
from corral.platform.sign_in import Visit
from tests.platform.team import employ, hire, session, signed_in


@pytest.fixture
async def boss(org: Bootstrapped) -> Principal:
    return await signed_in(org.owner_id)


async def test_ones_own_sign_ins_say_from_where_and_when(boss: Principal) -> None:
    await session(boss.user_id or "", Visit("2001:db8::1", "x" * 1000))
    phone, here = await sign_ins.own(boss, limit=9)
    assert (phone.address, phone.agent, phone.is_current) == ("2001:db8::1", "x" * 300, False)
    assert (here.means, here.is_current, here.user_name) == ("password", True, "Owner")
    assert here.last_used_at is not None
    # Two readings of the database's clock.
    assert 0 <= here.expires_at - here.created_at - sign_in.SESSION_SECONDS * 1000 < 1000


async def test_they_come_by_pages_also_where_many_began_at_once(boss: Principal) -> None:
    for _ in range(5):
        await session(boss.user_id or "")
    await fetch("UPDATE sign_ins SET created_at = 1000")
    every = [one.id for one in await sign_ins.own(boss, limit=9)]
    paged: list[str] = []
    while found := await sign_ins.own(boss, limit=2, before=paged[-1] if paged else None):
        paged += [one.id for one in found]
    assert paged == every
    assert len(paged) == 6
    with pytest.raises(BadRequest, match="before"):
        await sign_ins.own(boss, limit=2, before="nothing")


async def test_an_admin_sees_and_ends_those_that_look_at_the_org_and_no_others(boss: Principal) -> None:
    ada = await hire(boss.org_id)
    hers = await session(ada)
    assert await sign_in.authenticate(hers) is not None
    assert {one.user_id for one in await sign_ins.of_org(boss, limit=9)} == {ada, boss.user_id}
    (one,) = await sign_ins.of_org(boss, limit=9, user_id=ada)
    second = await orgs.create("Second", boss)
    there = await signed_in(boss.user_id or "", org_id=second.id)
    assert [found.user_id for found in await sign_ins.of_org(there, limit=9)] == [boss.user_id]
    assert await sign_ins.of_org(there, limit=9, user_id=ada) == []
    with pytest.raises(NotFound):
        await sign_ins.end_in_org(second.id, one.id)
    with pytest.raises(NotFound):
        await sign_ins.end_own(boss, one.id)
    await sign_ins.end_in_org(boss.org_id, one.id)
    assert sign_in.recall(hers) is None
    assert await sign_in.authenticate(hers) is None


async def test_a_person_ends_their_own_wherever_it_looks_and_a_key_sees_those_of_its_org(boss: Principal) -> None:
    second = await orgs.create("Second", boss)
    away = await session(boss.user_id or "", org_id=second.id)
    newest = (await sign_ins.own(boss, limit=9))[0]
    assert newest.org_id == second.id
    _, token = await keys.create(boss.org_id, name="k", scopes=["*"], by=boss)
    key = await keys.authenticate(token)
    assert key is not None
    assert newest.id not in [one.id for one in await sign_ins.own(key, limit=9)]
    assert not await sign_ins.is_own(key, newest.id)
    assert await sign_ins.is_own(boss, newest.id)
    await sign_ins.end_own(boss, newest.id)
    assert await sign_in.authenticate(away) is None


async def test_what_is_over_is_not_listed(boss: Principal) -> None:
    viewer = await employ(boss.org_id, Role.VIEWER)
    await fetch("UPDATE sign_ins SET expires_at = now_ms() - 1 WHERE user_id = $1", viewer.user_id)
    assert [one.user_id for one in await sign_ins.of_org(boss, limit=9)] == [boss.user_id]


async def test_the_last_use_is_noted_to_the_minute_and_not_by_the_request(boss: Principal) -> None:
    token = await session(boss.user_id or "")
    await fetch("UPDATE sign_ins SET last_used_at = 1")
    sign_in.forget()
    assert await sign_in.authenticate(token) is not None
    newest = (await sign_ins.own(boss, limit=9))[0]
    assert newest.last_used_at == 1
    await sign_in.write_last_used()
    newest = (await sign_ins.own(boss, limit=9))[0]
    assert newest.last_used_at is not None
    assert newest.last_used_at > 1
    assert newest.last_used_at % 60_000 == 0


async def test_who_signs_in_again_looks_at_the_org_they_looked_at_last(boss: Principal) -> None:
    second = await orgs.create("Second", boss)
    await fetch("UPDATE sign_ins SET created_at = created_at - 5000")
    first = await sign_in.authenticate(await session(boss.user_id or ""))
    assert first is not None
    assert first.org_id == boss.org_id
    await orgs.switch(first, second.id)
    again = await sign_in.authenticate(await session(boss.user_id or ""))
    assert again is not None
    assert again.org_id == second.id
