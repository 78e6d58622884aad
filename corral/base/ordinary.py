"""Which stored values are masked where they appear, and which are too short or too ordinary for that.

A value of `SHORTEST` characters or more is masked, unless it has fewer than `LEAST_VARIETY` different characters (a
ruler, a row of zeros) or is one of the ordinary words below, which people store beside secrets as configuration. Of a
value of several lines each line of `SHORTEST_LINE` characters or more is masked on its own as well.
"""

from __future__ import annotations

import re
from collections.abc import Collection

SHORTEST = 8
SHORTEST_LINE = 16
LEAST_VARIETY = 4

_WORDS = frozenset(
    "production development staging localhost undefined disabled enabled required optional anonymous default"
    " password username postgres postgresql database anthropic openrouter openai-api warning critical"
    " bypasspermissions acceptedits claude-code application application/json text/plain text/html text/event-stream"
    " application/json;charset=utf-8 keep-alive no-cache gzip,deflate en_us.utf-8 c.utf-8 127.0.0.1 0.0.0.0"
    " 255.255.255.0 http://localhost https://localhost".split()
)
#: Regions of clouds, times and days, armour of PEM files.
_SHAPES = re.compile(
    r"(?:[a-z]{2}-(?:gov-)?(?:north|south|east|west|central){1,2}-?\d[a-z]?"
    r"|(?:us|eu|europe|asia|australia)-?(?:north|south|east|west|central){1,2}\d?"
    r"|\d{4}-\d\d-\d\d|-{3,}[A-Z ]*-{3,})"
)


def why_shown(value: str, known: Collection[str] = ()) -> str | None:
    """Return why a value is not masked, None if it is; `known` are values that are no secret here."""
    if len(value) < SHORTEST:
        return f"it is shorter than {SHORTEST} characters"
    if len(set(value)) < LEAST_VARIETY:
        return f"it has fewer than {LEAST_VARIETY} different characters"
    if value.casefold() in _WORDS or _SHAPES.fullmatch(value) or value in known:
        return "it is an ordinary word"
    return None


def pieces(value: str, known: Collection[str] = ()) -> list[str]:
    """Return what of a value is looked for: the whole of it, and its lines of length."""
    whole = value.strip()
    lines = [line.strip() for line in whole.splitlines()] if "\n" in whole or "\r" in whole else []
    looked_for = [whole, *(line for line in lines if len(line) >= SHORTEST_LINE)]
    return [piece for piece in dict.fromkeys(looked_for) if why_shown(piece, known) is None]
