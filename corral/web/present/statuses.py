"""A run's seven stored states in the words of each face."""

from __future__ import annotations

from corral.base.errors import BadRequest
from corral.wire.runs import RunStatus

#: AgentsMesh has fewer words than there are states.
_POD = {RunStatus.COMPLETED: "terminated", RunStatus.CANCELLED: "terminated"}


def fleet(status: str) -> str:
    """Return the AgentFleet word: the stored one in capitals."""
    return status.upper()


def pod(status: str) -> str:
    """Return the AgentsMesh word."""
    return _POD.get(RunStatus(status), status)


def project(status: str) -> str:
    """Return the Abbado word, which calls a run that waits running."""
    return RunStatus.RUNNING if status == RunStatus.WAITING else status


def stored_for_fleet(word: str | None) -> tuple[str, ...]:
    """Return the stored states that an AgentFleet filter means; small letters do as well."""
    if word is None:
        return ()
    if word.lower() not in list(RunStatus):
        raise BadRequest(f"status must be one of {', '.join(map(fleet, RunStatus))}, not {word[:40]!r}", field="status")
    return (word.lower(),)


def stored_for_pod(word: str | None) -> tuple[str, ...]:
    """Return the stored states that an AgentsMesh filter means."""
    if word is None:
        return ()
    meant = tuple(status.value for status in RunStatus if pod(status) == word)
    if not meant:
        words = ", ".join(dict.fromkeys(map(pod, RunStatus)))
        raise BadRequest(f"status must be one of {words}, not {word[:40]!r}", field="status")
    return meant
