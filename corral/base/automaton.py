"""Find spelled values character by character: one machine for all of them, whose states are made when first reached.

Wherever a value may have begun there is a `Path`: how far each spelling has come since then. Most end after a
character or two, and those that are under way at a place of a text are its `State`. The oldest is what a stream has to
hold back; everything before it is decided.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from corral.base.ordinary import SHORTEST
from corral.base.spellings import Node, Spelling

#: More states, and more paths, than text of any kind needs; a text that is made to have more of them begins anew.
MOST_STATES, MOST_PATHS = 20_000, 50_000
_MANY = 8


class Place(NamedTuple):
    """How far a spelling has come: before an element, or inside of it or of a gap before it."""

    spelling: int
    at: int
    node: Node | None = None


class Found(NamedTuple):
    """A value that ends here, and where it began."""

    length: int
    name: str


class Path:
    """What the characters since one place may be the beginning of."""

    __slots__ = ("cut", "found", "limit", "next", "places", "ways")

    def __init__(
        self, places: tuple[Place, ...], *, limit: int = 0, found: str | None = None, cut: str | None = None
    ) -> None:
        """Take what is under way, for how many characters, and whose value ends here or is here by half."""
        self.places = places
        self.limit = limit
        self.found = found
        self.cut = cut
        self.next: dict[str, Path] = {}
        self.ways: dict[str, list[tuple[Place, Node]]] | None = None  #: on from here, by their character


class State:
    """The paths that are under way, each with how many characters it has taken, the longest first."""

    __slots__ = ("found", "held", "next", "paths", "pieces")

    def __init__(self, paths: tuple[tuple[int, Path], ...], found: Found | None) -> None:
        """Take the paths, and the longest value that ends here."""
        self.paths = paths
        self.found = found
        self.held = paths[0][0] if paths else 0  #: characters that may yet turn out to be a value
        self.next: dict[str, State] = {}
        self.pieces: dict[str, State] = {}  #: where short texts lead in which no value ends: models repeat their words


class Automaton:
    """The machine of some spellings."""

    def __init__(self, spellings: Iterable[Spelling]) -> None:
        """Take what is to be found; nothing is made yet."""
        self._spellings = list(spellings)
        self.start = State((), None)
        self._root = Path(tuple(Place(number, 0) for number in range(len(self._spellings))))
        self._dead = Path(())
        self._paths: dict[tuple[Place, ...], Path] = {}
        self._states: dict[tuple[tuple[tuple[int, Path], ...], Found | None], State] = {}

    def step(self, state: State, one: str) -> State:
        """Return the state after one more character, and remember it."""
        paths: list[tuple[int, Path]] = []
        found: Found | None = None
        for length, path in (*state.paths, (0, self._root)):
            after = path.next.get(one) or self._follow(path, one)
            if after.found is not None and found is None:
                found = Found(length + 1, after.found)
            if after.places and length < after.limit:
                paths.append((length + 1, after))
        after_all = self._known(tuple(paths), found)
        state.next[one] = after_all
        return after_all

    def cut_off(self, state: State) -> Found | None:
        """Return the longest value of which at least a half is here when the text ends."""
        return next((Found(length, path.cut) for length, path in state.paths if path.cut is not None), None)

    def _known(self, paths: tuple[tuple[int, Path], ...], found: Found | None) -> State:
        if not paths and found is None:
            return self.start
        key = paths, found
        if (state := self._states.get(key)) is None:
            if len(self._states) >= MOST_STATES:
                self._states.clear()
                self.start.next.clear()
                self.start.pieces.clear()
            state = self._states[key] = State(paths, found)
        return state

    def _follow(self, path: Path, one: str) -> Path:
        """Return where a path leads by one more character, and remember it."""
        places = tuple(sorted(set(self._after(path, one)), key=_in_order))
        after = self._paths.get(places) if places else self._dead
        if after is None:
            if len(self._paths) >= MOST_PATHS:
                self._paths.clear()
                self._root.next.clear()
            after = self._paths[places] = self._made(places)
        path.next[one] = after
        return after

    def _made(self, places: tuple[Place, ...]) -> Path:
        found = cut = None
        under_way: list[Place] = []
        limit = 0
        for place in places:
            spelling = self._spellings[place.spelling]
            if place.node is None and place.at >= spelling.needed:
                found = found or spelling.name
            if place.at >= SHORTEST and 2 * place.at >= spelling.needed:
                cut = cut or spelling.name
            if place.node is not None or spelling.element(place.at) is not None:
                under_way.append(place)
                limit = max(limit, spelling.limit)
        return Path(tuple(under_way), limit=limit, found=found, cut=cut)

    def _after(self, path: Path, one: str) -> Iterator[Place]:
        for place, node in self._ways(path, one):
            child = node.next.get(one)
            if child is None:
                continue
            if child.ends:
                yield Place(place.spelling, place.at if child.is_gap else place.at + 1)
            if child.next:
                yield Place(place.spelling, place.at, child)

    def _ways(self, path: Path, one: str) -> Iterable[tuple[Place, Node]]:
        """Return the ways on from a path, of which this character may be one; where there are many, only those."""
        if len(path.places) < _MANY:
            return ((place, node) for place in path.places for node in self._nodes(place))
        if path.ways is None:
            path.ways = defaultdict(list)
            for place in path.places:
                for node in self._nodes(place):
                    for first in node.next:
                        path.ways[first].append((place, node))
        return path.ways.get(one, ())

    def _nodes(self, place: Place) -> Iterator[Node]:
        if place.node is not None:
            yield place.node
            return
        spelling = self._spellings[place.spelling]
        element = spelling.element(place.at)
        if element is not None:
            yield element
        if spelling.gap is not None and 0 < place.at < spelling.needed:
            yield spelling.gap


def _in_order(place: Place) -> tuple[int, int, int]:
    return place.spelling, place.at, id(place.node)
