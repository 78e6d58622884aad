"""Prices, in US dollars a million tokens."""

from __future__ import annotations

import msgspec

from corral.usage.periods import date_of
from corral.wire.prices import MILLION, Book, Price, Rates


class TierView(msgspec.Struct, kw_only=True):
    """What a request costs that is longer than a threshold: all of it."""

    above: int  #: tokens that it asks with, cached ones included
    input: float
    output: float
    cache_read: float
    cache_write: float


class PriceView(msgspec.Struct, kw_only=True):
    """What models of a name cost from a day on, in US dollars a million tokens."""

    model: str  #: a name, with * for any letters
    since: str | None = msgspec.field(name="from")  #: the first day, UTC; null: from ever
    input: float
    output: float
    cache_read: float
    cache_write: float
    tiers: list[TierView]
    builtin: bool  #: came with Corral; the org's own prices come before these


class PricesView(msgspec.Struct, kw_only=True):
    """All prices of an org, its own first."""

    version: int  #: what lines name that were computed with these
    prices: list[PriceView]


def prices_view(book: Book) -> PricesView:
    """Show an org's prices."""
    own = [_view(price, builtin=False) for price in book.own]
    return PricesView(version=book.version, prices=[*own, *(_view(price, builtin=True) for price in book.builtin)])


def _view(price: Price, *, builtin: bool) -> PriceView:
    return PriceView(
        model=price.model,
        since=None if price.since is None else date_of(price.since).isoformat(),
        tiers=[TierView(above=tier.above, **_dollars(tier.rates)) for tier in price.tiers],
        builtin=builtin,
        **_dollars(price.rates),
    )


def _dollars(rates: Rates) -> dict[str, float]:
    return {name: micros / MILLION for name, micros in msgspec.structs.asdict(rates).items()}
