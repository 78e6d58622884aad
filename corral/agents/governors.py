"""What keeps a fleet from running away: limits on how deep, how wide and how often work is handed on."""

from __future__ import annotations

import msgspec

from corral.agents import board
from corral.base.errors import Forbidden
from corral.platform import plans
from corral.platform.database import Row, Unit, sql
from corral.platform.policy import DelegateTo, Policy

_HOUR = 3_600_000


class Refusal(msgspec.Struct, frozen=True):
    """Why a tool call is not carried out; the agent is told so, and people see it in the run's log."""

    code: str
    message: str


def check(run: Row, parent: Row | None, to: Row, text: str, policy: Policy) -> Unit[Refusal | None]:
    """Return what forbids that this run hands this text to that agent, if anything does."""
    return (
        (yield from _not_in_plan(run))
        or (yield from _not_allowed(run, to, policy))
        or _too_deep(parent, policy)
        or (yield from too_many_sent(run, policy))
        or (yield from _too_much_to_do(to, policy))
        or (yield from _too_fast(parent, policy))
        or (yield from _repeated(parent, to, text))
    )


def too_many_sent(run: Row, policy: Policy) -> Unit[Refusal | None]:
    """Bound what one run may send."""
    rows = yield sql(
        "SELECT (SELECT count(*) FROM tasks WHERE origin_run_no = $1) + "
        "(SELECT count(*) FROM messages WHERE org_id = $2 AND sender = $3 AND run_id = $4 "
        "AND type IN ('note', 'answer', 'broadcast')) AS n",
        run["no"], run["org_id"], run["agent_id"], run["id"],
    )  # fmt: skip
    if rows[0]["n"] < policy.max_fan_out:
        return None
    return Refusal("fan_out", f"This run has sent {policy.max_fan_out} tasks and messages, which is the most a run may")


def _not_in_plan(run: Row) -> Unit[Refusal | None]:
    """Hold to what the org's plan includes."""
    try:
        yield from plans.demand(run["org_id"], "delegation")
    except Forbidden as error:
        return Refusal("plan", error.message)
    return None


def _not_allowed(run: Row, to: Row, policy: Policy) -> Unit[Refusal | None]:
    """Hold to whom the org lets agents hand work."""
    if policy.delegate_to == DelegateTo.ANYONE:
        return None
    if policy.delegate_to == DelegateTo.REPORTS:
        allowed, whom = to["manager_id"] == run["agent_id"], "their reports"
    else:
        rows = yield sql("SELECT team FROM agents WHERE id = $1", run["agent_id"])
        allowed = to["manager_id"] == run["agent_id"] or (rows[0]["team"] is not None and rows[0]["team"] == to["team"])
        whom = "their team"
    return None if allowed else Refusal("policy", f"Agents here may hand tasks to {whom} only; {to['name']} is not")


def _too_deep(parent: Row | None, policy: Policy) -> Refusal | None:
    if parent is None or parent["depth"] + 1 <= policy.max_depth:
        return None
    return Refusal("depth", f"Tasks may be handed on {policy.max_depth} levels deep, and this one is at the last")


def _too_much_to_do(to: Row, policy: Policy) -> Unit[Refusal | None]:
    rows = yield sql(
        "SELECT count(*) AS n FROM tasks WHERE assignee_id = $1 AND status IN ('pending', 'running', 'waiting')",
        to["id"],
    )
    if rows[0]["n"] < policy.max_open_tasks:
        return None
    return Refusal("open_tasks", f"{to['name']} has {rows[0]['n']} open tasks already; wait, or choose another agent")


def _too_fast(parent: Row | None, policy: Policy) -> Unit[Refusal | None]:
    if parent is None:
        return None
    rows = yield sql(
        "SELECT count(*) AS n FROM tasks WHERE root_id = $1 AND created_at > now_ms() - $2", parent["root_id"], _HOUR
    )
    if rows[0]["n"] < policy.max_tasks_per_hour:
        return None
    return Refusal("per_hour", f"This tree has made {rows[0]['n']} tasks within an hour, which is the most it may")


def _repeated(parent: Row | None, to: Row, text: str) -> Unit[Refusal | None]:
    """Refuse what an ancestor was told already: two agents that ask each other the same thing never end."""
    if parent is None:
        return None
    rows = yield sql(
        "WITH RECURSIVE up(id, parent_id, content_hash, title) AS ("
        "SELECT id, parent_id, content_hash, title FROM tasks WHERE id = $1 UNION ALL "
        "SELECT t.id, t.parent_id, t.content_hash, t.title FROM tasks t JOIN up ON t.id = up.parent_id) "
        "SELECT title FROM up WHERE content_hash = $2 LIMIT 1",
        parent["id"],
        board.content_hash(to["id"], text),
    )
    if not rows:
        return None
    return Refusal("repeated", f"{to['name']} was given this very task further up ({rows[0]['title']}); do it yourself")
