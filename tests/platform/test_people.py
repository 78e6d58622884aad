from __future__ import annotations

import asyncio

import pytest

from corral.base.errors import BadRequest, Conflict, Forbidden, NotFound
from corral.platform import audit, invitations, keys, orgs, people, sign_in
from corral.platform.access import Principal, Role
from corral.platform.audit import Only
from corral.platform.database import fetch
from corral.platform.orgs import Bootstrapped
from tests.platform.team import employ, hire, session, signed_in


@pytest.fixture
async def boss(org: Bootstrapped) -> Principal:
    return await signed_in(org.owner_id)


async def test_the_people_of_an_org_are_listed_by_pages(boss: Principal) -> None:
    made = [await hire(boss.org_id) for _ in range(4)]
    listed = await people.page(boss.org_id, limit=3)
    assert [one.id for one in listed] == made[:0:-1]
    rest = await people.page(boss.org_id, limit=3, before=listed[-1].id)
    assert [one.id for one in rest] == [made[0], boss.user_id]
    assert rest[1].role is Role.OWNER
    assert rest[1].last_used_at is not None
    with pytest.raises(BadRequest, match="before"):
        await people.page(boss.org_id, limit=3, before="nobody")


async def test_a_new_role_holds_at_once_for_sessions_and_keys(boss: Principal) -> None:
    ada = await hire(boss.org_id, Role.ADMIN)
    hers = await session(ada)
    _, token = await keys.create(boss.org_id, name="hers", scopes=["*"], user_id=ada)
    for known in (await sign_in.authenticate(hers), await keys.authenticate(token)):
        assert known is not None
        assert known.role is Role.ADMIN
    changed = await people.change_role(boss.org_id, ada, Role.VIEWER, boss)
    assert changed.role is Role.VIEWER
    assert sign_in.recall(hers) is None
    assert keys.recall(token) is None
    for now in (await sign_in.authenticate(hers), await keys.authenticate(token)):
        assert now is not None
        assert now.role is Role.VIEWER
        assert not now.has("runs:write")


async def test_nobody_gives_or_takes_a_role_above_their_own(boss: Principal) -> None:
    admin, member = await employ(boss.org_id, Role.ADMIN), await employ(boss.org_id)
    assert admin.user_id
    assert member.user_id
    assert boss.user_id
    with pytest.raises(Forbidden, match="above their own"):
        await people.change_role(boss.org_id, member.user_id, Role.OWNER, admin)
    with pytest.raises(Forbidden, match="above their own"):
        await people.change_role(boss.org_id, boss.user_id, Role.MEMBER, admin)
    with pytest.raises(Forbidden, match="above their own"):
        await people.remove(boss.org_id, boss.user_id, admin)
    with pytest.raises(Forbidden):
        await people.change_role(boss.org_id, admin.user_id, Role.VIEWER, member)
    assert (await people.change_role(boss.org_id, member.user_id, Role.ADMIN, admin)).role is Role.ADMIN


async def test_a_role_that_was_just_lost_gives_none(boss: Principal) -> None:
    admin, other = await employ(boss.org_id, Role.ADMIN), await hire(boss.org_id)
    assert admin.user_id
    await people.change_role(boss.org_id, admin.user_id, Role.MEMBER, boss)
    with pytest.raises(Forbidden):  # although the request began when they were an admin
        await people.change_role(boss.org_id, other, Role.ADMIN, admin)
    await people.remove(boss.org_id, admin.user_id, boss)
    with pytest.raises(Forbidden):
        await people.remove(boss.org_id, other, admin)


async def test_a_key_gives_no_role_that_may_do_more_than_it(boss: Principal, owner: Principal) -> None:
    other = await hire(boss.org_id)
    _, token = await keys.create(boss.org_id, name="k", scopes=["people:write", "people:read"], by=boss)
    key = await keys.authenticate(token)
    assert key is not None
    with pytest.raises(Forbidden, match="lacks some"):
        await people.change_role(boss.org_id, other, Role.ADMIN, key)
    assert (await people.change_role(boss.org_id, other, Role.ADMIN, owner)).role is Role.ADMIN


