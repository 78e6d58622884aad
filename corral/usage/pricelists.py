"""Price lists: the built-in one and each org's own, every version kept, so that each line's cost can be explained.

One sequence numbers the versions of all lists, so that a number names a pair: the org's newest list up to it, and the
newest built-in one (whose org is 0) up to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from hashlib import sha256

import msgspec

from corral.base.errors import BadRequest, NotFound
from corral.platform import audit, orgs
from corral.platform.database import Row, Unit, commit, fetch, many, sql
from corral.usage.periods import date_of
from corral.usage.prices import BUILTIN
from corral.wire.prices import Book, Price, Rates, Tier

BUILTIN_ORG = 0
#: Prices of its own that an org may have.
OWN_MOST = 1000
#: Seconds that a book is believed without asking: another server's change takes so long.
_TRUSTED = 2.0

#: org → its book, and until when (monotonic) that is believed.
_books: dict[int, tuple[Book, float]] = {}


async def current(org_id: int) -> Book:
    """Return the prices an org reckons with; another server's change may be two seconds late."""
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
    held, _ = _books.get(org_id, (None, 0.0))
    if held is not None and held.version > book.version:  # somebody changed them meanwhile, and looked after us
        return held
    _books[org_id] = book, time.monotonic() + _TRUSTED
    return book


async def newest(org_id: int) -> Book:
    """Return an org's prices as they are now, whichever server they were changed at."""
    if org_id in _books:
        _books[org_id] = _books[org_id][0], 0.0
    return await current(org_id)


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


async def put(org_id: int, price: Price, by: str) -> Book:
    """Set one of an org's own prices, in the place of the one of the same name from the same day."""

    def change(own: list[Price]) -> list[Price]:
        changed = [price if _name(one) == _name(price) else one for one in own]
        if price not in changed:
            changed.append(price)
        if len(changed) > OWN_MOST:
            raise BadRequest(f"model: an org may have {OWN_MOST:,} prices of its own; remove some first", field="model")
        return changed

    return await _change(org_id, change, by)


async def drop(org_id: int, model: str, since: int | None, by: str) -> Book:
    """Take one of an org's own prices back."""

    def change(own: list[Price]) -> list[Price]:
        left = [one for one in own if _name(one) != (model, since)]
        if len(left) == len(own):
            when = "" if since is None else f" from {date_of(since)}"
            raise NotFound(f"There is no price of your own for {model}{when}; somebody else may have removed it")
        return left

    return await _change(org_id, change, by)


class Version(msgspec.Struct, frozen=True):
    """A version of the prices: of the org's own, or of the built-in ones."""

    version: int
    builtin: bool
    created_by: str
    created_at: int


async def versions(org_id: int, *, limit: int) -> list[Version]:
    """Return the versions that an org's lines may name, newest first."""
    rows = await fetch(
        "SELECT version, org_id, created_by, created_at FROM price_lists WHERE org_id IN ($1, $2) "
        "ORDER BY version DESC LIMIT $3",
        BUILTIN_ORG, org_id, limit,
    )  # fmt: skip
    return [Version(row["version"], row["org_id"] == BUILTIN_ORG, row["created_by"], row["created_at"]) for row in rows]


def forget() -> None:
    """Drop what this process remembers, because the database behind it is another one now."""
    _books.clear()


async def _change(org_id: int, change: Callable[[list[Price]], list[Price]], by: str) -> Book:
    """Make the next version out of the newest one, whoever else is about to."""

    def unit() -> Unit[None]:
        yield from orgs.lock(org_id)
        rows = yield sql(
            "SELECT * FROM prices WHERE version = (SELECT max(version) FROM price_lists WHERE org_id = $1) "
            "ORDER BY position",
            org_id,
        )
        yield from _insert(org_id, change([_price(row) for row in rows]), by)

    await current(org_id)  # the built-in list is there before the org's own
    await commit(unit())
    _books.pop(org_id, None)
    return await current(org_id)


def _name(price: Price) -> tuple[str, int | None]:
    return price.model, price.since


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
    if org_id != BUILTIN_ORG:
        yield from audit.note(org_id, "prices.changed", "prices", str(version), prices=len(prices))
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
