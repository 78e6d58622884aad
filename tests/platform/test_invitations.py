from __future__ import annotations

import asyncio

import pytest

from corral.base.errors import BadRequest, Conflict, Forbidden, NotFound, Unauthorized
from corral.platform import audit, invitations, keys, orgs, passwords, people, plans, revoking, sign_in
from corral.platform.access import Principal, Role
from corral.platform.audit import Only
from corral.platform.database import commit, fetch
from corral.platform.orgs import Bootstrapped
from corral.platform.plans import Plan, Plans
from corral.platform.settings import Settings
from corral.platform.sign_in import Visit
from tests.platform.team import employ, hire, signed_in

HERE = Visit("192.0.2.1", "a browser")
GOOD = "correct horse battery"


@pytest.fixture
async def boss(org: Bootstrapped) -> Principal:
    return await signed_in(org.owner_id)


async def accept(token: str, email: str = "new@example.com", password: str = GOOD, name: str = "New") -> Principal:
    session = await invitations.accept(token, name=name, email=email, password=password, visit=HERE)
    found = await sign_in.authenticate(session)
    assert found is not None
    return found


async def elsewhere(boss: Principal) -> Principal:
    """The same person, looking at another org of theirs."""
    second = await orgs.create("Second", boss)
    return await signed_in(boss.user_id or "", org_id=second.id)


async def test_who_is_invited_makes_an_account_and_is_signed_in(boss: Principal, settings: Settings) -> None:
    made, token = await invitations.create(boss, role=Role.ADMIN, email="New@Example.com")
    assert invitations.url(token, settings).endswith(f"/app/invitation#{token}")
    assert (made.status, made.email, made.invited_by) == ("open", "new@example.com", boss.actor)
    offer = await invitations.look(token)
    assert (offer.org, offer.role, offer.email, offer.has_account) == ("Corral", Role.ADMIN, "new@example.com", False)
    new = await accept(token)
    assert (new.org_id, new.role) == (boss.org_id, Role.ADMIN)
    over = await invitations.get(boss.org_id, made.id)
    assert (over.status, over.accepted_by) == ("accepted", new.user_id)
    assert await passwords.sign_in_with("new@example.com", GOOD, HERE)
    assert not await fetch("SELECT 1 FROM invitations WHERE hash = $1 OR id = $1", token)


async def test_an_invitation_works_once_however_many_come(boss: Principal) -> None:
    _, token = await invitations.create(boss, role=Role.MEMBER)
    results = await asyncio.gather(
        *[accept(token, email=f"new{number}@example.com") for number in range(5)], return_exceptions=True
    )
    assert len([one for one in results if isinstance(one, Principal)]) == 1
    assert len([one for one in results if isinstance(one, NotFound)]) == 4
    assert len(await people.page(boss.org_id, limit=10)) == 2
    assert len(await fetch("SELECT 1 FROM users")) == 2  # who came too late has no account either


async def test_one_that_is_over_lets_nobody_in(boss: Principal) -> None:
    made, token = await invitations.create(boss, role=Role.MEMBER)
    await fetch("UPDATE invitations SET expires_at = now_ms() - 1")
    assert (await invitations.get(boss.org_id, made.id)).status == "expired"
    for attempt in (accept(token), invitations.join(token, boss), invitations.look(token), accept("nonsense")):
        with pytest.raises(NotFound):
            await attempt
    revoked, other = await invitations.create(boss, role=Role.MEMBER)
    assert (await invitations.revoke(boss.org_id, revoked.id)).status == "revoked"
    assert (await invitations.revoke(boss.org_id, revoked.id)).status == "revoked"
    with pytest.raises(NotFound):
        await accept(other)


async def test_one_for_an_email_takes_nobody_with_another(boss: Principal) -> None:
    second = await orgs.create("Second", boss)
    there = await signed_in(boss.user_id or "", org_id=second.id)
    _, token = await invitations.create(there, role=Role.MEMBER, email="ada@example.com")
    eve = await signed_in(await hire(boss.org_id, email="eve@example.com"))
    for attempt in (accept(token, email="eve2@example.com"), invitations.join(token, eve)):
        with pytest.raises(Forbidden, match=r"ada@example\.com"):
            await attempt
    ada = await signed_in(await hire(boss.org_id, email="ada@example.com"))
    assert await invitations.join(token, ada) == second.id


