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
_HTML = {
    "&": ("&amp;", "&#38;"),
    "<": ("&lt;", "&#60;"),
    ">": ("&gt;", "&#62;"),
    '"': ("&quot;", "&#34;", "&#x22;"),
    "'": ("&apos;", "&#39;", "&#x27;"),
}


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

    def lead(self, one: str, to: Node) -> None:
        """Lead to a place by this character, as it is and as a URL has it."""
        self.next[one] = to
        code = f"{ord(one):02x}"
        for digit in {code[1], code[1].upper()}:
            self.percent().after(code[0]).next[digit] = to

    def percent(self) -> Node:
        """Return the place after a percent sign, which each further encoding for a URL makes `%25`."""
        child = self.after("%")
        child.after("2").next.setdefault("5", child)
        return child

    def backslashes(self) -> Node:
        """Return the place after one or more backslashes: each further quoting doubles them, a URL has `%5C`."""
        child = self.after("\\")
        for node in (self, child):
            node.next.setdefault("\\", child)
            for digit in "Cc":
                node.percent().after("5").next.setdefault(digit, child)
        return child

    def way(self, text: str) -> Node:
        """Add a way to write the element; a backslash and a percent sign stand for any number of them."""
        node = self
        for one in text:
            match one:
                case "\\":
                    node = node.backslashes()
                case "%":
                    node = node.percent()
                case _:
                    node = node.after(one)
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
        #: Characters; what is longer is none, however many gaps are in it.
        self.limit = 16 * len(text.encode("utf-8", "surrogatepass")) + 64

    def element(self, at: int) -> Node | None:
        """Return the ways to write an element; None after the last."""
        if at < self.needed:
            one = self.text[at]
            return escaped(one) if self.shared is None else self.shared[one]
        return self.tail[at - self.needed] if at - self.needed < len(self.tail) else None


def spellings(name: str, value: str) -> Iterator[Spelling]:
    """Yield the spellings of one value."""
    data = value.encode("utf-8", "surrogatepass")
    yield Spelling(name, value, None, _line_gap())
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
    """Return the ways to write a character: plain, JSON, URL, shell and HTML escapes, quoted any number of times."""
    root = Node()
    root.way(one)
    data = one.encode("utf-8", "surrogatepass")
    if not one.isalnum():
        root.way("\\" + one)
        _ways(root.backslashes(), "%", [f"{byte:02x}" for byte in data])
    for letter in _NAMED.get(one, ""):
        root.way("\\" + letter)
    for lead in ("%", "\\x"):
        _ways(root, lead, [f"{byte:02x}" for byte in data])
    _ways(root, "\\", [f"{byte:03o}" for byte in data])
    units = one.encode("utf-16-be", "surrogatepass").hex()
    _ways(root, "\\u", [units[at : at + 4] for at in range(0, len(units), 4)])
    if len(data) > 1:
        _ways(root, "\\u{", [f"{ord(one):x}}}"])
        _ways(root, "\\U", [f"{ord(one):08x}"])
    if ord(one) < 1 << 8:
        _ways(root, "\\x", [f"{ord(one):02x}"])
    for way in _HTML.get(one, ()):
        root.way(way)
    match one:
        case " ":
            for way in ("+", "%2B", "%2b"):
                root.way(way)
        case "'":
            _quotes(root)
        case "\n":
            _break(root, _margin(is_gap=False))
        case _:
            pass
    return root


def _quotes(root: Node) -> None:
    """Add what shells have for a single quote: quotes of both kinds and backslashes, such a one among them."""
    before, after = Node(), Node()
    after.ends = True
    for node in (root, root.backslashes(), before):
        node.lead('"', before)
        node.lead("'", after)
    before.lead("\\", before)
    for one in "\\\"'":
        after.lead(one, after)


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
    """Return what may stand where an encoding was broken: white space, and all that a text may be broken by."""
    root, spaces = Node(is_gap=True), Node(is_gap=True)
    spaces.ends = True
    for node in (root, spaces):
        _break(node, _margin(is_gap=True))
        node.next.update({" ": spaces, "\t": spaces})
        node.backslashes().next["t"] = spaces
    return root


@cache
def _hex_gap() -> Node:
    """Return what may stand between digits as well: `6f:70`, `6f-70`, `0x6f, 0x70`."""
    root, comma, lead = (Node(is_gap=True) for _ in range(3))
    comma.ends = lead.ends = True
    root.next.update(_gap().next)
    root.next.update({":": comma, "-": comma, ",": comma})
    _break(comma, comma)
    comma.next.update({" ": comma, "\t": comma})
    for x in "xX":
        comma.after("0").next[x] = lead
    return root


@cache
def _line_gap() -> Node:
    """Return what may stand where a text was broken: the end of a line, however escaped, and how the next begins."""
    root = Node(is_gap=True)
    _break(root, _margin(is_gap=True))
    return root


def _break(node: Node, margin: Node) -> None:
    """Add the end of a line, however escaped, and lead to what begins the next."""
    for one, letter in ("\nn", "\rr"):
        node.lead(one, margin)
        node.backslashes().next[letter] = margin


@cache
def _margin(*, is_gap: bool) -> Node:
    """Return what may begin a line: white space, more ends of lines, the line's number, the marks of a quotation."""
    root, digits, number = (Node(is_gap=is_gap) for _ in range(3))
    root.ends = number.ends = True
    _break(root, root)
    root.backslashes().next["t"] = root
    for one in " \t+->|#*":
        root.next[one] = root
    for one in "0123456789":
        root.next[one] = digits.next[one] = digits
    for one in ":|→\t":
        digits.next[one] = number
    digits.backslashes().next["t"] = number
    digits.way("\\u2192").next = number.next
    for one in " \t":
        number.next[one] = number
    return root
