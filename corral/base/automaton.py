"""Find spelled values character by character: one machine for all of them, whose states are made when first reached.

A state holds every spelling that may be under way, and how many characters each has taken. The longest is what a
stream has to hold back; everything before it is decided.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from corral.base.ordinary import SHORTEST
from corral.base.spellings import Node, Spelling

#: More states than text of any kind needs; a text that is made to have more of them begins anew.
MOST_STATES = 20_000


class Place(NamedTuple):
    """How far a spelling has come: before an element, or inside of it or of a gap before it."""

    spelling: int
    at: int
    node: Node | None = None


class Found(NamedTuple):
    """A value that ends here, and where it began."""

    length: int
    name: str


class State:
    """What may be under way, by the characters taken."""

    __slots__ = ("found", "held", "next", "pieces", "places")

    def __init__(self, places: Mapping[Place, int], found: Found | None) -> None:
        """Take what is under way, and the longest value that ends here."""
        self.places = places
        self.found = found
        self.held = max(places.values(), default=0)  #: characters that may yet turn out to be a value
        self.next: dict[str, State] = {}
        self.pieces: dict[str, State] = {}  #: where short texts lead in which no value ends: models repeat their words


class Automaton:
    """The machine of some spellings."""

    def __init__(self, spellings: Iterable[Spelling]) -> None:
        """Take what is to be found; nothing is made yet."""
        self._spellings = list(spellings)
        self._starts: dict[str, list[int]] = defaultdict(list)
        for number, spelling in enumerate(self._spellings):
            first = spelling.element(0)
            for one in first.next if first is not None else ():
                self._starts[one].append(number)
        self.start = State({}, None)
        self._states: dict[tuple[frozenset[tuple[Place, int]], Found | None], State] = {}

    def step(self, state: State, one: str) -> State:
        """Return the state after one more character, and remember it."""
        places: dict[Place, int] = {}
        found: Found | None = None
        for place, length in self._after(state, one):
            spelling = self._spellings[place.spelling]
            if place.node is None and place.at >= spelling.needed and (found is None or length > found.length):
                found = Found(length, spelling.name)
            is_over = place.node is None and spelling.element(place.at) is None
            if not is_over and length <= spelling.limit:
                places[place] = max(length, places.get(place, 0))
        after = self._known(places, found)
        state.next[one] = after
        return after

    def cut_off(self, state: State) -> Found | None:
        """Return the longest value of which at least a half is here when the text ends."""
        cut = [
            Found(length, self._spellings[place.spelling].name)
            for place, length in state.places.items()
            if place.at >= SHORTEST and 2 * place.at >= self._spellings[place.spelling].needed
        ]
        return max(cut, default=None)

    def _after(self, state: State, one: str) -> Iterator[tuple[Place, int]]:
        for place, length in state.places.items():
            spelling = self._spellings[place.spelling]
            if place.node is not None:
                yield from _taken(place, place.node, one, length)
                continue
            element = spelling.element(place.at)
            if element is not None:
                yield from _taken(place, element, one, length)
            if spelling.gap is not None and 0 < place.at < spelling.needed:
                yield from _taken(place, spelling.gap, one, length)
        for number in self._starts.get(one, ()):
            place = Place(number, 0)
            element = self._spellings[number].element(0)
            assert element is not None
            yield from _taken(place, element, one, 0)

    def _known(self, places: Mapping[Place, int], found: Found | None) -> State:
        if not places and found is None:
            return self.start
        key = frozenset(places.items()), found
        if (state := self._states.get(key)) is None:
            if len(self._states) >= MOST_STATES:
                self._states.clear()
                self.start.next.clear()
                self.start.pieces.clear()
            state = self._states[key] = State(places, found)
        return state


def _taken(place: Place, node: Node, one: str, length: int) -> Iterator[tuple[Place, int]]:
    """Yield the places after one more character at `node`."""
    child = node.next.get(one)
    if child is None:
        return
    if child.ends:
        yield Place(place.spelling, place.at if child.is_gap else place.at + 1), length + 1
    if child.next:
        yield Place(place.spelling, place.at, child), length + 1