async def test_the_last_owner_stays(boss: Principal) -> None:
    assert boss.user_id
    for lost in (people.leave(boss), people.change_role(boss.org_id, boss.user_id, Role.ADMIN, boss)):
        with pytest.raises(Conflict, match="last owner"):
            await lost
    await people.change_role(boss.org_id, boss.user_id, Role.OWNER, boss)
    second = await employ(boss.org_id, Role.OWNER)
    await people.leave(boss)
    with pytest.raises(Conflict, match="last owner"):
        await people.leave(second)
    assert await orgs.owner(boss.org_id) == second.user_id


async def test_of_owners_who_all_leave_at_once_one_stays(org: Bootstrapped) -> None:
    owners = [await signed_in(org.owner_id), *[await employ(org.org_id, Role.OWNER) for _ in range(4)]]
    results = await asyncio.gather(*[people.leave(one) for one in owners], return_exceptions=True)
    assert [type(one) for one in results if one is not None] == [Conflict]
    assert len(await people.page(org.org_id, limit=10)) == 1


async def test_who_is_removed_is_out_at_once_and_so_are_their_keys(
    boss: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await hire(boss.org_id, Role.ADMIN)
    hers = await session(ada)
    link = await sign_in.make_link(boss.org_id, ada)
    her_key, token = await keys.create(boss.org_id, name="hers", scopes=["*"], user_id=ada)
    as_her = await sign_in.authenticate(hers)
    assert as_her is not None
    assert await keys.authenticate(token) is not None
    invitation, way_back = await invitations.create(as_her, role=Role.ADMIN)
    told: list[str] = []
    monkeypatch.setattr(keys, "_listeners", [told.append])
    assert (await people.remove(boss.org_id, ada, boss)).id == ada
    assert told == [her_key.id]
    for action, ended in (("key.revoked", her_key.id), ("invitation.revoked", invitation.id)):
        (line,) = await audit.page(boss.org_id, Only(action=action), limit=9)
        assert line.target_id == ended
    assert (sign_in.recall(hers), keys.recall(token)) == (None, None)
    assert (await sign_in.authenticate(hers), await keys.authenticate(token)) == (None, None)
    assert not await fetch("SELECT 1 FROM sign_ins WHERE user_id = $1", ada)
    assert not await fetch("SELECT 1 FROM sign_in_links WHERE user_id = $1", ada)
    assert (await invitations.get(boss.org_id, invitation.id)).status == "revoked"
    with pytest.raises(NotFound):
        await invitations.look(way_back)
    with pytest.raises(NotFound):
        await people.get(boss.org_id, ada)
    with pytest.raises(NotFound):
        await people.remove(boss.org_id, ada, boss)
    assert link.token


async def test_who_is_in_two_orgs_and_leaves_one_looks_at_the_other(boss: Principal) -> None:
    second = await orgs.create("Second", boss)
    away = await session(boss.user_id or "", org_id=second.id)
    helper = await hire(second.id, Role.OWNER)
    _, there = await keys.create(second.id, name="there", scopes=["*"], user_id=boss.user_id)
    _, here = await keys.create(boss.org_id, name="here", scopes=["*"], user_id=boss.user_id)
    seen = await sign_in.authenticate(away)
    assert seen is not None
    assert seen.org_id == second.id
    await people.leave(seen)
    moved = await sign_in.authenticate(away)
    assert moved is not None
    assert moved.org_id == boss.org_id
    assert await keys.authenticate(there) is None
    assert await keys.authenticate(here) is not None
    assert [one.id for one in await people.page(second.id, limit=9)] == [helper]


async def test_a_person_is_what_they_are_in_each_org_and_a_key_of_one(boss: Principal) -> None:
    assert boss.user_id
    ada = await hire(boss.org_id, Role.VIEWER)
    second = await orgs.create("Second", boss)
    await people.change_role(boss.org_id, ada, Role.MEMBER, boss)
    hers = await session(ada)
    as_her = await sign_in.authenticate(hers)
    assert as_her is not None
    assert [one.name for one in await orgs.mine(as_her)] == ["Corral"]
    _, token = await invitations.create(await signed_in(boss.user_id, org_id=second.id), role=Role.ADMIN)
    assert await invitations.join(token, as_her) == second.id
    there = await sign_in.authenticate(hers)
    assert there is not None
    assert (there.org_id, there.role) == (second.id, Role.ADMIN)
    assert {(one.name, one.role) for one in await orgs.mine(there)} == {("Corral", Role.MEMBER), ("Second", Role.ADMIN)}
    await orgs.switch(there, boss.org_id)
    back = await sign_in.authenticate(hers)
    assert back is not None
    assert (back.org_id, back.role) == (boss.org_id, Role.MEMBER)
    for nowhere in (77, -1):
        with pytest.raises(NotFound):
            await orgs.switch(back, nowhere)
    _, key = await keys.create(second.id, name="k", scopes=["*"], user_id=ada)
    by_key = await keys.authenticate(key)
    assert by_key is not None
    assert [(one.id, one.role) for one in await orgs.mine(by_key)] == [(second.id, Role.ADMIN)]


async def test_orgs_are_made_by_owners_of_the_first_one(boss: Principal) -> None:
    second = await orgs.create("  Second\n org ", boss, token="crl_live_of_the_second_org")
    assert second.name == "Second org"
    full = await keys.authenticate("crl_live_of_the_second_org")
    assert full is not None
    assert (full.org_id, full.role, full.has("*")) == (second.id, Role.OWNER, True)
    with pytest.raises(Forbidden, match="first org"):
        await orgs.create("Third", full)
    with pytest.raises(Forbidden, match="first org"):
        await orgs.create("Third", await employ(boss.org_id, Role.ADMIN))
    assert await orgs.rename(second.id, "Renamed") == "Renamed"
    assert (await orgs.names(second.id, boss.user_id))[0] == "Renamed"


async def test_many_orgs_may_be_made_at_once(boss: Principal) -> None:
    made = await asyncio.gather(*[orgs.create(f"Org {number}", boss) for number in range(6)])
    assert len({one.id for one in made}) == 6


async def test_servers_of_the_version_before_go_on_working(boss: Principal) -> None:
    """They know neither members nor what was added to sign-ins, and read a person's role from `users`."""
    await fetch(
        "INSERT INTO users (id, org_id, name, role, created_at) VALUES ('old', $1, 'O', 'admin', 1)", boss.org_id
    )
    await fetch(
        "INSERT INTO sign_ins (hash, org_id, user_id, created_at, expires_at) VALUES ($1, $2, 'old', 1, now_ms() * 2)",
        keys.digest("old session"),
        boss.org_id,
    )
    found = await sign_in.authenticate("old session")
    assert found is not None
    assert found.role is Role.ADMIN
    (named,) = await fetch("SELECT id, means, address FROM sign_ins WHERE user_id = 'old'")
    assert (len(named["id"]), named["means"], named["address"]) == (36, "link", "")
    await people.change_role(boss.org_id, "old", Role.MEMBER, boss)
    assert (await fetch("SELECT role FROM users WHERE id = 'old'"))[0]["role"] == "member"
    second = await orgs.create("Second", boss)
    boss_there = await signed_in(boss.user_id or "", org_id=second.id)
    _, token = await invitations.create(boss_there, role=Role.VIEWER)
    await invitations.join(token, await signed_in("old"))
    assert (await fetch("SELECT org_id, role FROM users WHERE id = 'old'"))[0]["role"] == "member"
    await people.remove(boss.org_id, "old", boss)
    (kept,) = await fetch("SELECT org_id, role FROM users WHERE id = 'old'")
    assert (kept["org_id"], kept["role"]) == (second.id, "viewer")
