from __future__ import annotations

import asyncio
import dataclasses
import threading
import time

import pytest
from argon2 import PasswordHasher

from corral.base.errors import BadRequest, Conflict, Forbidden, RateLimited, Unauthorized
from corral.platform import accounts, passwords, sign_in, throttle
from corral.platform.access import Principal
from corral.platform.database import commit, fetch
from corral.platform.orgs import Bootstrapped
from corral.platform.sign_in import Visit
from tests.platform.team import NOWHERE, hire, session, signed_in

HERE = Visit("192.0.2.1", "a browser")
FULL = passwords._hasher
GOOD = "correct horse battery"


@pytest.fixture(autouse=True)
def as_here() -> None:
    """Nobody's password is hashed as all others here; one test looks at what that takes elsewhere."""
    passwords._nobodys.cache_clear()


@pytest.fixture
async def ada(org: Bootstrapped) -> str:
    return await hire(org.org_id, email="ada@example.com", password=await passwords.hashed_of(GOOD))


async def enters(email: str, password: str, visit: Visit = HERE) -> bool:
    try:
        await passwords.sign_in_with(email, password, visit)
    except Unauthorized:
        return False
    return True


async def test_email_and_password_begin_a_session(org: Bootstrapped, ada: str) -> None:
    session = await passwords.sign_in_with("  Ada@Example.COM ", GOOD, HERE)
    found = await sign_in.authenticate(session)
    assert found is not None
    assert (found.user_id, found.org_id) == (ada, org.org_id)
    (stored,) = await fetch("SELECT means, address, agent FROM sign_ins WHERE user_id = $1", ada)
    assert tuple(stored) == ("password", "192.0.2.1", "a browser")


async def test_a_wrong_password_and_an_unknown_email_are_told_the_same(ada: str) -> None:
    told = set()
    for email, password in (("ada@example.com", "wrong"), ("eve@example.com", GOOD), ("ada@example.com", GOOD + "x")):
        with pytest.raises(Unauthorized) as refused:
            await passwords.sign_in_with(email, password, HERE)
        told.add(refused.value.message)
    assert len(told) == 1


async def test_who_has_no_password_enters_with_none(org: Bootstrapped) -> None:
    await hire(org.org_id, email="links@example.com")
    for guess in ("", " ", "None", "x" * 20):
        assert not await enters("links@example.com", guess)


async def test_an_unknown_email_takes_as_long_as_a_wrong_password(
    ada: str, monkeypatch: pytest.MonkeyPatch, org: Bootstrapped
) -> None:
    """Counted in verifications rather than in milliseconds, which another process may take."""
    verified: list[str] = []
    hasher = passwords._hasher

    class Counting:
        def verify(self, stored: str, password: str) -> bool:
            verified.append(stored.rpartition("$")[0].rpartition("$")[0])  # its kind and parameters
            return hasher.verify(stored, password)

        def hash(self, password: str) -> str:
            return hasher.hash(password)

    monkeypatch.setattr(passwords, "_hasher", Counting())
    await hire(org.org_id, email="links@example.com")
    for email in ("ada@example.com", "nobody@example.com", "links@example.com"):
        assert not await enters(email, "a wrong password")
    assert len(verified) == 3
    assert len(set(verified)) == 1


async def test_what_is_stored_is_argon2_of_full_strength() -> None:
    assert FULL.hash(GOOD).startswith("$argon2id$")
    assert (FULL.time_cost, FULL.memory_cost) >= (3, 65536)


async def test_hashing_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    others_had_turns = threading.Event()

    class Slow:
        def hash(self, _password: str) -> str:
            assert others_had_turns.wait(30)
            return "hashed"

    monkeypatch.setattr(passwords, "_hasher", Slow())
    work = asyncio.ensure_future(passwords.hashed_of(GOOD))
    for _ in range(50):
        await asyncio.sleep(0)
    others_had_turns.set()
    assert await work == "hashed"


@pytest.mark.parametrize(
    ("password", "told"),
    [
        ("short", "at least 10 characters, not 5"),
        ("ééééééééé", "not 9"),  # which has 18 bytes
        ("x" * 1025, "at most 1,024 bytes, not 1,025"),
        ("ü" * 600, "not 1,200"),
        ("half a pair \ud800", "must be text"),
    ],
)
async def test_a_password_that_nobody_should_have_is_refused_by_name(password: str, told: str) -> None:
    with pytest.raises(BadRequest, match=told) as refused:
        await passwords.hashed_of(password)
    assert refused.value.field == "password"


async def test_a_password_is_the_same_on_every_keyboard_and_no_longer_than_it_is(org: Bootstrapped) -> None:
    longest = "é" * 512
    await hire(org.org_id, email="e@example.com", password=await passwords.hashed_of(longest))
    assert await enters("e@example.com", "e\u0301" * 512)  # written as a letter and its accent
    assert not await enters("e@example.com", longest + "x")


