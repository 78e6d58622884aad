"""What models cost, in US dollars a million tokens, as their makers listed it in November 2026.

A model that is not here has no known cost: better none than a wrong one.
"""

from __future__ import annotations

import re

import msgspec

from corral.providers.provider import Spent


class Rates(msgspec.Struct, frozen=True):
    """Dollars a million tokens."""

    input: float
    output: float
    cache_read: float
    cache_write: float


class Price(msgspec.Struct, frozen=True):
    """A model's rates, and those of requests longer than a threshold, where they differ."""

    rates: Rates
    longer_than: int | None = None
    long_rates: Rates | None = None


def _claude(dollars_in: float, dollars_out: float, read: float = 0.1) -> Price:
    return Price(Rates(dollars_in, dollars_out, dollars_in * read, dollars_in * 1.25))


def _gpt(dollars_in: float, dollars_out: float, read: float = 0.1, write: float = 1.0) -> Price:
    return Price(Rates(dollars_in, dollars_out, dollars_in * read, dollars_in * write))


def _gpt_long(dollars_in: float, dollars_out: float) -> Price:
    return Price(_gpt(dollars_in, dollars_out).rates, 272_000, _gpt(dollars_in * 2, dollars_out * 1.5).rates)


_PRICES = {
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
    "claude-haiku-5-5": Price(_claude(0.1, 0.5).rates, 100_000, _claude(0.5, 2.5).rates),
    "claude-haiku-4-5": _claude(1, 5),
    "gpt-5.6-sol": _gpt(5, 30, write=1.25),
    "gpt-5.6-terra": _gpt(2.5, 15, write=1.25),
    "gpt-5.6-luna": _gpt(1, 6, write=1.25),
    "gpt-5.5": _gpt_long(5, 30),
    "gpt-5.4": _gpt_long(2.5, 15),
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
#: A snapshot's date, at the end of a name.
_DATE = re.compile(r"-20\d\d-?\d\d-?\d\d$")


def cost_micros(model: str, spent: Spent) -> int | None:
    """Return what was spent in millionths of a dollar, None if nobody knows."""
    if spent.cost_micros is not None:
        return spent.cost_micros
    price = _PRICES.get(_DATE.sub("", model))
    if price is None:
        return None
    is_long = price.longer_than is not None and spent.asked > price.longer_than
    rates = price.long_rates if is_long and price.long_rates else price.rates
    return round(
        spent.input_tokens * rates.input
        + spent.output_tokens * rates.output
        + spent.cache_read_tokens * rates.cache_read
        + spent.cache_write_tokens * rates.cache_write
    )
