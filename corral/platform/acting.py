"""Who acts, and from where: known to every change without being handed down to it.

A request's way through the server sets it, for the task that answers the request and those that this one starts.
Whatever nobody has set it for, the platform does by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Acting:
    """Who acts, as lines of the audit log name it."""

    actor: str  #: `key:<id>`, `user:<id>`, `run:<id>`, `runner:<id>`, or one of those below
    address: str | None = None  #: of the caller; None for what happens inside the server
    request_id: str | None = None  #: as logs and the answer have it
    org_id: int | None = None  #: whose; None is of this installation, not of an org


#: The platform itself: loops, and what comes of messages.
CORRAL = Acting("corral")
#: Whoever runs a command on the server's machine.
OPERATOR = Acting("operator")
#: Who calls a route that is open to all, before it is known who that is.
NOBODY = "nobody"

_now: ContextVar[Acting] = ContextVar("acting", default=CORRAL)


def now() -> Acting:
    """Return who acts."""
    return _now.get()


def begin(acting: Acting) -> None:
    """Say who acts from now on, in this task and in those that it starts."""
    _now.set(acting)


@contextmanager
def as_(acting: Acting) -> Iterator[None]:
    """Say who acts within this block."""
    token = _now.set(acting)
    try:
        yield
    finally:
        _now.reset(token)


def for_(actor: str, org_id: int) -> Acting:
    """Return this actor, calling from where the present one does: an agent, whose engine may be in this process."""
    return replace(_now.get(), actor=actor, org_id=org_id)
