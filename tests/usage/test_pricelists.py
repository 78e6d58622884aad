"""Prices are versions: nothing that was recorded changes when they do, and each line says what it was computed by."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from corral.base.errors import NotFound
from corral.platform import database
from corral.runs.models import Run
from corral.usage import pricelists, reports
from corral.usage.prices import BUILTIN
from corral.usage.reports import Only
from corral.wire.events import EventType, Usage
from corral.wire.prices import Price, Rates, Tier
from tests.agents.office import Office, Work

ONE = Price("m", Rates(1_000_000, 2_000_000, 3_000_000, 4_000_000), since=20_000, tiers=(Tier(5, Rates(9, 9, 9, 9)),))
TWO = Price("m", Rates(7_000_000, 7_000_000, 7_000_000, 7_000_000))


async def versions() -> int:
    return int((await database.fetch("SELECT count(*) AS n FROM price_lists"))[0]["n"])


async def test_the_built_in_list_is_there_once_whoever_asks_first(office: Office) -> None:
    for _ in range(2):
        pricelists.forget()
        books = await asyncio.gather(*[pricelists.current(org) for org in (office.org_id, office.org_id + 1)])
        assert {book.version for book in books} == {books[0].version}
        assert all(book.builtin == BUILTIN and book.own == () for book in books)
    assert await versions() == 1


async def test_a_change_is_a_new_version_and_the_same_prices_again_are_none(office: Office) -> None:
    before = await pricelists.current(office.org_id)
    first = await pricelists.replace(office.org_id, [ONE], "user:me")
    assert (first.own, first.builtin) == ((ONE,), BUILTIN)
    assert first.version > before.version
    assert (await pricelists.replace(office.org_id, [ONE], "user:me")).version == first.version
    second = await pricelists.replace(office.org_id, [TWO, ONE], "user:me")
    assert second.version > first.version
    assert (await pricelists.current(office.org_id)).own == (TWO, ONE)
    assert (await pricelists.current(office.org_id + 1)).own == ()
    assert [book.own for book in [await pricelists.at(office.org_id, one.version) for one in (before, first)]] == [
        (),
        (ONE,),
    ]


async def test_prices_that_are_set_at_the_same_time_are_all_there(office: Office) -> None:
    some = [Price(f"m{n}", Rates(n, n, n, n)) for n in range(5)]
    await asyncio.gather(*(pricelists.put(office.org_id, price, "user:me") for price in some))
    assert sorted((await pricelists.current(office.org_id)).own, key=lambda one: one.model) == some
    await pricelists.put(office.org_id, msgspec.structs.replace(some[1], rates=ONE.rates), "user:me")
    book = await pricelists.drop(office.org_id, "m2", None, "user:me")
    assert {one.model: one.rates.input for one in book.own} == {"m0": 0, "m1": 1_000_000, "m3": 3, "m4": 4}
    with pytest.raises(NotFound):
        await pricelists.drop(office.org_id, "m2", None, "user:me")
    listed = await pricelists.versions(office.org_id, limit=100)
    assert listed[0].version == book.version
    assert [one.builtin for one in listed] == [False] * 7 + [True]
    assert [one.version for one in await pricelists.versions(office.org_id + 1, limit=100)] == [listed[-1].version]


async def test_another_orgs_version_is_none(office: Office) -> None:
    theirs = await pricelists.replace(office.org_id + 1, [ONE], "user:them")
    for version in (theirs.version, theirs.version + 100):
        with pytest.raises(NotFound):
            await pricelists.at(office.org_id, version)


async def test_a_newer_corrals_list_is_a_new_version(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    own = await pricelists.replace(office.org_id, [ONE], "user:me")
    pricelists.forget()
    monkeypatch.setattr(pricelists, "BUILTIN", (TWO,))
    newer = await pricelists.current(office.org_id)
    assert newer.version > own.version
    assert (newer.own, newer.builtin) == ((ONE,), (TWO,))
    assert (await pricelists.at(office.org_id, own.version)).builtin == BUILTIN


async def test_another_servers_change_is_heard_of(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    await pricelists.current(office.org_id)
    known = dict(pricelists._books)
    await pricelists.replace(office.org_id, [ONE], "user:me")
    pricelists._books.update(known)  # this server has not heard of it
    assert (await pricelists.current(office.org_id)).own == ()
    monkeypatch.setattr(pricelists, "_TRUSTED", 0.0)
    pricelists._books.update({org: (book, 0.0) for org, (book, _) in known.items()})
    assert (await pricelists.current(office.org_id)).own == (ONE,)


async def test_a_line_keeps_what_it_was_computed_by(office: Office) -> None:
    work = await office.at_work(await office.agent())
    old = await pricelists.replace(office.org_id, [ONE], "user:me")
    await spends(work, "1", model="m", input_tokens=1, output_tokens=1, cache_read_tokens=1, cache_write_tokens=1)
    new = await pricelists.replace(office.org_id, [TWO], "user:me")
    await spends(work, "1", model="m", input_tokens=1)  # sent again
    await spends(work, "2", model="m", input_tokens=1)
    await spends(work, "3", model="unknown", input_tokens=1)
    lines = await reports.lines(office.org_id, Only(run_id=work.run_id), limit=10)
    assert [(line.computed_micros, line.price_version) for line in lines] == [
        (None, None),
        (7, new.version),
        (10, old.version),
    ]


async def spends(work: Work, source: str, **usage: int | str) -> Run:
    await work.office.send(work.assignment, work.n + 1, EventType.AGENT_MESSAGE, usage=[Usage(source, **usage)])  # type: ignore[arg-type]
    work.n += 1
    return await work.office.run(work.run_id)
