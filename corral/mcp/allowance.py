"""How much an MCP server may send. What is well-behaved never comes near; what floods would keep the platform busy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NoReturn

from corral.base.errors import CorralError

#: A longer message is none: it is not waited for.
MOST_BYTES = 8 * 1024 * 1024
#: So many at once, and so many a second after that.
_MESSAGES, _MESSAGES_A_SECOND = 5_000, 500
_BYTES, _BYTES_A_SECOND = 64 * 1024 * 1024, 4 * 1024 * 1024


class Flooded(CorralError):
    """The MCP server sends more than anybody could read."""


class Allowance:
    """What is left to one connection."""

    def __init__(self, on_flood: Callable[[str], None]) -> None:
        """Take whom to tell, once, that it is used up."""
        self._on_flood = on_flood
        self._messages, self._bytes = float(_MESSAGES), float(_BYTES)
        self._since = time.monotonic()

    def take(self, size: int, messages: int = 0) -> None:
        """Count what came. Raises Flooded, then and for ever after."""
        now = time.monotonic()
        seconds, self._since = now - self._since, now
        self._messages = min(self._messages + seconds * _MESSAGES_A_SECOND, _MESSAGES) - messages
        self._bytes = min(self._bytes + seconds * _BYTES_A_SECOND, _BYTES) - size
        if self._messages < 0:
            self.flooded(f"it floods: more than {_MESSAGES:,} messages at once, or {_MESSAGES_A_SECOND} a second")
        if self._bytes < 0:
            self.flooded(f"it floods: more than {_BYTES >> 20} MB at once, or {_BYTES_A_SECOND >> 20} MB a second")

    def too_long(self) -> NoReturn:
        """Say that a message is longer than any may be."""
        self.flooded(f"it floods: a message of more than {MOST_BYTES >> 20} MB")

    def flooded(self, why: str) -> NoReturn:
        """Tell so, and raise Flooded."""
        self._messages = self._bytes = float("-inf")
        self._on_flood(why)
        raise Flooded(why)