async def test_what_is_long_is_refused_before_it_costs_anything() -> None:
    """Accents in the wrong order take as long as their number squared: minutes for what fits into a form."""
    endless = "e" + "\u0301\u0316" * 300_000
    began = time.process_time()
    with pytest.raises(BadRequest, match="email must have at most 254 characters"):
        accounts.email_of(f"{endless}@example.com")
    with pytest.raises(BadRequest, match="at most 1,024 bytes"):
        await passwords.hashed_of(endless)
    assert not await passwords._verified(None, endless)
    assert time.process_time() - began < 5


async def test_a_hash_by_older_parameters_is_renewed_when_its_password_is_shown(
    ada: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=2, memory_cost=128, parallelism=1))
    assert await enters("ada@example.com", GOOD)
    (stored,) = await fetch("SELECT password FROM users WHERE id = $1", ada)
    assert "m=128,t=2" in stored["password"]
    assert await enters("ada@example.com", GOOD)


async def test_a_new_password_ends_the_other_sign_ins_and_links(org: Bootstrapped, ada: str) -> None:
    mine, other = await session(ada), await session(ada)
    link = await sign_in.make_link(org.org_id, ada)
    me = await sign_in.authenticate(mine)
    assert me is not None
    assert await sign_in.authenticate(other) is not None
    await passwords.change(me, current=GOOD, new="a better one by far")
    assert sign_in.recall(other) is None
    assert await sign_in.authenticate(other) is None
    assert await sign_in.authenticate(mine) == me
    with pytest.raises(Unauthorized):
        await sign_in.redeem(link.token)
    assert await enters("ada@example.com", "a better one by far")
    assert not await enters("ada@example.com", GOOD)


async def test_a_new_password_needs_the_one_before(ada: str) -> None:
    me = await signed_in(ada)
    with pytest.raises(BadRequest, match="current"):
        await passwords.change(me, current=None, new="a better one by far")
    with pytest.raises(Forbidden, match="current"):
        await passwords.change(me, current="wrong", new="a better one by far")
    assert await enters("ada@example.com", GOOD)


async def test_guessing_at_the_password_before_is_throttled_too(ada: str) -> None:
    me = await signed_in(ada)
    for _ in range(throttle.OF_ACCOUNT):
        with pytest.raises(Forbidden):
            await passwords.change(me, current="wrong", new="a better one by far")
    with pytest.raises(RateLimited):
        await passwords.change(me, current=GOOD, new="a better one by far")


async def test_who_comes_by_a_link_sets_a_forgotten_password_anew(org: Bootstrapped, ada: str) -> None:
    token = await sign_in.redeem((await sign_in.make_link(org.org_id, ada)).token)
    me = await sign_in.authenticate(token)
    assert me is not None
    await fetch("UPDATE sign_ins SET created_at = created_at - $1", passwords.FRESH_MS)
    with pytest.raises(BadRequest, match="current"):
        await passwords.change(me, current=None, new="remembered again")
    await fetch("UPDATE sign_ins SET created_at = created_at + 60000")
    await passwords.change(me, current=None, new="remembered again")
    assert await enters("ada@example.com", "remembered again")


async def test_the_first_owner_gets_an_email_and_a_password(org: Bootstrapped, owner: Principal) -> None:
    """By the link of the first start, or by a full key."""
    me = await sign_in.authenticate(await sign_in.redeem((await sign_in.make_link(org.org_id, org.owner_id)).token))
    assert me is not None
    await accounts.change(org.owner_id, name="Grace", email="Grace@example.com")
    await passwords.change(owner, current=None, new="the first password")
    assert await sign_in.authenticate(await passwords.sign_in_with("grace@example.com", "the first password", HERE))
    assert await sign_in.authenticate("nothing") is None
    assert sign_in.recall("nothing") is None


async def test_a_password_that_is_changed_while_it_is_shown_lets_nobody_in(ada: str) -> None:
    recognised = await passwords.recognise("ada@example.com", GOOD, HERE)
    await passwords.change(await signed_in(ada), current=GOOD, new="a better one by far")
    with pytest.raises(Unauthorized):
        await commit(passwords._begin(recognised, "late", HERE))
    assert await sign_in.authenticate("late") is None


async def test_an_account_takes_ten_wrong_passwords_and_then_none_for_a_while(ada: str) -> None:
    for number in range(throttle.OF_ACCOUNT):
        assert not await enters("ada@example.com", "wrong", Visit(f"192.0.2.{number}"))
    with pytest.raises(RateLimited, match="this account") as refused:
        await enters("ADA@example.com", GOOD, Visit("198.51.100.1"))
    assert 0 < refused.value.retry_after <= throttle.WINDOW_MS / 1000
    await fetch("UPDATE sign_in_attempts SET started_at = started_at - $1", throttle.WINDOW_MS)
    assert await enters("ada@example.com", GOOD)


