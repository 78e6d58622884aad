"""What models cost: prices with patterns, dates and tiers, and the book that finds the one that counts.

Rates are whole numbers, millionths of a US dollar a million tokens, so that what is computed from them is exact.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence

import msgspec

from corral.wire.events import Usage

MILLION = 1_000_000


class Rates(msgspec.Struct, frozen=True):
    """Millionths of a dollar a million tokens."""

    input: int
    output: int
    cache_read: int
    cache_write: int

    def cost(self, input: int, output: int, cache_read: int, cache_write: int) -> int:
        """Return what these tokens cost in millionths of a dollar, rounded half up."""
        exact = (
            input * self.input + output * self.output + cache_read * self.cache_read + cache_write * self.cache_write
        )
        return (exact + MILLION // 2) // MILLION


class Tier(msgspec.Struct, frozen=True):
    """What a request costs that is longer than a threshold: all of it, not only what is above."""

    above: int  #: tokens that it asks with, cached ones included
    rates: Rates


class Price(msgspec.Struct, frozen=True):
    """What models of a name cost from a day on."""

    model: str  #: a model's name, with * for any letters
    rates: Rates
    since: int | None = None  #: days since 1970; None: from ever
    tiers: tuple[Tier, ...] = ()  #: by threshold, lowest first

    def of(self, asked: int) -> Rates:
        """Return the rates of a request that asks with so many tokens."""
        rates = self.rates
        for tier in self.tiers:
            if asked > tier.above:
                rates = tier.rates
        return rates


class Prices:
    """Prices in the order in which they count."""

    def __init__(self, ordered: Iterable[Price]) -> None:
        """Take them in that order."""
        self.ordered = tuple(ordered)
        self._patterns = [re.compile(_pattern(price.model)) for price in self.ordered]
        self._found: dict[tuple[str, int], Price | None] = {}

    def find(self, model: str, day: int) -> Price | None:
        """Return the price of a model on a day (since 1970); None if nobody knows: better none than a wrong one."""
        key = (model, day)
        if key not in self._found:
            if len(self._found) > 10_000:  # names come from runners
                self._found.clear()
            self._found[key] = self._look_up(model, day)
        return self._found[key]

    def cost(self, line: Usage, day: int) -> int | None:
        """Return what a line's tokens cost in millionths of a dollar, None if nobody knows."""
        price = self.find(line.model, day)
        if price is None:
            return None
        asked = line.input_tokens + line.cache_read_tokens + line.cache_write_tokens
        rates = price.of(asked if line.longest is None else line.longest)
        return rates.cost(line.input_tokens, line.output_tokens, line.cache_read_tokens, line.cache_write_tokens)

    def counted(self, lines: Iterable[Usage], day: int | None = None) -> int:
        """Return what lines count for (today), in millionths: as reported, else computed; nothing if nobody knows."""
        on = time.time_ns() // 86_400_000_000_000 if day is None else day
        return sum(self.cost(line, on) or 0 if line.cost_micros is None else line.cost_micros for line in lines)

    def _look_up(self, model: str, day: int) -> Price | None:
        name = _SUFFIX.sub("", model)
        for price, pattern in zip(self.ordered, self._patterns, strict=True):
            if (price.since is None or price.since <= day) and (pattern.fullmatch(model) or pattern.fullmatch(name)):
                return price
        return None


class Book(Prices):
    """The prices an org reckons with: its own before the built-in ones, the more exact name before the other."""

    def __init__(self, version: int, own: Sequence[Price], builtin: Sequence[Price]) -> None:
        """Take the version that names both lists."""
        super().__init__(price for prices in (own, builtin) for price in sorted(prices, key=_exact_first))
        self.version = version
        self.own = tuple(own)
        self.builtin = tuple(builtin)


#: A snapshot's date and a chosen window, at the end of a name.
_SUFFIX = re.compile(r"(-20\d\d-?\d\d-?\d\d)?(\[\d+[km]\])?$")


def _exact_first(price: Price) -> tuple[bool, int, int]:
    """Whole names, then patterns, those that say more first; of the same name the latest first."""
    return "*" in price.model, -len(price.model), -(price.since if price.since is not None else -1_000_000)


def _pattern(model: str) -> str:
    return ".*".join(re.escape(part) for part in model.split("*"))
