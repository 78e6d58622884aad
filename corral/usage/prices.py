"""The built-in list of prices, as the makers published it in November 2026, in US dollars."""

from __future__ import annotations

from corral.wire.prices import MILLION, Price, Rates, Tier


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
