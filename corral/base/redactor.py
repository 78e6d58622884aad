"""Mask secret values wherever they appear, by what they are: in any text, event, log line or stream of pieces.

Found are a value and its lines of length as they are, escaped for JSON, URLs, HTML or a shell any number of times, as
base64 at any alignment and in either alphabet, and as hex, also where it is broken over lines. `ordinary` says what is
masked at all.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

from corral.base.automaton import Automaton, State
from corral.base.ordinary import pieces
from corral.base.sieve import Sieve
from corral.base.spellings import spellings

#: Pieces of so many characters are remembered, so many from any one state.
_SHORT, _MOST_PIECES = 24, 5000
#: What is longer is first looked for as it is: to read it character by character takes seconds.
_LONG = 2000
_NO_NAME = re.compile(r"[^\w.-]")


class Redactor:
    """What masks some secrets. Made once, used for everything that leaves."""

    def __init__(self, secrets: Mapping[str, str] | Iterable[tuple[str, str]], *, known: Collection[str] = ()) -> None:
        """Take values by their names; `known` are values that are no secret, whoever stored them as one."""
        named = secrets.items() if isinstance(secrets, Mapping) else secrets
        found: dict[str, str] = {}
        wholes: set[str] = set()
        for name, value in named:
            for piece in pieces(value, known):
                found.setdefault(piece, _NO_NAME.sub("_", name))
            wholes.add(value.strip())
        self._sieve = Sieve(found.keys() & wholes, found.keys() - wholes)
        self._automaton = Automaton(spelling for value, name in found.items() for spelling in spellings(name, value))
        self._long = [one for one in found.items() if len(one[0]) > _LONG]
        self.is_empty = not found

    def text(self, text: str) -> str:
        """Return a text with each value in it replaced by `[redacted:NAME]`."""
        if self.is_empty or not self._sieve.may_hold(text.encode("utf-8", "surrogatepass")):
            return text
        return self._masked(text)

    def raw(self, data: bytes) -> bytes:
        """Return bytes of any kind, masked."""
        if self.is_empty or not self._sieve.may_hold(data):
            return data
        stream = ByteStream(self._automaton)
        return stream.feed(data) + stream.flush()

    def json(self, data: bytes) -> bytes:
        """Return JSON with its texts masked, keys and numbers too; what is found nowhere comes back as it came."""
        if self.is_empty or not self._sieve.may_hold(data):
            return data
        value = msgspec.json.decode(data)
        masked = self._value(value)
        return data if masked == value else msgspec.json.encode(masked)

    def stream(self) -> Stream:
        """Return what masks a text that comes in pieces."""
        return Stream(self._automaton)

    def byte_stream(self) -> ByteStream:
        """Return what masks bytes that come in pieces."""
        return ByteStream(self._automaton)

    def _value(self, value: Any) -> Any:
        match value:
            case str():
                return self._masked(value)
            case dict():
                return {self._masked(key): self._value(item) for key, item in value.items()}
            case list():
                return [self._value(item) for item in value]
            case int() | float() if not isinstance(value, bool):
                masked = self._masked(str(value))
                return value if masked == str(value) else masked
            case _:
                return value

    def _masked(self, text: str) -> str:
        for value, name in self._long:
            text = text.replace(value, f"[redacted:{name}]")
        stream = Stream(self._automaton)
        return stream.feed(text) + stream.flush()


class Stream:
    """A text in pieces. What comes out is decided: held back is only what may yet turn out to be a value."""

    def __init__(self, automaton: Automaton) -> None:
        """Begin with nothing."""
        self._automaton = automaton
        self._state = automaton.start
        self._text = ""  #: what is held back
        self._from = 0  #: where that begins
        self._told = 0  #: up to where everything was given out, or is part of what was masked
        self._found: list[tuple[int, int, str]] = []

    def feed(self, text: str) -> str:
        """Take a piece and return what is decided."""
        before = self._state
        state = before.pieces.get(text)
        if state is None:
            state = self._read(text)
        self._state = state
        self._text = text = self._text + text
        if self._found or self._told > self._from:
            return self._give(self._from + len(text) - state.held)
        decided = len(text) - state.held
        self._text = text[decided:]
        self._from = self._told = self._from + decided
        return text[:decided]

    def _read(self, text: str) -> State:
        """Return the state after a piece, noting what was found."""
        before, at, is_plain = self._state, self._from + len(self._text), True
        state = before
        for one in text:
            at += 1
            state = state.next.get(one) or self._automaton.step(state, one)
            if state.found is not None:
                self._found.append((at - state.found.length, -at, state.found.name))
                is_plain = False
        if is_plain and len(text) <= _SHORT and len(before.pieces) < _MOST_PIECES:
            before.pieces[text] = state
        return state

    def flush(self) -> str:
        """Return the rest; a value of which a half was here is masked as well. It may go on with another text."""
        at = self._from + len(self._text)
        if (cut := self._automaton.cut_off(self._state)) is not None:
            self._found.append((at - cut.length, -at, cut.name))
        self._state = self._automaton.start
        return self._give(at)

    def _give(self, upto: int) -> str:
        decided = sorted(one for one in self._found if one[0] < upto)
        self._found = [one for one in self._found if one[0] >= upto]
        given = []
        for start, minus_end, name in decided:
            if -minus_end <= self._told:
                continue  # inside of another
            given += [self._text[self._told - self._from : max(0, start - self._from)], f"[redacted:{name}]"]
            self._told = -minus_end
        given.append(self._text[max(0, self._told - self._from) : upto - self._from])
        self._told = max(self._told, upto)
        self._text = self._text[upto - self._from :]
        self._from = upto
        return "".join(given)


class _Block:
    """A block of an answer: its text so far, and how much of it was given out."""

    __slots__ = ("given", "stream")

    def __init__(self, stream: Stream) -> None:
        self.stream, self.given = stream, 0


class Blocks:
    """Texts that come in pieces side by side, each under its name, as models stream the blocks of an answer."""

    def __init__(self, redactor: Redactor) -> None:
        """Begin with no block."""
        self._redactor = redactor
        self._blocks: dict[str, _Block] = {}

    def feed(self, block: str, text: str) -> tuple[int, str]:
        """Take a piece; return what is decided of its block, and how much of that was given out before."""
        one = self._blocks.get(block)
        if one is None:
            one = self._blocks[block] = _Block(self._redactor.stream())
        given, decided = one.given, one.stream.feed(text)
        one.given = given + len(decided)
        return given, decided

    def end(self, block: str) -> tuple[int, str]:
        """Return the rest of a block, and how much of it was given out before; forget the block."""
        one = self._blocks.pop(block, None)
        return (one.given, one.stream.flush()) if one is not None else (0, "")


class ByteStream:
    """Bytes in pieces, whatever they are; a character that a piece ends in the middle of is held back."""

    def __init__(self, automaton: Automaton) -> None:
        """Begin with nothing."""
        self._stream = Stream(automaton)
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode

    def feed(self, data: bytes) -> bytes:
        """Take a piece and return what is decided."""
        return self._stream.feed(self._decode(data)).encode("utf-8", "surrogateescape")

    def flush(self) -> bytes:
        """Return the rest."""
        rest = self._stream.feed(self._decode(b"", final=True)) + self._stream.flush()
        return rest.encode("utf-8", "surrogateescape")
