"""Waiting for a condition: with an end, and with a message that says what was seen last."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

import httpx

T = TypeVar("T")

_DAY = 86_400
#: Time zones are so many seconds apart, or a multiple of that.
_QUARTER = 900

#: Machines slower than two shared cores stretch all deadlines by this.
PATIENCE = float(os.environ.get("CORRAL_TEST_PATIENCE", "1"))


def eventually(condition: Callable[[], T], *, within: float = 30.0, what: str = "", every: float = 0.02) -> T:
    """Return the condition's first truthy value. Failed assertions, refusals and dropped connections count as not yet.

    What takes longer is looked at less often: a look may be a request, and tests wait beside tests that work.
    """
    deadline = time.monotonic() + within * PATIENCE
    seen: object = None
    while True:
        try:
            value = condition()
            if value:
                return value
            seen = value
        except (AssertionError, LookupError, OSError, httpx.HTTPError) as error:
            seen = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what or describe(condition)}\nlast seen: {seen!r}")
        time.sleep(every)
        every = max(every, min(every * 1.2, 0.2))


def until_after_midnight(within: float = 30.0, *, of_any_zone: bool = False) -> None:
    """Let midnight (UTC) pass if it comes so soon.

    What was done a moment ago is asked of servers as that of this day, week or month, and prices begin with one.
    """
    days = _QUARTER if of_any_zone else _DAY
    left = days - time.time() % days
    if left < within:
        time.sleep(left + 0.1)


def never(condition: Callable[[], object], *, during: float = 0.5, what: str = "", every: float = 0.03) -> None:
    """Fail as soon as the condition holds. For what must not happen; keep `during` short."""
    deadline = time.monotonic() + during
    while time.monotonic() < deadline:
        assert not condition(), f"happened, but must not: {what or describe(condition)}"
        time.sleep(every)


def describe(condition: Callable[[], object]) -> str:
    return getattr(condition, "__qualname__", repr(condition))
