"""Commit the truth, then hint: what a unit of work wants to be told is kept until its transaction is through."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from corral import bus
from corral.bus import Data
from corral.platform import database
from corral.platform.database import GaveWay, Unit
from corral.platform.metrics import Count

T = TypeVar("T")


class Hints:
    """Hints to publish once the unit that collected them has committed."""

    def __init__(self) -> None:
        """Start with none."""
        self._hints: list[tuple[str, Data]] = []
        self._mail: list[str] = []
        self._counts: list[Count] = []

    def log(self, run_no: int, data: Data) -> None:
        """A run's log has grown; `data` is what `feed` understands."""
        self._hints.append((log_topic(run_no), data))

    def count(self, cell: Count) -> None:
        """Count something that has then happened; nobody is told."""
        self._counts.append(cell)

    def placement(self, placement_id: int) -> None:
        """A run with these needs is ready to be claimed."""
        self._hints.append((PLACEMENTS, str(placement_id).encode()))

    def runner(self, runner_no: int) -> None:
        """There is a command for this runner, or something about it has changed."""
        self._hints.append((runner_topic(runner_no), b""))

    def machines(self, org_id: int) -> None:
        """A runner of this org has registered: what was read of its runners is out of date."""
        self._hints.append((MACHINES, str(org_id).encode()))

    def call(self, run_no: int) -> None:
        """A call of this run to one of Corral's tools has its answer."""
        self._hints.append((call_topic(run_no), b""))

    def mail(self, receiver: str) -> None:
        """This agent has mail."""
        self._mail.append(receiver)

    def message(self, org_id: int) -> None:
        """A message was sent on the org's bus: for those who watch it."""
        self._hints.append((bus_topic(org_id), b""))

    def supplies(self, org_id: int) -> None:
        """The org's secrets or MCP servers have changed: connections that were made with them are of no more use."""
        self._hints.append((SUPPLIES, str(org_id).encode()))

    def publish(self) -> None:
        """Publish and forget them."""
        hints, self._hints = self._hints, []
        for topic, data in hints:
            bus.current().publish(topic, data)
        counts, self._counts = self._counts, []
        for cell in counts:
            cell.add()
        mail, self._mail = self._mail, []
        for receiver in dict.fromkeys(mail):
            bus.current().mail(receiver)


#: One topic for all placements: a process listens once and wakes the polls that wait in it.
PLACEMENTS = "placements"
#: One topic for what all orgs' runs are given; a hint is the org's number.
SUPPLIES = "supplies"
#: One topic for all keys that change or end; a hint is the key's id.
KEYS = "keys"
#: One topic for all people of whom something changes; a hint is the person's id.
PEOPLE = "people"
#: One topic for all orgs whose runners register; a hint is the org's number.
MACHINES = "machines"


def log_topic(run_no: int) -> str:
    """Name the topic of a run's log."""
    return f"run:{run_no}"


def runner_topic(runner_no: int) -> str:
    """Name the topic of a runner."""
    return f"runner:{runner_no}"


def call_topic(run_no: int) -> str:
    """Name the topic of a run's calls of Corral's tools."""
    return f"call:{run_no}"


def bus_topic(org_id: int) -> str:
    """Name the topic of an org's messages."""
    return f"bus:{org_id}"


def key_changed(key_id: str) -> None:
    """Tell every server that a key has changed or ended."""
    bus.current().publish(KEYS, key_id.encode())


def person_changed(user_id: str) -> None:
    """Tell every server that a person may do other things now, or looks at another org."""
    bus.current().publish(PEOPLE, user_id.encode())


#: How often a unit that gave way to another is begun anew.
_TRIES = 5


async def decide(unit: Callable[[Hints], Unit[T]]) -> T:
    """Commit the unit, then publish the hints it collected. It may be begun anew, so it changes nothing but rows."""
    left = _TRIES
    while True:
        left -= 1
        hints = Hints()
        try:
            result = await database.commit(unit(hints))
        except GaveWay:
            if not left:
                raise
        else:
            hints.publish()
            return result
