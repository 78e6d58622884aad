"""Two people change the same thing at once: each is answered, and what is true of one after the other stays true."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from corral.base.ids import new_id
from corral.platform import (
    accounts,
    database,
    invitations,
    keys,
    orgs,
    passwords,
    people,
    plans,
    rates,
    repeats,
    sign_in,
    sign_ins,
)
from corral.platform.access import Principal, Role
from corral.platform.database import commit, fetch
from corral.platform.repeats import Begun
from corral.platform.settings import Settings
from corral.platform.sign_on import coming
from corral.platform.sign_on.options import SignOn
from corral.platform.sign_on.tokens import Identity
from corral.runs import admission
from corral.usage import alerts, budgets, meter
from corral.web.api import budgets as budgets_api
from corral.web.errors import meaning_of
from tests.platform.team import NOWHERE, hire, session, signed_in
from tests.support.interleaving import Act, Interleaving, interleaving

ACME = SignOn("https://id.example", "corral", "secret", name="Acme")
PASSWORD = "correct horse battery"
_numbers = itertools.count(1)


@dataclass
class Pair:
    """Two changes, and a statement without rows: what must not be afterwards."""

    first: Act
    second: Act
    none: str = ""


@dataclass
class House:
    """An org with its owner."""

    boss: Principal

    @property
    def org_id(self) -> int:
        return self.boss.org_id

    async def ada(self, **known: Any) -> Principal:
        return await signed_in(await hire(self.org_id, Role.ADMIN, **known), org_id=self.org_id)

    async def budget(self) -> budgets.Budget:
        whose = {"scope": "team", "target": f"Team {next(_numbers)}", "name": "B", "hard": False}
        given = {**whose, "limit_micros": 100, "period": "total", "tz": "UTC"}
        return await budgets.create(self.org_id, new_id(), self.boss.actor, given)


def stranger() -> Identity:
    return Identity(ACME.issuer, number := f"s-{next(_numbers)}", f"{number}@example.org", "Somebody")


async def role_and_removal(house: House) -> Pair:
    ada = await hire(house.org_id)
    return Pair(
        lambda: people.change_role(house.org_id, ada, Role.OWNER, house.boss),
        lambda: people.remove(house.org_id, ada, house.boss),
        f"SELECT 1 FROM members WHERE user_id = '{ada}'",
    )


async def two_removals(house: House) -> Pair:
    ada = await hire(house.org_id)
    return Pair(
        lambda: people.remove(house.org_id, ada, house.boss),
        lambda: people.remove(house.org_id, ada, house.boss),
        f"SELECT 1 FROM audit WHERE action = 'member.removed' AND target_id = '{ada}' HAVING count(*) <> 1",
    )


async def key_and_removal(house: House) -> Pair:
    ada = await house.ada()
    assert ada.user_id
    return Pair(
        lambda: keys.create(house.org_id, name="k", scopes=["*"], by=ada),
        lambda: people.remove(house.org_id, ada.user_id or "", house.boss),
        f"SELECT 1 FROM api_keys WHERE user_id = '{ada.user_id}' AND revoked_at IS NULL",
    )


async def link_and_removal(house: House) -> Pair:
    ada = await hire(house.org_id)
    link = await sign_in.make_link(house.org_id, ada)
    return Pair(
        lambda: sign_in.redeem(link.token),
        lambda: people.remove(house.org_id, ada, house.boss),
        f"SELECT 1 FROM sign_ins WHERE user_id = '{ada}'",
    )


async def link_and_new_password(house: House) -> Pair:
    ada = await house.ada()
    assert ada.user_id
    link = await sign_in.make_link(house.org_id, ada.user_id)
    return Pair(
        lambda: sign_in.redeem(link.token),
        lambda: passwords.change(ada, current=None, new=PASSWORD),
        f"SELECT 1 FROM sign_ins WHERE user_id = '{ada.user_id}' AND hash <> '{ada.sign_in}'",
    )


async def new_password_and_removal(house: House) -> Pair:
    ada = await house.ada()
    assert ada.user_id
    await sign_in.make_link(house.org_id, ada.user_id)
    return Pair(
        lambda: passwords.change(ada, current=None, new=PASSWORD),
        lambda: people.remove(house.org_id, ada.user_id or "", house.boss),
        f"SELECT 1 FROM sign_ins WHERE user_id = '{ada.user_id}'",
    )


async def switch_and_removal(house: House) -> Pair:
    ada = await house.ada()
    assert ada.user_id
    other = (await orgs.create("Other", house.boss)).id
    await commit(people.admit(other, ada.user_id, Role.VIEWER))
    return Pair(
        lambda: orgs.switch(ada, other),
        lambda: people.remove(other, ada.user_id or "", replace(house.boss, org_id=other)),
        f"SELECT 1 FROM sign_ins WHERE user_id = '{ada.user_id}' AND org_id = {other}",
    )


def comes(token: str, email: str) -> Act:
    return lambda: invitations.accept(token, name="Ada", email=email, password=PASSWORD, visit=NOWHERE)


async def one_invitation_twice(house: House) -> Pair:
    made, token = await invitations.create(house.boss, role=Role.MEMBER)
    return Pair(
        comes(token, f"a{next(_numbers)}@example.org"),
        comes(token, f"b{next(_numbers)}@example.org"),
        f"SELECT 1 FROM audit WHERE action = 'member.joined' AND at >= {made.created_at} HAVING count(*) <> 1",
    )


async def invitation_and_its_end(house: House) -> Pair:
    email = f"c{next(_numbers)}@example.org"
    made, token = await invitations.create(house.boss, role=Role.MEMBER, email=email)
    return Pair(
        comes(token, email),
        lambda: invitations.revoke(house.org_id, made.id),
        f"SELECT 1 FROM invitations WHERE id = '{made.id}' AND (accepted_at IS NULL) = (revoked_at IS NULL)",
    )


async def somebody_inside_and_their_role(house: House) -> Pair:
    email = f"d{next(_numbers)}@example.org"
    ada = await hire(house.org_id, email=email, password=await passwords.hashed_of(PASSWORD))
    _, token = await invitations.create(house.boss, role=Role.MEMBER)
    return Pair(comes(token, email), lambda: people.change_role(house.org_id, ada, Role.VIEWER, house.boss))


async def password_and_identity_of_who_was_left_behind(house: House) -> Pair:
    found = stranger()
    ada = await hire(house.org_id, email=found.email)
    await people.remove(house.org_id, ada, house.boss)
    _, one = await invitations.create(house.boss, role=Role.MEMBER)
    _, other = await invitations.create(house.boss, role=Role.MEMBER)
    return Pair(
        comes(one, found.email or ""),
        lambda: coming.accept(found, other, ACME, NOWHERE),
        f"SELECT 1 FROM users u JOIN identities i ON i.user_id = u.id WHERE u.id = '{ada}' AND password IS NOT NULL",
    )


async def somebody_unknown_twice(house: House) -> Pair:
    found = replace(stranger(), email=None)
    options = replace(ACME, join=Role.VIEWER, org=house.org_id)
    return Pair(
        lambda: coming.enter(found, options, NOWHERE),
        lambda: coming.enter(found, options, NOWHERE),
        f"SELECT 1 FROM identities WHERE subject = '{found.subject}' HAVING count(*) <> 1",
    )


async def two_ways_in_given_up(house: House) -> Pair:
    ada = await house.ada()
    for _ in range(2):
        await coming.connect(stranger(), ada, ACME)
    one, other = await coming.connected(ada.user_id or "")
    return Pair(
        lambda: coming.disconnect(ada, one.no),
        lambda: coming.disconnect(ada, other.no),
        f"SELECT 1 FROM identities WHERE user_id = '{ada.user_id}' HAVING count(*) = 0",
    )


async def one_sign_in_ended_twice(house: House) -> Pair:
    ada = await house.ada()
    await session(ada.user_id or "", org_id=house.org_id)
    other = next(one for one in await sign_ins.own(ada, limit=9) if not one.is_current)
    return Pair(lambda: sign_ins.end_own(ada, other.id), lambda: sign_ins.end_others(ada))


def told_twice(action: str, target: str) -> str:
    return f"SELECT 1 FROM audit WHERE action = '{action}' AND target_id = '{target}' HAVING count(*) > 1"


async def one_name_twice(house: House) -> Pair:
    ada = await hire(house.org_id)
    return Pair(
        lambda: accounts.change(ada, name="Ada L."),
        lambda: accounts.change(ada, name="Ada L."),
        told_twice("account.changed", ada),
    )


async def one_key_renamed_twice(house: House) -> Pair:
    key, _ = await keys.create(house.org_id, name="k", scopes=["*"], by=house.boss)
    return Pair(
        lambda: keys.change(house.org_id, key.id, {"name": "K"}),
        lambda: keys.change(house.org_id, key.id, {"name": "K"}),
        told_twice("key.changed", key.id),
    )


async def one_org_renamed_twice(house: House) -> Pair:
    org_id = (await orgs.create("New", house.boss)).id
    told = told_twice("org.changed", str(org_id))
    return Pair(lambda: orgs.rename(org_id, "Old"), lambda: orgs.rename(org_id, "Old"), told)


async def one_limit_set_twice(house: House) -> Pair:
    org_id = (await orgs.create("New", house.boss)).id
    told = told_twice("limits.changed", str(org_id))
    return Pair(lambda: rates.change(org_id, 5), lambda: rates.change(org_id, 5), told)


async def one_plan_given_twice(house: House) -> Pair:
    org_id = (await orgs.create("New", house.boss)).id
    told = told_twice("plan.changed", str(org_id))
    return Pair(lambda: plans.set_plan(org_id, "self-hosted"), lambda: plans.set_plan(org_id, "self-hosted"), told)


async def repeat_and_failure(house: House) -> Pair:
    key = f"key-{next(_numbers)}"
    begun = await repeats.begin(house.org_id, "/path", key, b"")
    assert isinstance(begun, Begun)
    return Pair(lambda: repeats.begin(house.org_id, "/path", key, b""), lambda: repeats.release(begun))


async def budget_shown_and_deleted(house: House) -> Pair:
    await house.budget()
    budget = await house.budget()

    async def gone() -> None:
        await budgets.remove(house.org_id, budget.id)
        meter.forget()
        await admission.look(house.org_id, budgets.known(house.org_id))

    return Pair(lambda: budgets_api.view(budget), gone)


Story = Callable[[House], Awaitable[Pair]]
STORIES: list[Story] = [
    role_and_removal,
    two_removals,
    key_and_removal,
    link_and_removal,
    link_and_new_password,
    new_password_and_removal,
    switch_and_removal,
    one_invitation_twice,
    invitation_and_its_end,
    somebody_inside_and_their_role,
    password_and_identity_of_who_was_left_behind,
    somebody_unknown_twice,
    two_ways_in_given_up,
    one_sign_in_ended_twice,
    one_name_twice,
    one_key_renamed_twice,
    one_org_renamed_twice,
    one_limit_set_twice,
    one_plan_given_twice,
    repeat_and_failure,
    budget_shown_and_deleted,
]


@pytest.fixture
async def between(tmp_path: Path, migrated_postgres_url: str) -> AsyncIterator[Interleaving]:
    await database.connect(Settings(data=tmp_path, database_url=migrated_postgres_url))
    for one in (keys, sign_in, budgets, meter, alerts):
        one.forget()
    async with interleaving(migrated_postgres_url) as found:
        yield found
    await database.disconnect()


async def test_of_two_changes_at_once_neither_breaks_wherever_the_other_comes_in(
    between: Interleaving, tmp_path: Path
) -> None:
    house = House(await signed_in((await orgs.bootstrap(Settings(data=tmp_path))).owner_id))
    wrong = []
    for story in STORIES:
        for at in itertools.count():
            pair = await story(house)
            answers = await between.run(at, pair.first, pair.second)
            if answers is None:
                break
            where = f"{story.__name__}, before statement {at}"
            failed = [one for one in answers if isinstance(one, Exception)]
            if len(failed) == 2 or any(meaning_of(one).status >= 500 for one in failed):
                wrong.append(f"{where}: {failed}")
            if pair.none and await fetch(pair.none):
                wrong.append(f"{where}: {pair.none}")
    assert not wrong, "\n".join(wrong)
