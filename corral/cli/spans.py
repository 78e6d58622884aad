"""Spans of time as people type them: 30m, 12h, 30d, 8w."""

from __future__ import annotations

import re
from datetime import timedelta

from corral.cli.errors import Misused

_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def span(text: str, option: str) -> timedelta:
    """Return the span that was given to an option; Misused says what one looks like."""
    found = re.fullmatch(r"(\d{1,5})([mhdw])", text)
    if not found or not int(found[1]):
        raise Misused(f"--{option} {text} is not a time: it looks like 30m, 12h, 30d or 8w", field=option)
    return int(found[1]) * _UNITS[found[2]]
