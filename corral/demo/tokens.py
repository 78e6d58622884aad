"""Token counts: made up, but the same at each call and of a plausible size."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec


class Usage(msgspec.Struct, frozen=True):
    """What a request costs, in four classes that don't overlap."""

    input_tokens: int = 0  #: neither read from nor written to the cache
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0  #: all of it, the hour-long part included
    cache_write_1h_tokens: int = 0


def count(text: str) -> int:
    """About four characters a token."""
    return (len(text) + 3) // 4


def pieces(text: str, size: int) -> Iterator[str]:
    """The text cut after every `size` tokens."""
    step = 4 * max(1, size)
    for at in range(0, len(text), step):
        yield text[at : at + step]
