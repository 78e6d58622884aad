"""Which price counts: the org's own before the built-in ones, the more exact, the later, the tier of the request."""

from __future__ import annotations

import pytest

from corral.usage.prices import BUILTIN
from corral.wire.events import Usage
from corral.wire.prices import Book, Price, Rates, Tier

TODAY = 20_781


def flat(dollars: float) -> Rates:
    return Rates(*[round(dollars * 1_000_000)] * 4)


def book(*own: Price) -> Book:
    return Book(7, own, BUILTIN)


def dollars(book: Book, model: str, day: int = TODAY) -> float | None:
    micros = book.cost(Usage("1", model, input_tokens=1_000_000), day)
    return None if micros is None else micros / 1_000_000


def test_a_model_that_nobody_knows_has_no_cost() -> None:
    assert dollars(book(), "some-model") is None
    assert dollars(book(Price("some-*", flat(3))), "some-model") == 3


def test_a_snapshots_date_and_a_chosen_window_do_not_hide_a_model() -> None:
    for name in ("claude-haiku-4-5", "claude-haiku-4-5-20251001", "claude-haiku-4-5-20251001[1m]"):
        assert dollars(book(), name) == 1


def test_an_own_price_wins_over_a_built_in_one_however_exact_that_is() -> None:
    assert dollars(book(Price("claude-*", flat(9))), "claude-haiku-4-5") == 9
    assert dollars(book(Price("gpt-*", flat(9))), "claude-haiku-4-5") == 1


def test_the_more_exact_name_wins() -> None:
    own = book(Price("*", flat(1)), Price("claude-*", flat(2)), Price("claude-haiku-*", flat(3)), Price("x", flat(4)))
    asked = [dollars(own, name) for name in ("other", "claude-opus-5", "claude-haiku-9", "x")]
    assert asked == [1, 2, 3, 4]


def test_a_price_counts_from_its_day_until_the_next() -> None:
    own = book(Price("m", flat(1)), Price("m", flat(2), since=TODAY), Price("m", flat(3), since=TODAY + 10))
    assert [dollars(own, "m", day) for day in (TODAY - 1, TODAY, TODAY + 9, TODAY + 10)] == [1, 2, 2, 3]
    later = book(Price("claude-haiku-4-5", flat(9), since=TODAY))
    assert [dollars(later, "claude-haiku-4-5", day) for day in (TODAY - 1, TODAY)] == [1, 9]


def test_a_longer_request_costs_what_its_tier_says_as_a_whole() -> None:
    tiers = (Tier(100, flat(10)), Tier(1000, flat(100)))
    own = book(Price("m", flat(1), tiers=tiers))
    micros = [own.cost(Usage("1", "m", input_tokens=tokens), TODAY) for tokens in (100, 101, 1000, 1001)]
    assert micros == [100, 1010, 10_000, 100_100]


def test_cached_input_counts_for_the_length_of_a_request() -> None:
    own = book(Price("m", flat(1), tiers=(Tier(100, flat(10)),)))
    line = Usage("1", "m", input_tokens=40, cache_read_tokens=40, cache_write_tokens=40, output_tokens=1000)
    assert own.cost(line, TODAY) == 11_200


def test_a_line_of_many_short_requests_is_none_of_a_long_one() -> None:
    own = book(Price("m", flat(1), tiers=(Tier(100, flat(10)),)))
    assert own.cost(Usage("1", "m", input_tokens=500, longest=100), TODAY) == 500
    assert own.cost(Usage("1", "m", input_tokens=500, longest=101), TODAY) == 5000


@pytest.mark.parametrize(("tokens", "micros"), [(0, 0), (1, 0), (4, 0), (5, 1), (14, 1), (15, 2)])
def test_what_is_computed_is_exact_and_rounded_once(tokens: int, micros: int) -> None:
    assert book(Price("m", flat(0.1))).cost(Usage("1", "m", input_tokens=tokens), TODAY) == micros


def test_what_counts_is_what_was_reported_and_else_what_is_computed() -> None:
    own = book(Price("m", flat(1)))
    lines = [Usage("1", "m", input_tokens=7), Usage("2", "m", 7, cost_micros=100), Usage("3", "unknown", 7)]
    assert own.counted(lines) == 107


def test_no_two_built_in_prices_are_of_the_same_name_and_day() -> None:
    assert len({(price.model, price.since) for price in BUILTIN}) == len(BUILTIN)
