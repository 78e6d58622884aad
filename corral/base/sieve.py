"""Tell quickly that a text holds no value at all, which is so nearly always.

Of each way to write a value one region is remembered. A region is so long that, wherever it stands in a text, one of
the words at every `stride`th byte lies inside of it; so it is enough to look these few words up. Of an encoding, which
may be broken over lines, all words are remembered, so that any longer piece of it is found.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

import msgspec

from corral.base.spellings import aligned

_WORD = 4
_STRIDES = (16, 8, 4)
#: So much is compared of hex with something between the bytes, and of any other encoding after a word.
_SURE, _PIECE = 24, 8
_SHORT_PIECE = _STRIDES[-1] + _WORD - 1
#: Regions are taken from so many characters at a value's beginning, words of encodings from so many.
_ENOUGH, _ENOUGH_ENCODED = 256, 96
_BREAKS = (b"\n", b"\\n", b"\r\n", b"\\r\\n")
#: What the usual percent encodings leave as it is, beside letters and digits.
_SAFE = ("", "/", "!'()*~", ";/?:@&=+$,#!'()*~", "*")
_STRICT = {ord(one): f"%{ord(one):02X}" for one in "-._~"}
_PERCENT = re.compile(r"%[0-9A-F]{2}")


class Sieve:
    """All regions of some values, by their words."""

    def __init__(self, values: Iterable[str]) -> None:
        """Remember the regions of these values."""
        plain: set[bytes] = set()
        encoded: set[bytes] = set()
        parts: set[bytes] = set()
        for value in values:
            for text in texts(value[:_ENOUGH]):
                plain.update(_quoted(text))
            for text in spaced(value[:_ENOUGH_ENCODED]):
                parts.update((text[:_SURE].encode(), text[_SURE : 2 * _SURE].encode()))
            for text in encodings(value[:_ENOUGH_ENCODED]):
                encoded.update(_quoted(text))
        encoded -= plain
        self._stride = _stride(plain, encoded)
        self._regions: dict[int, list[tuple[int, bytes]]] = defaultdict(list)
        length = self._stride + _WORD - 1
        for region in {_region(one, length) for one in plain} | {one for one in parts if len(one) >= length}:
            self._remember(region, self._stride)
        for piece in {piece for one in encoded for piece in _pieces(one, self._stride)}:
            self._remember(piece, 1 if len(piece) == _PIECE else self._stride)
        self._known = frozenset(self._regions)
        self._least = min(map(len, plain), default=0)

    def _remember(self, region: bytes, words: int) -> None:
        for at in range(words):
            word = int.from_bytes(region[at : at + _WORD], sys.byteorder)
            self._regions[word].append((at, region))

    def may_hold(self, data: bytes) -> bool:
        """Tell whether a value may be in there. False is certain."""
        if len(data) < self._least or not self._known:
            return False
        stride = self._stride
        words = memoryview(data)[: len(data) & -_WORD].cast("I")[:: stride // _WORD]
        if self._known.isdisjoint(words):
            return False
        for number, word in enumerate(words):
            for at, region in self._regions.get(word, ()):
                if number * stride >= at and data.startswith(region, number * stride - at):
                    return True
        return False


def texts(value: str) -> Iterator[str]:
    """Yield a value as it is and as usual escapes write it."""
    yield value
    for safe in _SAFE:
        strict = quote(value, safe).translate(_STRICT)
        for text in (quote(value, safe), quote_plus(value, safe), strict):
            yield text
            yield _PERCENT.sub(lambda found: found[0].lower(), text)
    data = value.encode("utf-8", "surrogatepass")
    for digits in (data.hex(), data.hex().upper()):
        pairs = [digits[at : at + 2] for at in range(0, len(digits), 2)]
        yield "%" + "%".join(pairs)
        yield "\\x" + "\\x".join(pairs)
    yield "".join(f"\\{byte:03o}" for byte in data)
    for code in ("04x", "04X"):
        units = value.encode("utf-16-be", "surrogatepass")
        yield "".join(f"\\u{int.from_bytes(units[at : at + 2], 'big'):{code}}" for at in range(0, len(units), 2))
    in_json = _in_json(value)
    yield from (*in_json, *(twice for once in in_json for twice in _in_json(once)))
    yield in_json[0].replace("/", "\\/")
    # In a shell: in single quotes, in double quotes, as bash's printf %q and its $'…' write it.
    yield value.replace("'", "'\\''")
    yield value.replace("'", "'\"'\"'")
    yield re.sub(r'(["\\$`!])', r"\\\1", value)
    yield re.sub(r"([^\w@%+=:,./-])", r"\\\1", value)
    yield re.sub(r"([^\w@%+=:,./-])", r"\\\1", value, flags=re.ASCII)
    named = in_json[0].replace('\\"', '"').replace("'", "\\'")
    yield named
    yield "".join(one if one.isascii() else "".join(f"\\{byte:03o}" for byte in one.encode()) for one in named)


def encodings(value: str) -> Iterator[str]:
    """Yield base64 and hex, which may be broken over lines."""
    data = value.encode("utf-8", "surrogatepass")
    for core, _ in aligned(data):
        yield core
        yield core.replace("+", "-").replace("/", "_")
        yield core.replace("+", "%2B").replace("/", "%2F")
        yield core.replace("+", "%2b").replace("/", "%2f")
        yield core.replace("/", "\\/")
        yield core.replace("+", "\\u002b")
    yield data.hex()
    yield data.hex().upper()


def spaced(value: str) -> Iterator[str]:
    """Yield hex with something between the bytes; whoever writes it so has lines of many bytes."""
    data = value.encode("utf-8", "surrogatepass")
    for digits in (data.hex(), data.hex().upper()):
        pairs = [digits[at : at + 2] for at in range(0, len(digits), 2)]
        for between in (" ", ":", "-", ",", ", ", ",0x", ", 0x"):
            yield between.join(pairs)
        for first in (2, 4):
            yield " ".join([digits[:first], *(digits[at : at + 4] for at in range(first, len(digits), 4))])


def _in_json(text: str) -> tuple[str, str]:
    plain = msgspec.json.encode(text.encode("utf-8", "replace").decode()).decode()
    return plain[1:-1], json.dumps(text)[1:-1]


def _quoted(text: str) -> set[bytes]:
    """Return a text as it is, and as a part of a string in JSON or in Python."""
    return {one.encode("utf-8", "surrogatepass") for one in (text, *_in_json(text), repr(text)[1:-1])}


def _stride(plain: Iterable[bytes], encoded: Iterable[bytes]) -> int:
    """Return the longest stride that finds every value, and of long ones also a half of an encoding."""
    least = min(map(len, plain), default=0), min(map(len, encoded), default=0)
    for stride in _STRIDES:
        run = stride + _PIECE - 1
        if least[0] >= stride + _WORD - 1 and least[1] >= (2 * run if stride == _STRIDES[0] else run):
            return stride
    return _STRIDES[-1]


def _region(text: bytes, length: int) -> bytes:
    """Return the part of a text that is the least like others: with the most different characters."""
    starts = range(0, max(len(text) - length, 0) + 1, max(1, (len(text) - length) // 4))
    start = max(starts, key=lambda at: len(set(text[at : at + length])))
    return text[start : start + length]


def _pieces(text: bytes, stride: int) -> Iterator[bytes]:
    """Yield all pieces of an encoding, of which any longer run of it has one.

    Of a short text, neither half of which may be long enough, also those with a line's end in them.
    """
    run = stride + _PIECE - 1
    length = _PIECE if len(text) >= run else _SHORT_PIECE
    written = [text]
    if len(text) < 2 * run:
        written += [text[:at] + between + text[at:] for at in range(1, len(text)) for between in _BREAKS]
    return (one[at : at + length] for one in written for at in range(len(one) - length + 1))
