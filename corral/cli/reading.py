"""Texts that may be long: an argument, or standard input for `-`."""

from __future__ import annotations

import sys

from corral.cli.errors import Misused


def text_of(argument: str, field: str) -> str:
    """Return the text that was given; Misused if it is empty."""
    text = sys.stdin.read() if argument == "-" else argument
    if not text.strip():
        raise Misused(f"The {field} is empty", field=field)
    text.encode()  # raises for bytes that are no UTF-8, which arguments carry through
    return text
