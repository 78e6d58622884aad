"""Tell quickly that a text holds no value at all, which is so nearly always.

A text is looked through without what quoting and wrapping put between its characters: backslashes, quotes, white space
and the letters of its escapes, and what separates groups. So a value stands there in one piece, however it is quoted.
Of each way to write it one region is remembered, so long that, wherever it stands, one of the words at every `stride`th
byte lies inside of it; it is enough to look these few words up. Of an encoding of a whole value all pieces are
remembered, so that any longer part of it is found, between the line numbers of a file that is shown.
"""

from __future__ import annotations

import html
import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from urllib.parse import quote, quote_plus

import msgspec

from corral.base.spellings import aligned

_DROPPED = b"\\'\"nrt \t\r\n,:-"
_WORD = 4
_STRIDES = (16, 8, 4)
_PIECE = 8
_SHORT_PIECE = _STRIDES[-1] + _WORD - 1
#: What looking up a word costs, by what it costs to search a byte for a text.
_LOOKUP = 20
#: So many characters at a value's beginning are enough of what is long: as it is, and encoded. Of any, so many.
_ENOUGH, _ENOUGH_ENCODED, _HEAD = 256, 96, 24
#: What the usual percent encodings leave as it is, beside letters and digits.
_SAFE = ("", "/", "!'()*~", ";/?:@&=+$,#!'()*~", "*")
#: What quoting for URLs, and JSON that is safe in HTML, write as well where they are strict.
_STRICT = {ord(one): f"%{ord(one):02X}" for one in "-._~"}
_IN_HTML = {ord(one): f"\\u{ord(one):04x}" for one in "<>&"}
_ANY = "surrogatepass"
_BACKSLASHED = re.compile(r"[^\w@%+=:./-]")
_PERCENT = re.compile(r"%[0-9A-F]{2}")
#: What no escape changes.
_RUN = re.compile(r"[0-9A-Za-z]+")
#: So much of that is enough for most strides, and so much where there are more than a few ways to write the value.
_RUN_ENOUGH, _RUN_LEAST, _FEW = _STRIDES[1] + _WORD - 1, 6, 16


