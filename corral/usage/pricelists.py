"""Price lists: the built-in one and each org's own, every version kept, so that each line's cost can be explained.

One sequence numbers the versions of all lists, so that a number names a pair: the org's newest list up to it, and the
newest built-in one (whose org is 0) up to it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from hashlib import sha256

import msgspec

from corral.base.errors import NotFound
from corral.platform import orgs
from corral.platform.database import Row, Unit, commit, fetch, many, sql
from corral.usage.prices import BUILTIN
from corral.wire.prices import Book, Price, Rates, Tier

BUILTIN_ORG = 0
#: Seconds that a book is believed without asking: another server's change takes so long.
_TRUSTED = 2.0

#: org → its book, and until when (monotonic) that is believed.
_books: dict[int, tuple[Book, float]] = {}


async def current(org_id: int) -> Book:
    """Return the prices an org reckons with now."""
    book, until = _books.get(org_id, (None, 0.0))
    if book is not None and until > time.monotonic():
        return book
    newest = await fetch(
        "SELECT org_id, max(version) AS version FROM price_lists WHERE org_id IN ($1, $2) GROUP BY org_id",
        BUILTIN_ORG, org_id,
    )  # fmt: skip
    versions = {row["org_id"]: int(row["version"]) for row in newest}
    if book is None or max(versions.values()) != book.version:
        if BUILTIN_ORG not in versions or book is None:  # once a process, which may bring a newer list
            versions[BUILTIN_ORG] = await commit(_insert(BUILTIN_ORG, BUILTIN, "corral"))
        version = max(versions.values())
        book = Book(version, await _prices(versions.get(org_id)), await _prices(versions[BUILTIN_ORG]))
    _books[org_id] = book, time.monotonic() + _TRUSTED
    return book


async def at(org_id: int, version: int) -> Book:
    """Return the prices of a version, as lines name it."""
    rows = await fetch(
        "SELECT org_id, max(version) AS version FROM price_lists WHERE org_id IN ($1, $2) AND version <= $3 "
        "GROUP BY org_id",
        BUILTIN_ORG,
        org_id,
        version,
    )
    versions = {row["org_id"]: int(row["version"]) for row in rows}
    if version not in versions.values():
        raise NotFound(f"There is no version {version} of the prices here")
    return Book(version, await _prices(versions.get(org_id)), await _prices(versions.get(BUILTIN_ORG)))


async def replace(org_id: int, prices: Sequence[Price], by: str) -> Book:
    """Set an org's own prices; the same ones again are no new version."""
    await current(org_id)  # the built-in list is there before the org's own
    await commit(_insert(org_id, prices, by))
    _books.pop(org_id, None)
    return await current(org_id)


def forget() -> None:
    """Drop what this process remembers, because the database behind it is another one now."""
    _books.clear()


def _insert(org_id: int, prices: Sequence[Price], by: str) -> Unit[int]:
    """Add a version, unless the newest is the same; return its number."""
    yield from orgs.lock(org_id or orgs.FIRST_ORG)  # one at a time
    fingerprint = sha256(msgspec.json.encode(prices)).hexdigest()
    newest = yield sql(
        "SELECT version, fingerprint FROM price_lists WHERE org_id = $1 ORDER BY version DESC LIMIT 1", org_id
    )
    if newest and newest[0]["fingerprint"] == fingerprint:
        return int(newest[0]["version"])
    rows = yield sql(
        "INSERT INTO price_lists (org_id, fingerprint, created_by, created_at) VALUES ($1, $2, $3, now_ms()) "
        "RETURNING version",
        org_id,
        fingerprint,
        by,
    )
    version = int(rows[0]["version"])
    yield many(
        "INSERT INTO prices (org_id, version, position, model, since, input, output, cache_read, cache_write, tiers) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        [
            (
                org_id, version, position, price.model, price.since, *msgspec.structs.astuple(price.rates),
                msgspec.json.encode(price.tiers).decode(),
            )
            for position, price in enumerate(prices)
        ],
    )  # fmt: skip
    return version


async def _prices(version: int | None) -> list[Price]:
    if version is None:
        return []
    rows = await fetch("SELECT * FROM prices WHERE version = $1 ORDER BY position", version)
    return [_price(row) for row in rows]


def _price(row: Row) -> Price:
    return Price(
        model=row["model"],
        rates=Rates(*(row[name] for name in Rates.__struct_fields__)),
        since=row["since"],
        tiers=msgspec.json.decode(row["tiers"], type=tuple[Tier, ...]),
    )