async def test_a_stranger_locks_nobody_out_where_they_are_signed_in(ada: str) -> None:
    home = Visit("2001:db8:1:2::7")
    await enters("ada@example.com", GOOD, home)
    for number in range(throttle.OF_ACCOUNT):
        assert not await enters("ada@example.com", "wrong", Visit(f"192.0.2.{number}"))
    with pytest.raises(RateLimited):
        await enters("ada@example.com", GOOD, Visit("198.51.100.1"))
    for number in range(throttle.OF_ACCOUNT):
        assert await enters("ada@example.com", GOOD, home)
        assert not await enters("ada@example.com", "wrong", Visit(f"2001:db8:1:2::{number}"))
    with pytest.raises(RateLimited, match="this account"):
        await enters("ada@example.com", GOOD, home)


async def test_who_knows_the_password_is_never_counted(ada: str) -> None:
    for _ in range(throttle.OF_ACCOUNT * 2):
        assert await enters("ada@example.com", GOOD)
    assert {row["count"] for row in await fetch("SELECT count FROM sign_in_attempts")} == {0}


async def test_a_try_that_nobody_looked_at_is_not_counted(ada: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_MOST_WAITING", 0)
    for _ in range(throttle.OF_ACCOUNT * 2):
        with pytest.raises(RateLimited, match="Very many people"):
            await enters("ada@example.com", GOOD)
        with pytest.raises(RateLimited, match="Very many people"):
            await passwords.change(await signed_in(ada), current=GOOD, new="a better one by far")
    monkeypatch.setattr(passwords, "_MOST_WAITING", 1)
    assert await enters("ada@example.com", GOOD)


async def test_an_account_that_nobody_has_is_throttled_as_one_that_somebody_has(settings: object) -> None:
    for _ in range(throttle.OF_ACCOUNT):
        assert not await enters("nobody@example.com", "wrong", NOWHERE)
    with pytest.raises(RateLimited):
        await enters("nobody@example.com", "wrong", NOWHERE)


async def test_an_address_that_tries_many_accounts_is_stopped_and_others_are_not(ada: str) -> None:
    for number in range(throttle.FROM_ADDRESS):
        assert not await enters(f"user{number}@example.com", "wrong", HERE)
    with pytest.raises(RateLimited, match="your address"):
        await enters("ada@example.com", GOOD, HERE)
    assert await enters("ada@example.com", GOOD, Visit("192.0.2.2"))


async def test_of_an_ipv6_network_all_addresses_are_one(settings: object) -> None:
    for number in range(throttle.FROM_ADDRESS):
        await throttle.enter(None, f"2001:db8::{number:x}")
    with pytest.raises(RateLimited):
        await throttle.enter(None, "2001:db8:0:0:ffff::1")
    await throttle.enter(None, "2001:db8:0:1::1")


async def test_tries_that_come_all_at_once_are_counted_one_by_one(settings: object) -> None:
    tries = [throttle.enter("ada@example.com", "") for _ in range(3 * throttle.OF_ACCOUNT)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert len([one for one in results if isinstance(one, list)]) == throttle.OF_ACCOUNT
    assert len([one for one in results if isinstance(one, RateLimited)]) == 2 * throttle.OF_ACCOUNT


async def test_neither_emails_nor_addresses_are_kept_to_count_them(ada: str) -> None:
    await enters("my-password-typed-into-the-wrong@field", "wrong")
    stored = str([tuple(row) for row in await fetch("SELECT * FROM sign_in_attempts")])
    assert "wrong@field" not in stored
    assert HERE.address not in stored
    await fetch("UPDATE sign_in_attempts SET started_at = started_at - $1", throttle.WINDOW_MS)
    await throttle.sweep()
    assert not await fetch("SELECT 1 FROM sign_in_attempts")


async def test_a_flood_of_sign_ins_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch, settings: object) -> None:
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1))
    began = time.monotonic()
    results = await asyncio.gather(*[passwords.hashed_of(GOOD) for _ in range(200)], return_exceptions=True)
    assert len([one for one in results if isinstance(one, str)]) == 64
    assert len([one for one in results if isinstance(one, RateLimited)]) == 136
    assert time.monotonic() > began
    assert await passwords.hashed_of(GOOD)


@pytest.mark.parametrize(
    "bad", ["", "ada", "@example.com", "ada@", "a@b@c", "a da@example.com", "a\n@b", "x" * 260 + "@b"]
)
async def test_what_is_no_email_is_refused(bad: str) -> None:
    with pytest.raises(BadRequest, match="email"):
        accounts.email_of(bad)


async def test_two_accounts_never_have_one_email(org: Bootstrapped, ada: str) -> None:
    other = await hire(org.org_id)
    with pytest.raises(Conflict, match="this email"):
        await accounts.change(other, email="ADA@example.com")
    with pytest.raises(Conflict):
        await hire(org.org_id, email="ada@example.com")
    assert dataclasses.asdict(await accounts.get(ada))["email"] == "ada@example.com"