class Sieve:
    """All regions of some values, by their words."""

    def __init__(self, values: Collection[str], lines: Collection[str] = ()) -> None:
        """Remember the regions of these values, and of lines of them."""
        plain = {way for value in (*values, *lines) for way in _plain(value)}
        plain.update(reduced(text) for line in lines for text in encodings(line[:_HEAD]))
        encoded = {reduced(text) for value in values for text in encodings(value[:_ENOUGH_ENCODED])}
        self._stride = _stride([len(way) for way in plain], map(len, encoded))
        self._least = min(map(len, plain), default=0)
        length = self._stride + _WORD - 1
        #: What is too short for a region is looked for as it is.
        self._short = tuple(way for way in plain if len(way) < length)
        found: dict[int, set[bytes]] = defaultdict(set)
        for region in (_region(way, length) for way in plain if len(way) >= length):
            for at in range(self._stride):
                found[_word(region, at)].add(region)
        for piece in (piece for text in encoded for piece in _pieces(text, self._stride)):
            for at in range(1 if len(piece) == _PIECE else self._stride):
                found[_word(piece, at)].add(piece)
        self._regions = {word: tuple(some) for word, some in found.items()}
        self._known = frozenset(self._regions)

    def may_hold(self, data: bytes) -> bool:
        """Tell whether a value may be in there. False is certain."""
        if len(data) < self._least or not (self._known or self._short):
            return False
        data = data.translate(None, _DROPPED)
        words = memoryview(data)[: len(data) & -_WORD].cast("I")[:: self._stride // _WORD]
        if not self._known.isdisjoint(words):
            for word in self._known.intersection(words):
                if any(region in data for region in self._regions[word]):
                    return True
        return any(short in data for short in self._short)


def reduced(text: str) -> bytes:
    """Return a text as it is looked through."""
    return text.encode(errors=_ANY).translate(None, _DROPPED)


def _plain(value: str) -> Iterator[bytes]:
    """Yield the ways to write a value as it is or escaped, and those to spell out each of its characters.

    It is enough to know how it begins: a text may end in the middle of it.
    """
    head = value[: min(max(len(value) // 2, _HEAD), _ENOUGH)]
    run = _run(head)
    ways = {run} if run and len(run) >= _RUN_ENOUGH else set(map(reduced, texts(head)))
    yield from {run} if run and len(ways) > _FEW else ways
    yield from map(reduced, spelled(head[:_HEAD]))


def _run(value: str) -> bytes | None:
    """Return what no escape changes, however often: the letters and digits in a row that are the least like a word."""
    runs = [run for found in _RUN.finditer(value) if len(run := reduced(found[0])) >= _RUN_LEAST]
    strange = {run: sum(not 97 <= one <= 122 for one in run) for run in runs}
    return max(runs, key=lambda run: (strange[run] > 1 and len(run) >= _RUN_ENOUGH, strange[run], run), default=None)


def texts(value: str) -> Iterator[str]:
    """Yield a value as it is and as usual escapes write it, also as what was escaped already is escaped for URLs."""
    for once in _escaped(value):
        yield once
        for safe in _SAFE:
            for text in (quote(once, safe, errors=_ANY), quote_plus(once, safe, errors=_ANY)):
                for way in (text, text.translate(_STRICT)):
                    lower = _PERCENT.sub(lambda found: found[0].lower(), way)
                    yield from (way, lower, quote(way, safe), quote(lower, safe))
        yield html.escape(once, quote=False)
        yield (in_html := html.escape(once))
        yield in_html.replace("&#x27;", "&#39;").replace("&quot;", "&#34;")


def _escaped(value: str) -> set[str]:
    """Return a value as it is, and as JSON, Python, JavaScript and shells write it."""
    in_json = _in_json(value)
    found = {value, *in_json, *(text.translate(_IN_HTML) for text in in_json), ascii(value)[1:-1], repr(value)[1:-1]}
    found.add(_BACKSLASHED.sub(r"\\\g<0>", value))
    found.add("".join(one if one.isascii() else f"\\u{{{ord(one):x}}}" for one in value))
    for code in ("\\x{:02x}", "\\{:03o}"):
        for text in (value, in_json[0]):
            encoded = ((one, one.encode(errors=_ANY)) for one in text)
            found.add("".join(one if len(data) == 1 else "".join(map(code.format, data)) for one, data in encoded))
    return found


def spelled(value: str) -> Iterator[str]:
    """Yield what writes each character by its number."""
    data = value.encode(errors=_ANY)
    for digits in (data.hex(), data.hex().upper()):
        pairs = [digits[at : at + 2] for at in range(0, len(digits), 2)]
        for lead in ("%", "%25", "\\x", "0x"):
            yield lead + lead.join(pairs)
    yield "".join(f"\\{byte:03o}" for byte in data)
    units = value.encode("utf-16-be", _ANY)
    for code in ("04x", "04X"):
        yield "".join(f"\\u{int.from_bytes(units[at : at + 2], 'big'):{code}}" for at in range(0, len(units), 2))


def encodings(value: str) -> Iterator[str]:
    """Yield base64 and hex, which may be broken over lines."""
    data = value.encode(errors=_ANY)
    for core, _ in aligned(data):
        yield core
        yield core.replace("+", "-").replace("/", "_")
        yield core.replace("+", "%2B").replace("/", "%2F")
        yield core.replace("+", "%2b").replace("/", "%2f")
        yield core.replace("+", "\\u002b")
    yield data.hex()
    yield data.hex().upper()


def _in_json(text: str) -> tuple[str, str]:
    plain = msgspec.json.encode(text.encode("utf-8", "replace").decode()).decode()
    return plain[1:-1], json.dumps(text)[1:-1]


def _stride(plain: Sequence[int], encoded: Iterable[int]) -> int:
    """Return the stride that costs least, of those that find each encoding, and of long ones also a half."""
    least = min(encoded, default=0)
    fit = [one for one in _STRIDES if least >= (one + _PIECE - 1) * (2 if one == _STRIDES[0] else 1)]
    return min(fit or _STRIDES[-1:], key=lambda one: _LOOKUP / one + sum(length < one + _WORD - 1 for length in plain))


def _region(text: bytes, length: int) -> bytes:
    """Return the part of a text that is the least like others: with the most different characters."""
    starts = range(0, len(text) - length + 1, max(1, (len(text) - length) // 4))
    start = max(starts, key=lambda at: len(set(text[at : at + length])))
    return text[start : start + length]


def _pieces(text: bytes, stride: int) -> Iterator[bytes]:
    """Yield all pieces of an encoding, of which any longer run of it has one."""
    length = _PIECE if len(text) >= stride + _PIECE - 1 else _SHORT_PIECE
    return (text[at : at + length] for at in range(len(text) - length + 1))


def _word(text: bytes, at: int) -> int:
    return int(memoryview(text[at : at + _WORD]).cast("I")[0])
