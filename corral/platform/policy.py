"""What an org allows its agents: whom they may hand work to, and the governors that keep a fleet from running away."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from corral.platform.database import Unit, sql


class DelegateTo(StrEnum):
    """Whom an agent may hand a task to."""

    ANYONE = "anyone"
    TEAM = "team"
    REPORTS = "reports"


class Policy(msgspec.Struct, frozen=True):
    """An org's rules for delegation; what is not set has these values."""

    delegate_to: DelegateTo = DelegateTo.ANYONE
    max_depth: int = 8  #: how deep a task may lie below the one a person made
    max_fan_out: int = 25  #: tasks and messages that one run may send
    max_open_tasks: int = 50  #: tasks without an end that an agent may have
    max_tasks_per_hour: int = 200  #: new tasks in one tree
    due_hours: float = 24.0  #: a delegated task that has no end by then is ended, so that nobody waits for ever


def of(org_id: int) -> Unit[Policy]:
    """Read an org's policy."""
    rows = yield sql("SELECT policy FROM orgs WHERE id = $1", org_id)
    return msgspec.json.decode(rows[0]["policy"], type=Policy) if rows else Policy()
