"""How an attempt ended: the event that says so, and its words."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from corral.runner import tree
from corral.runner.failure import Failure
from corral.wire.events import EventType


@dataclass(frozen=True, slots=True)
class Ending:
    """The event that ends the attempt; None where the server wants to hear nothing more."""

    type: EventType | None
    payload: bytes = b"{}"


def failed(code: str, message: str, hint: str) -> Ending:
    """Return the end of a run that could not go on."""
    return Ending(EventType.RUN_FAILED, Failure(code, message, hint).payload())


def survived(ending: Ending, error: tree.StillAliveError) -> Ending:
    """Return what takes the place of `ending` when processes outlived it."""
    if ending.type is None:
        return ending
    return failed(
        "processes_survived",
        f"Processes of this run could not be ended: {error}",
        "They are stuck in the kernel or belong to another user: end them by hand before going on with the session.",
    )


def how_it_ended(code: int | None) -> str:
    """Say for people what a process's return code means."""
    if code is None:
        return "it closed its output"
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
