"""Who comes in by the provider, and as whom."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corral.base.errors import Conflict, Forbidden, NotFound
from corral.platform import accounts, audit, invitations, orgs, people, plans, sign_in
from corral.platform.access import Principal, Role
from corral.platform.audit import Only
from corral.platform.database import commit
from corral.platform.orgs import Bootstrapped
from corral.platform.plans import Plan, Plans
from corral.platform.sign_on import coming
from corral.platform.sign_on.errors import Refused
from corral.platform.sign_on.options import SignOn
from corral.platform.sign_on.tokens import Identity
from tests.platform import team

ACME = SignOn("https://id.example", "corral", "secret", name="Acme")
JOINED = replace(ACME, domains=("example.org",), join=Role.MEMBER)
ADA = Identity(ACME.issuer, "ada-7", "ada@example.org", "Ada")


async def came(found: Identity, options: SignOn = ACME) -> Principal:
    """Sign in by the provider, and return who that is."""
    return await seen(await coming.enter(found, options, team.NOWHERE))


async def seen(session: str) -> Principal:
    principal = await sign_in.authenticate(session)
    assert principal is not None
    return principal


async def test_an_account_is_found_by_its_email_once_and_by_the_identity_from_then_on(org: Bootstrapped) -> None:
    user_id = await team.hire(org.org_id, email=ADA.email)
    assert (await came(ADA)).user_id == user_id
    await accounts.change(user_id, email="ada.b@example.org")
    assert (await came(ADA)).user_id == user_id
    assert (await came(replace(ADA, email=None))).user_id == user_id
    assert [one.subject for one in await coming.connected(user_id)] == ["ada-7"]


async def test_an_email_that_passed_to_somebody_else_does_not_bring_them_into_the_account(org: Bootstrapped) -> None:
    await team.hire(org.org_id, email=ADA.email)
    await came(ADA)
    with pytest.raises(Refused, match="belongs to another identity at Acme"):
        await came(replace(ADA, subject="the-next-ada"))


async def test_an_account_that_somebody_made_with_anothers_email_does_not_get_what_that_person_is_given(
    owner: Principal,
) -> None:
    """They would be in it together: the one by the provider, the other by the password."""
    eve = await team.hire(owner.org_id, Role.VIEWER, password=team.UNKNOWN)
    await accounts.change(eve, email=ADA.email)
    with pytest.raises(Refused, match=r"There is an account with ada@example\.org and a password"):
        await came(ADA)
    elsewhere = await orgs.create("Elsewhere", owner)
    _, token = await invitations.create(replace(owner, org_id=elsewhere.id), role=Role.ADMIN, email=ADA.email)
    with pytest.raises(Refused, match="connect Acme in your profile"):
        await coming.accept(ADA, token, ACME, team.NOWHERE)
    assert [one.id for one in await people.page(elsewhere.id, limit=9)] == [owner.user_id]
    await coming.connect(ADA, await team.signed_in(eve), ACME)  # whose it is shows the password, once
    assert (await came(ADA)).user_id == eve


async def test_nobody_unknown_comes_in_unless_the_operator_says_so(org: Bootstrapped) -> None:
    with pytest.raises(Refused, match=r"Nobody here has the email ada@example\.org"):
        await came(ADA)
    with pytest.raises(Refused, match="has not verified your email"):
        await came(replace(ADA, email=None, has_unverified_email=True))
    ada = await came(ADA, JOINED)
    assert ada.role is Role.MEMBER
    assert ada.org_id == org.org_id
    assert (await people.get(org.org_id, ada.user_id or "")).name == "Ada"


async def test_who_is_in_several_orgs_comes_into_one_whose_plan_lets_them(
    owner: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, token = await invitations.create(owner, role=Role.MEMBER)
    user_id = (await seen(await coming.accept(ADA, token, ACME, team.NOWHERE))).user_id or ""
    elsewhere = await orgs.create("Elsewhere", owner)
    await commit(people.admit(elsewhere.id, user_id, Role.MEMBER))
    await team.session(user_id, org_id=elsewhere.id)
    assert (await came(ADA)).org_id == elsewhere.id
    free, full = Plan("free", features={"sso": False}), Plan("full")
    monkeypatch.setattr(plans, "_plans", Plans({"free": free, "full": full}, free))
    with pytest.raises(Forbidden, match="Your plan, free"):
        await came(ADA)
    await plans.set_plan(owner.org_id, "full")
    assert (await came(ADA)).org_id == owner.org_id


async def test_an_unverified_email_leads_to_no_account(org: Bootstrapped) -> None:
    await team.hire(org.org_id, email=ADA.email)
    with pytest.raises(Refused):
        await came(replace(ADA, email=None, has_unverified_email=True))


async def test_only_some_domains_come_in(org: Bootstrapped) -> None:
    user_id = await team.hire(org.org_id, email="eve@elsewhere.example")
    eve = Identity(ACME.issuer, "eve", "eve@elsewhere.example")
    assert (await came(eve)).user_id == user_id
    with pytest.raises(Refused, match="may not come in here"):
        await came(eve, JOINED)
    with pytest.raises(Refused, match="only some addresses"):
        await came(replace(eve, email=None), JOINED)


async def test_who_was_removed_does_not_come_back_by_the_provider(org: Bootstrapped, owner: Principal) -> None:
    ada = await came(ADA, JOINED)
    await people.remove(org.org_id, ada.user_id or "", owner)
    with pytest.raises(Forbidden, match="in no org any more"):
        await came(ADA, JOINED)


async def test_who_is_invited_by_the_email_that_the_provider_verified_comes_in(owner: Principal) -> None:
    made, _ = await invitations.create(owner, role=Role.ADMIN, email=ADA.email)
    with pytest.raises(Refused):
        await came(replace(ADA, email="bob@example.org"))
    ada = await came(ADA)
    assert ada.role is Role.ADMIN
    assert (await invitations.get(owner.org_id, made.id)).accepted_by == ada.user_id


async def test_an_invitation_makes_an_account_or_is_accepted_by_the_one_there_is(owner: Principal) -> None:
    _, token = await invitations.create(owner, role=Role.VIEWER)
    nameless = replace(ADA, email=None, name="")
    ada = await seen(await coming.accept(nameless, token, ACME, team.NOWHERE))
    assert ada.role is Role.VIEWER
    account = await accounts.get(ada.user_id or "")
    assert account.email is None
    (line,) = await audit.page(owner.org_id, Only(action="identity.connected"), limit=9)
    assert (line.actor, line.target_id) == (f"user:{ada.user_id}", ada.user_id)
    with pytest.raises(NotFound):
        await coming.accept(replace(ADA, subject="late", email=None), token, ACME, team.NOWHERE)
    _, again = await invitations.create(owner, role=Role.VIEWER)
    with pytest.raises(Conflict, match="in this org already"):
        await coming.accept(nameless, again, ACME, team.NOWHERE)
    assert (await came(nameless)).user_id == ada.user_id


async def test_an_invitation_for_another_email_is_refused_and_nothing_is_left_of_the_try(owner: Principal) -> None:
    _, token = await invitations.create(owner, role=Role.VIEWER, email="bob@example.org")
    for email in (ADA.email, None):
        with pytest.raises(Forbidden, match=r"for bob@example\.org"):
            await coming.accept(replace(ADA, email=email), token, ACME, team.NOWHERE)
    assert await accounts.find("ada@example.org") is None


async def test_an_identity_is_connected_with_one_account_and_taken_from_it(org: Bootstrapped) -> None:
    ada, bob = await team.employ(org.org_id), await team.employ(org.org_id)
    await coming.connect(ADA, ada, ACME)
    await coming.connect(ADA, ada, ACME)
    with pytest.raises(Conflict, match="Somebody else"):
        await coming.connect(ADA, bob, ACME)
    (one,) = await coming.connected(ada.user_id or "")
    assert (await came(ADA)).user_id == ada.user_id
    with pytest.raises(NotFound):
        await coming.disconnect(bob, one.no)
    with pytest.raises(Conflict, match="could not sign in"):
        await coming.disconnect(ada, one.no)
    await coming.connect(replace(ADA, subject="ada-8"), ada, ACME)
    await coming.disconnect(ada, one.no)
    with pytest.raises(Refused):
        await came(ADA)
