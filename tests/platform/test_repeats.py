from __future__ import annotations

import asyncio
import hmac
import uuid
from hashlib import sha256

import pytest

from corral.base.errors import Conflict
from corral.platform import repeats
from corral.platform.database import fetch
from corral.platform.repeats import Answered, Begun
from corral.platform.settings import Settings


async def begun(key: str = "k", body: bytes = b"body") -> Begun:
    found = await repeats.begin(1, "/path", key, body)
    assert isinstance(found, Begun)
    return found


async def test_a_repeat_is_answered_as_the_first_was(settings: Settings) -> None:
    first = await begun()
    await repeats.finish(first, status=201, answer='{"id":1}', content_type="application/json")
    assert await repeats.begin(1, "/path", "k", b"body") == Answered(201, "application/json", '{"id":1}')


async def test_another_body_another_path_and_another_org_are_other_requests(settings: Settings) -> None:
    first = await begun()
    await repeats.finish(first, status=200, answer="", content_type=None)
    with pytest.raises(Conflict, match="another body"):
        await repeats.begin(1, "/path", "k", b"other")
    assert isinstance(await repeats.begin(1, "/other", "k", b"body"), Begun)
    assert isinstance(await repeats.begin(2, "/path", "k", b"body"), Begun)


async def test_one_in_flight_is_a_conflict_until_its_server_is_taken_for_dead(settings: Settings) -> None:
    first = await begun()
    with pytest.raises(Conflict, match="in flight"):
        await repeats.begin(1, "/path", "k", b"body")
    await fetch("UPDATE repeatable_requests SET created_at = created_at - 61000")
    taken = await begun()
    assert taken.minted_id == first.minted_id
    await repeats.release(first)  # it was not dead, and has failed
    with pytest.raises(Conflict, match="in flight"):
        await repeats.begin(1, "/path", "k", b"body")


async def test_of_many_at_once_one_does_it(settings: Settings) -> None:
    results = await asyncio.gather(*[repeats.begin(1, "/path", "k", b"body") for _ in range(8)], return_exceptions=True)
    assert len([one for one in results if isinstance(one, Begun)]) == 1
    assert len([one for one in results if isinstance(one, Conflict)]) == 7


async def test_a_failed_request_frees_its_key(settings: Settings) -> None:
    await repeats.release(await begun())
    assert isinstance(await repeats.begin(1, "/path", "k", b"corrected"), Begun)


async def test_an_answer_that_is_not_kept_is_not_given_twice(settings: Settings) -> None:
    await repeats.finish(await begun(), status=201, answer=None, content_type="application/json")
    with pytest.raises(Conflict, match="secret"):
        await repeats.begin(1, "/path", "k", b"body")


async def test_after_a_day_a_key_is_new_again(settings: Settings) -> None:
    await repeats.finish(await begun(), status=200, answer="", content_type=None)
    await fetch("UPDATE repeatable_requests SET created_at = created_at - 86401000")
    assert isinstance(await repeats.begin(1, "/path", "k", b"other"), Begun)
    await fetch("UPDATE repeatable_requests SET created_at = created_at - 86401000")
    await repeats.sweep()
    assert not await fetch("SELECT 1 FROM repeatable_requests")


async def test_who_has_the_table_cannot_try_what_was_asked(settings: Settings) -> None:
    key, body = str(uuid.uuid4()), b'{"key":"PIN","value":"1234"}'
    await repeats.finish(await begun(key, body), status=200, answer="{}", content_type=None)
    (row,) = await fetch("SELECT * FROM repeatable_requests")
    stored = [str(part) for part in row]
    assert not any(key in part for part in stored)
    known = [b"", *(part.encode() for part in stored), *map(bytes.fromhex, (row["key"], row["body_hash"]))]
    assert row["body_hash"] not in {sha256(one + body).hexdigest() for one in known}
    assert row["body_hash"] not in {hmac.digest(one, body, "sha256").hex() for one in known}
