"""How a value may be spelled: as it is, escaped in any way, as base64 at each alignment, as hex, over several lines.

A spelling is a row of elements, of which each may be written in several ways; `Node` graphs hold these ways. They are
made once for a character and shared by all spellings that have it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice, product

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_NAMED = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f", "\v": "v", "\a": "a", "\x1b": "eE"}
_SPACES = " \t\r\n"


class Node:
    """A place between characters of one element, or of a gap between two."""

    __slots__ = ("ends", "is_gap", "next")

    def __init__(self, *, is_gap: bool = False) -> None:
        """Make a place that leads nowhere yet."""
        self.next: dict[str, Node] = {}
        self.ends = False  #: the element may end here
        self.is_gap = is_gap

    def after(self, one: str) -> Node:
        """Return the place after this character, made if need be."""
        return self.next.setdefault(one, Node(is_gap=self.is_gap))

    def backslashes(self) -> Node:
        """Return the place after one or more backslashes: each further quoting doubles them."""
        child = self.after("\\")
        child.next.setdefault("\\", child)
        return child

    def way(self, text: str) -> Node:
        """Add a way to write the element; a backslash stands for any number of them."""
        node = self
        for one in text:
            node = node.backslashes() if one == "\\" else node.after(one)
        node.ends = True
        return node


class Spelling:
    """One way to write a value."""

    __slots__ = ("gap", "limit", "name", "needed", "shared", "tail", "text")

    def __init__(
        self,
        name: str,
        text: str,
        shared: Mapping[str, Node] | None,
        gap: Node | None = None,
        tail: Sequence[Node] = (),
    ) -> None:
        """Take the secret's name, the elements by their characters, and what may stand between and after them."""
        self.name = name
        self.text = text
        self.shared = shared
        self.gap = gap
        self.tail = tail
        self.needed = len(text)  #: elements that make it a find; those of the tail may follow
        self.limit = 8 * len(text) + 64  #: characters; what is longer is none, however many gaps are in it

    def element(self, at: int) -> Node | None:
        """Return the ways to write an element; None after the last."""
        if at < self.needed:
            one = self.text[at]
            return escaped(one) if self.shared is None else self.shared[one]
        return self.tail[at - self.needed] if at - self.needed < len(self.tail) else None


def spellings(name: str, value: str) -> Iterator[Spelling]:
    """Yield the spellings of one value."""
    data = value.encode("utf-8", "surrogatepass")
    yield Spelling(name, value, None)
    for core, tail in aligned(data):
        yield Spelling(name, core, _base64(), _gap(), [_partial(tail), _padding(), _padding()] if tail else ())
    yield Spelling(name, data.hex(), _hex(), _hex_gap())


def aligned(data: bytes) -> Iterator[tuple[str, str]]:
    """Yield the base64 of `data` after 0, 1 and 2 other bytes: what is the same whatever these are.

    With it come the characters of which one may follow, that tells the last bits together with what comes after.
    """
    for before in range(3):
        first = (8 * before + 5) // 6  # the first character that tells of nothing before
        whole = 8 * (before + len(data)) // 6
        left = 8 * (before + len(data)) % 6
        encoded = base64.b64encode(b"\0" * before + data).decode()
        value = ALPHABET.index(encoded[whole]) if left else 0
        tail = ALPHABET[value : value + (1 << (6 - left))] if left else ""
        yield encoded[first:whole], tail


@cache
def escaped(one: str) -> Node:
    """Return the ways to write a character: plain, JSON, URL and shell escapes, quoted any number of times."""
    root = Node()
    root.way(one)
    data = one.encode("utf-8", "surrogatepass")
    if not one.isalnum():
        root.way("\\" + one)
    for letter in _NAMED.get(one, ""):
        root.way("\\" + letter)
    for lead in ("%", "\\x"):
        _ways(root, lead, [f"{byte:02x}" for byte in data])
    _ways(root, "\\", [f"{byte:03o}" for byte in data])
    units = one.encode("utf-16-be", "surrogatepass").hex()
    _ways(root, "\\u", [units[at : at + 4] for at in range(0, len(units), 4)])
    match one:
        case " ":
            root.way("+")
        case "'":
            # As a shell has it inside of single quotes, where each quote may have been escaped once more.
            for leads in product(("", "\\"), repeat=5):
                root.way("".join(map("".join, zip(leads, "'\"'\"'", strict=True))))
            for leads in product(("", "\\"), repeat=2):
                root.way(f"{leads[0]}'\\'{leads[1]}'")
        case "\n":
            for way in ("\r\n", "\\r\\n", "%0D%0A", "%0d%0a"):
                root.way(way)
        case _:
            pass
    return root


def _ways(root: Node, lead: str, parts: Sequence[str]) -> None:
    """Add parts, each after its lead, their digits in either case."""
    lengths = [len(part) for part in parts]
    for digits in product(*({digit, digit.upper()} for digit in "".join(parts))):
        left = iter(digits)
        root.way("".join(lead + "".join(islice(left, length)) for length in lengths))


@cache
def _base64() -> Mapping[str, Node]:
    ways = {one: [one] for one in ALPHABET}
    ways["+"] += ["-", "%2B", "%2b", "\\u002b", "\\u002B"]
    ways["/"] += ["_", "%2F", "%2f", "\\/", "\\u002f", "\\u002F"]
    return {one: _one_of(some) for one, some in ways.items()}


@cache
def _hex() -> Mapping[str, Node]:
    return {one: _one_of({one, one.upper()}) for one in "0123456789abcdef"}


@cache
def _partial(characters: str) -> Node:
    return _one_of(way for one in characters for way in {one, {"+": "-", "/": "_"}.get(one, one)})


@cache
def _padding() -> Node:
    return _one_of(["=", "%3D", "%3d", "\\u003d", "\\u003D"])


def _one_of(ways: Iterable[str]) -> Node:
    root = Node()
    for way in ways:
        root.way(way)
    return root


@cache
def _gap() -> Node:
    """Return what may stand where an encoding was broken: white space, ends of lines however escaped, line numbers."""
    root, spaces, breaks, digits, number = (Node(is_gap=True) for _ in range(5))
    spaces.ends = breaks.ends = number.ends = True
    for node in (root, spaces, breaks):
        for one in _SPACES:
            node.next[one] = breaks if one in "\r\n" or node is breaks else spaces
        letters = node.backslashes()
        for one in "nr":
            letters.next[one] = breaks
        letters.next["t"] = spaces
    for one in "0123456789":
        breaks.next[one] = digits.next[one] = digits
    for one in ":|→\t":
        digits.next[one] = number
    digits.backslashes().next["t"] = number
    digits.way("\\u2192").next = number.next
    for one in " \t":
        number.next[one] = number
    return root


@cache
def _hex_gap() -> Node:
    """Return what may stand between digits as well: `6f:70`, `6f-70`, `0x6f, 0x70`."""
    root = Node(is_gap=True)
    root.next.update(_gap().next)
    for way in (":", "-", ",", ", ", ",0x", ", 0x"):
        root.way(way)
    return root