async def test_who_has_an_account_shows_its_password(boss: Principal) -> None:
    hashed = await passwords.hashed_of(GOOD)
    ada = await hire(boss.org_id, email="ada@example.com", password=hashed)
    await people.remove(boss.org_id, ada, boss)
    with pytest.raises(Forbidden, match="no org"):
        await passwords.sign_in_with("ada@example.com", GOOD, HERE)
    _, token = await invitations.create(boss, role=Role.VIEWER, email="ada@example.com")
    assert (await invitations.look(token)).has_account
    with pytest.raises(Unauthorized):
        await accept(token, email="ada@example.com", password="somebody else's")
    back = await accept(token, email="ada@example.com")
    assert (back.user_id, back.role) == (ada, Role.VIEWER)


async def test_who_left_without_ever_having_a_password_comes_back_with_one(boss: Principal) -> None:
    ada = await hire(boss.org_id, email="ada@example.com")
    _, token = await invitations.create(await elsewhere(boss), role=Role.MEMBER, email="ada@example.com")
    with pytest.raises(
        Conflict, match="no password"
    ):  # they sign in by links, and whoever has this one may not be them
        await accept(token, email="ada@example.com")
    await people.remove(boss.org_id, ada, boss)
    await fetch("INSERT INTO identities (issuer, subject, user_id, created_at) VALUES ('i', 's', $1, 1)", ada)
    with pytest.raises(Conflict, match="no password"):
        await accept(token, email="ada@example.com")
    await fetch("DELETE FROM identities")
    assert (await accept(token, email="ada@example.com")).user_id == ada
    assert await passwords.sign_in_with("ada@example.com", GOOD, HERE)


async def test_who_is_in_the_org_does_not_use_up_what_is_for_others(boss: Principal) -> None:
    made, token = await invitations.create(boss, role=Role.MEMBER)
    with pytest.raises(Conflict, match="already"):
        await invitations.join(token, boss)
    assert (await invitations.get(boss.org_id, made.id)).status == "open"
    hired = await hire(boss.org_id, email="ada@example.com")
    with pytest.raises(Conflict, match="already"):
        await invitations.create(boss, role=Role.MEMBER, email="ada@example.com")
    assert hired


async def test_another_one_for_an_email_takes_the_place_of_the_first(boss: Principal) -> None:
    first, old = await invitations.create(boss, role=Role.MEMBER, email="ada@example.com")
    second, new = await invitations.create(boss, role=Role.VIEWER, email="ada@example.com")
    assert (await invitations.get(boss.org_id, first.id)).status == "revoked"
    with pytest.raises(NotFound):
        await invitations.look(old)
    assert (await invitations.look(new)).role is Role.VIEWER
    assert [one.id for one in await invitations.page(boss.org_id, limit=9, open_only=True)] == [second.id]
    assert [one.id for one in await invitations.page(boss.org_id, limit=9)] == [second.id, first.id]
    assert [one.id for one in await invitations.page(boss.org_id, limit=9, before=second.id)] == [first.id]
    (line,) = await audit.page(boss.org_id, Only(action="invitation.revoked"), limit=9)
    assert line.target_id == first.id


async def test_one_that_is_replaced_while_it_is_used_keeps_neither_waiting_for_the_other(boss: Principal) -> None:
    for number in range(20):
        email = f"new{number}@example.com"
        _, token = await invitations.create(boss, role=Role.MEMBER, email=email)
        used, made = await asyncio.gather(
            commit(invitations.use(token, f"{number}", email)),
            invitations.create(boss, role=Role.MEMBER, email=email),
            return_exceptions=True,
        )
        assert isinstance(used, (invitations.Invitation, NotFound))
        assert isinstance(made, tuple)


async def test_nobody_invites_above_their_own_role_and_the_loss_of_it_ends_what_they_made(boss: Principal) -> None:
    admin = await employ(boss.org_id, Role.ADMIN)
    assert admin.user_id
    with pytest.raises(Forbidden, match="above their own"):
        await invitations.create(admin, role=Role.OWNER)
    with pytest.raises(Forbidden):
        await invitations.create(await employ(boss.org_id), role=Role.VIEWER)
    with pytest.raises(BadRequest, match="days"):
        await invitations.create(admin, role=Role.MEMBER, days=31)
    mine, _ = await invitations.create(admin, role=Role.MEMBER)
    _, token = await keys.create(boss.org_id, name="k", scopes=["*"], by=admin)
    key = await keys.authenticate(token)
    assert key is not None
    by_key, _ = await invitations.create(key, role=Role.MEMBER)
    theirs, _ = await invitations.create(boss, role=Role.MEMBER)
    await people.change_role(boss.org_id, admin.user_id, Role.MEMBER, boss)
    left = {one.id: one.status for one in await invitations.page(boss.org_id, limit=9)}
    assert left == {mine.id: "revoked", by_key.id: "revoked", theirs.id: "open"}


