"""What an org allows its agents: whom they may hand work to, and the governors that keep a fleet from running away."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from corral.platform import audit, orgs
from corral.platform.database import Unit, commit, sql


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


async def get(org_id: int) -> Policy:
    """Return an org's policy."""
    return await commit(of(org_id))


async def change(org_id: int, fields: Mapping[str, Any]) -> Policy:
    """Set some of the rules; returns all of them."""
    return await commit(_change(org_id, fields))


def _change(org_id: int, fields: Mapping[str, Any]) -> Unit[Policy]:
    yield from orgs.lock(org_id)
    before = yield from of(org_id)
    policy = msgspec.structs.replace(before, **fields)
    changed = audit.changes(msgspec.structs.asdict(before), msgspec.structs.asdict(policy))
    if changed:
        yield from audit.note(org_id, "policy.changed", "policy", str(org_id), **changed)
    yield sql("UPDATE orgs SET policy = $2 WHERE id = $1", org_id, msgspec.json.encode(policy).decode())
    return policy
