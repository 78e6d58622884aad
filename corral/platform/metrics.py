"""What this process counts, for Prometheus. `docs/monitoring.md` says what each is good for.

Counting happens on the hot paths, so it is an addition and nothing else: cells are bound once where they are used,
there is no lock (all of it is done by the loop's thread), and the library that writes the exposition is loaded by the
first who asks for it (`web/exposition.py`). No label holds a name or an id that people or orgs choose.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar


class Count:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self, more: int = 1) -> None:
        """Count so many more."""
        self.value += more


class Spread:
    """How often something took so long: by the first of `bounds` that it did not exceed."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """Take the bounds, in seconds; what exceeds the last is counted as well."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def see(self, seconds: float) -> None:
        """Count one that took so long."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


Cell = TypeVar("Cell", Count, Spread)


class Family(Generic[Cell]):
    """Everything counted under one name: a cell for each combination of labels that has occurred."""

    def __init__(self, name: str, says: str, labels: Sequence[str] = ()) -> None:
        """Take the name, what it means in a sentence, and the names of the labels."""
        self.name = name
        self.says = says
        self.labels = tuple(labels)
        self._cells: dict[tuple[str, ...], Cell] = {}

    def of(self, *values: str) -> Cell:
        """Return the cell of these labels' values."""
        if (found := self._cells.get(values)) is None:
            assert len(values) == len(self.labels)
            found = self._cells[values] = self._made()
        return found

    def cells(self) -> Iterator[tuple[tuple[str, ...], Cell]]:
        """Yield each combination of values, and its cell."""
        yield from tuple(self._cells.items())

    def _made(self) -> Cell:
        raise NotImplementedError


class Counter(Family[Count]):
    """A family of counts."""

    def _made(self) -> Count:
        return Count()


class Histogram(Family[Spread]):
    """A family of spreads of seconds."""

    def __init__(self, name: str, says: str, labels: Sequence[str] = (), *, bounds: Sequence[float]) -> None:
        """Take the bounds also."""
        super().__init__(name, says, labels)
        self._bounds = tuple(bounds)

    def _made(self) -> Spread:
        return Spread(self._bounds)


REQUESTS = Counter("corral_http_requests", "Requests that were answered.", ["method", "route", "status"])
LATENCY = Histogram(
    "corral_http_request_seconds",
    "From a request's arrival to its answer; without streams, which are open for as long as somebody watches.",
    ["method", "route"],
    bounds=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30),
)
REFUSALS = Counter("corral_limit_refusals", "Requests that a limit refused (429).")
LIMIT_FALLBACKS = Counter("corral_limit_fallbacks", "Times that limits fell back to each server's own count.")
STATEMENTS = Histogram(
    "corral_database_seconds",
    "What the database took: for a unit of work with its transaction, or for one statement, waiting for it included.",
    ["kind"],
    bounds=(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
)
OUTAGES = Counter("corral_database_unavailable", "Calls that the database was away for.")
BUS_OUTAGES = Counter("corral_bus_interruptions", "Times that a connection to Redis failed or was lost.")
HINTS_DROPPED = Counter("corral_bus_dropped", "Hints that were dropped, because Redis was away or too slow.")
CLAIMS = Counter("corral_claims", "Runs that were given to a runner.")
LAUNCHES = Counter("corral_runs_launched", "Runs that were queued.")
ENDED = Counter("corral_runs_ended", "Runs that ended, by how.", ["status"])
BATCHES = Counter("corral_ingest_batches", "Batches of events from runners, by what became of them.", ["outcome"])
EVENTS = Counter("corral_ingest_events", "Events from runners that were stored.")
DEAD_LETTERS = Counter("corral_messages_dead", "Messages that could not be delivered and were given up.")
PROVIDER_CALLS = Histogram(
    "corral_provider_seconds",
    "Answers of model providers to agents without a machine, from the request to the last word or the failure.",
    ["provider", "outcome"],
    bounds=(0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320),
)
LAG = Histogram(
    "corral_event_loop_lag_seconds",
    "By how much this process was late for what it had planned: how busy it is.",
    bounds=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)

COUNTERS: tuple[Counter, ...] = (
    REQUESTS, REFUSALS, LIMIT_FALLBACKS, OUTAGES, BUS_OUTAGES, HINTS_DROPPED, CLAIMS, LAUNCHES, ENDED, BATCHES, EVENTS,
    DEAD_LETTERS,
)  # fmt: skip
HISTOGRAMS: tuple[Histogram, ...] = (LATENCY, STATEMENTS, PROVIDER_CALLS, LAG)

# What has no labels is there from the start, so that a rate can be taken of it.
for _counter in COUNTERS:
    if not _counter.labels:
        _counter.of()
for _histogram in HISTOGRAMS:
    if not _histogram.labels:
        _histogram.of()