async def test_a_key_that_is_revoked_takes_its_invitations_along_and_makes_none_any_more(
    boss: Principal,
) -> None:
    made, token = await keys.create(boss.org_id, name="k", scopes=["*"], by=boss)
    key = await keys.authenticate(token)
    assert key is not None
    used, accepted = await invitations.create(key, role=Role.VIEWER)
    await accept(accepted)
    opened, link = await invitations.create(key, role=Role.MEMBER)
    other, _ = await invitations.create(boss, role=Role.MEMBER)
    for _ in range(2):
        await revoking.revoke(boss.org_id, made.id)
    left = {one.id: one.status for one in await invitations.page(boss.org_id, limit=9)}
    assert left == {used.id: "accepted", opened.id: "revoked", other.id: "open"}
    with pytest.raises(NotFound):
        await accept(link, email="late@example.com")
    lines = await audit.page(boss.org_id, Only(), limit=2)
    assert [(line.action, line.target_id) for line in lines] == [
        ("invitation.revoked", opened.id),
        ("key.revoked", made.id),
    ]
    with pytest.raises(Forbidden, match="has been revoked"):  # it was recognised a moment before
        await invitations.create(key, role=Role.MEMBER)


async def test_an_owner_who_becomes_an_admin_invites_no_owners_any_more(boss: Principal) -> None:
    other = await employ(boss.org_id, Role.OWNER)
    assert other.user_id
    owner, _ = await invitations.create(other, role=Role.OWNER)
    member, _ = await invitations.create(other, role=Role.MEMBER)
    await people.change_role(boss.org_id, other.user_id, Role.ADMIN, boss)
    left = {one.id: one.status for one in await invitations.page(boss.org_id, limit=9)}
    assert left == {owner.id: "revoked", member.id: "open"}


async def test_invitations_of_another_org_are_not_there(boss: Principal) -> None:
    made, _ = await invitations.create(boss, role=Role.MEMBER)
    second = await orgs.create("Second", boss)
    assert await invitations.page(second.id, limit=9) == []
    for attempt in (invitations.get(second.id, made.id), invitations.revoke(second.id, made.id)):
        with pytest.raises(NotFound):
            await attempt
    with pytest.raises(BadRequest, match="before"):
        await invitations.page(second.id, limit=9, before=made.id)
    assert (await invitations.get(boss.org_id, made.id)).status == "open"


async def test_an_accepted_one_is_not_revoked_and_months_later_it_is_gone(boss: Principal) -> None:
    made, token = await invitations.create(boss, role=Role.MEMBER)
    await accept(token)
    with pytest.raises(Conflict, match="come in"):
        await invitations.revoke(boss.org_id, made.id)
    await invitations.sweep()
    assert len(await invitations.page(boss.org_id, limit=9)) == 1
    await fetch("UPDATE invitations SET expires_at = expires_at - $1", 100 * 24 * 3600 * 1000)
    await invitations.sweep()
    assert await invitations.page(boss.org_id, limit=9) == []


async def test_a_seat_is_a_person_or_an_open_invitation_and_a_plan_has_so_many(
    boss: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Plan("small", limits={"seats": 3})
    monkeypatch.setattr(plans, "_plans", Plans({"small": small}, small))
    tries = [invitations.create(boss, role=Role.MEMBER) for _ in range(5)]
    made = await asyncio.gather(*tries, return_exceptions=True)
    assert len([one for one in made if isinstance(one, tuple)]) == 2
    assert {one.message for one in made if isinstance(one, Forbidden)} == {
        "Your plan, small, allows 3 people and open invitations (seats), and you have reached that"
    }
    _, token = next(one for one in made if isinstance(one, tuple))
    new = await accept(token)  # who comes in takes the invitation's own seat
    assert new.user_id
    with pytest.raises(Forbidden, match="seats"):
        await invitations.create(boss, role=Role.MEMBER)
    await people.remove(boss.org_id, new.user_id, boss)
    await invitations.create(boss, role=Role.MEMBER, email="ada@example.com")
    await invitations.create(boss, role=Role.MEMBER, email="ada@example.com")  # in the place of the one before
    monkeypatch.setattr(plans, "_plans", Plans({"small": small}, Plan("tiny", limits={"seats": 1})))
    (ada, _) = await invitations.page(boss.org_id, limit=9, open_only=True)
    assert ada.email == "ada@example.com"
