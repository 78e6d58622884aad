"""Which stored values are masked where they appear, and which are too short or too ordinary for that.

A value of `SHORTEST` characters or more is masked, unless it has fewer than `LEAST_VARIETY` different characters (a
ruler, a row of zeros) or is one of the ordinary words below, which people store beside secrets as configuration. Of a
value of several lines each line, and of one that is JSON each text, of `SHORTEST_LINE` characters or more is masked on
its own as well.
"""

from __future__ import annotations

import re
from collections.abc import Collection

import msgspec

SHORTEST = 8
SHORTEST_LINE = 16
LEAST_VARIETY = 4

_WORDS = frozenset(
    "production development staging localhost undefined disabled enabled required optional anonymous default"
    " password username postgres postgresql database anthropic openrouter openai-api warning critical"
    " question thinking completed cancelled bypasspermissions acceptedits claude-code keep-alive no-cache gzip,deflate"
    " application application/json application/json;charset=utf-8 text/plain text/html text/event-stream en_us.utf-8"
    " c.utf-8 127.0.0.1 0.0.0.0 255.255.255.0 http://localhost https://localhost".split()
)
#: Regions of clouds, times and days, armour of PEM files, names of models.
_SHAPES = re.compile(
    r"(?:[a-z]{2}-(?:gov-)?(?:north|south|east|west|central){1,2}-?\d[a-z]?"
    r"|(?:us|eu|europe|asia|australia)-?(?:north|south|east|west|central){1,2}\d?"
    r"|\d{4}-\d\d-\d\d|-{3,}[A-Z ]*-{3,}"
    r"|(?:[a-z-]{3,12}/)?(?:claude|gpt|gemini|llama|mistral|deepseek|qwen|grok)-[a-z\d]{1,8}(?:[.:-][a-z\d]{1,8}){0,4})"
)


#: Variables and headers that hold what nobody is to read, and addresses with a password.
_CREDENTIAL = re.compile(
    r"(?:^|[_.-])(?:KEYS?|TOKEN|SECRET|PASSWORD|PASSWD|PASS|CREDENTIALS?|AUTHORIZATION|COOKIE)(?:[_-]|$)", re.IGNORECASE
)
_WITH_PASSWORD = re.compile(r"\w+://[^/?#]*@")


def is_credential(name: str, value: str) -> bool:
    """Tell whether a setting looks like a secret, though nobody has stored it as one."""
    return bool(_CREDENTIAL.search(name) or _WITH_PASSWORD.match(value))


def why_shown(value: str, known: Collection[str] = ()) -> str | None:
    """Return why a value is not masked, None if it is; `known` are values that are no secret here."""
    if len(value) < SHORTEST:
        return f"it is shorter than {SHORTEST} characters"
    if len(set(value)) < LEAST_VARIETY:
        return f"it has fewer than {LEAST_VARIETY} different characters"
    if value.casefold() in _WORDS or _SHAPES.fullmatch(value) or value in known:
        return "it is an ordinary word"
    return None


def warning(value: str) -> str | None:
    """Say what is worth knowing of a value that is stored as a secret and will not be masked; None if it will."""
    if pieces(value):
        return None
    return f"The value is not masked where agents print it: {why_shown(value.strip())}"


def pieces(value: str, known: Collection[str] = ()) -> list[str]:
    """Return what of a value is looked for: the whole of it first, and its lines, or of JSON its texts, of length."""
    whole = value.strip()
    texts = _texts(whole)
    looked_for = [whole]
    for text in [whole] if texts is None else texts:
        looked_for += [part for part in (text, *map(str.strip, text.splitlines())) if len(part) >= SHORTEST_LINE]
    return [piece for piece in dict.fromkeys(looked_for) if why_shown(piece, known) is None]


def _texts(value: str) -> list[str] | None:
    """Return the texts in a value that is JSON: tools print one of them without the others. None if it is not."""
    if not value.startswith(("{", "[")):
        return None
    try:
        waiting = [msgspec.json.decode(value.encode(errors="replace"))]
    except (msgspec.DecodeError, RecursionError):
        return None
    found = []
    while waiting:
        match waiting.pop():
            case str() as text:
                found.append(text.strip())
            case dict() as some:
                waiting += some.values()
            case list() as some:
                waiting += some
    return found
