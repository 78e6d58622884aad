"""What models cost: entries with patterns, dates and tiers, and the book that finds the one that counts.

Rates are whole numbers, millionths of a US dollar a million tokens, so that what is computed from them is exact.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from datetime import date

import msgspec

from corral.wire.events import Usage

MILLION = 1_000_000
_EPOCH = date(1970, 1, 1)


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


class Book:
    """The prices an org reckons with: its own before the built-in ones, the more exact name before the other."""

    def __init__(self, version: int, own: Sequence[Price], builtin: Sequence[Price]) -> None:
        """Take the version that names both lists."""
        self.version = version
        self.own = tuple(own)
        self.builtin = tuple(builtin)
        self._ordered = [price for prices in (own, builtin) for price in sorted(prices, key=_exact_first)]
        self._patterns = [re.compile(_pattern(price.model)) for price in self._ordered]
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

    def counted(self, lines: Iterable[Usage]) -> int:
        """Return what lines count for today, in millionths: as reported, else computed; nothing if nobody knows."""
        today = time.time_ns() // 86_400_000_000_000
        return sum(self.cost(line, today) or 0 if line.cost_micros is None else line.cost_micros for line in lines)

    def _look_up(self, model: str, day: int) -> Price | None:
        name = _SUFFIX.sub("", model)
        for price, pattern in zip(self._ordered, self._patterns, strict=True):
            if (price.since is None or price.since <= day) and (pattern.fullmatch(model) or pattern.fullmatch(name)):
                return price
        return None


#: A snapshot's date and a chosen window, at the end of a name.
_SUFFIX = re.compile(r"(-20\d\d-?\d\d-?\d\d)?(\[\d+[km]\])?$")


def day_of(when: date) -> int:
    """Return a date as days since 1970."""
    return (when - _EPOCH).days


def date_of(day: int) -> date:
    """Return days since 1970 as a date."""
    return date.fromordinal(_EPOCH.toordinal() + day)


def _exact_first(price: Price) -> tuple[bool, int, int]:
    """Whole names, then patterns, those that say more first; of the same name the latest first."""
    return "*" in price.model, -len(price.model), -(price.since if price.since is not None else -1_000_000)


def _pattern(model: str) -> str:
    return ".*".join(re.escape(part) for part in model.split("*"))


# The built-in list, as the makers published it in November 2026, in US dollars.


def _rates(dollars_in: float, dollars_out: float, read: float, write: float) -> Rates:
    return Rates(*(round(dollars * MILLION) for dollars in (dollars_in, dollars_out, read, write)))


def _claude(dollars_in: float, dollars_out: float, read: float = 0.1) -> Rates:
    return _rates(dollars_in, dollars_out, dollars_in * read, dollars_in * 1.25)


def _gpt(dollars_in: float, dollars_out: float, read: float = 0.1, write: float = 1.0) -> Rates:
    return _rates(dollars_in, dollars_out, dollars_in * read, dollars_in * write)


def _long(dollars_in: float, dollars_out: float) -> tuple[Rates, Tier]:
    return _gpt(dollars_in, dollars_out), Tier(272_000, _gpt(dollars_in * 2, dollars_out * 1.5))


_LISTED: dict[str, Rates | tuple[Rates, Tier]] = {
    "claude-fable-5-1": _claude(10, 50, 0.025),
    "claude-mythos-5-1": _claude(10, 50, 0.025),
    "claude-fable-5": _claude(10, 50),
    "claude-mythos-5": _claude(10, 50),
    "claude-opus-5-5": _claude(4, 20, 0.05),
    "claude-opus-5": _claude(5, 25),
    "claude-opus-4-8": _claude(5, 25),
    "claude-opus-4-7": _claude(5, 25),
    "claude-opus-4-6": _claude(5, 25),
    "claude-opus-4-5": _claude(5, 25),
    "claude-sonnet-5-5": _claude(2, 10, 0.05),
    "claude-sonnet-5": _claude(2, 10),
    "claude-sonnet-4-6": _claude(3, 15),
    "claude-sonnet-4-5": _claude(3, 15),
    "claude-haiku-5-5": (_claude(0.1, 0.5), Tier(100_000, _claude(0.5, 2.5))),
    "claude-haiku-4-5": _claude(1, 5),
    "gpt-5.6-sol": _gpt(5, 30, write=1.25),
    "gpt-5.6-terra": _gpt(2.5, 15, write=1.25),
    "gpt-5.6-luna": _gpt(1, 6, write=1.25),
    "gpt-5.5": _long(5, 30),
    "gpt-5.4": _long(2.5, 15),
    "gpt-5.4-mini": _gpt(0.75, 4.5),
    "gpt-5.4-nano": _gpt(0.2, 1.25),
    "gpt-5.2": _gpt(1.75, 14),
    "gpt-5.1": _gpt(1.25, 10),
    "gpt-5": _gpt(1.25, 10),
    "gpt-5-mini": _gpt(0.25, 2),
    "gpt-5-nano": _gpt(0.05, 0.4),
    "gpt-4.1": _gpt(2, 8, 0.25),
    "gpt-4.1-mini": _gpt(0.4, 1.6, 0.25),
    "gpt-4.1-nano": _gpt(0.1, 0.4, 0.25),
}
BUILTIN = tuple(
    Price(model, listed) if isinstance(listed, Rates) else Price(model, listed[0], tiers=listed[1:])
    for model, listed in _LISTED.items()
)
