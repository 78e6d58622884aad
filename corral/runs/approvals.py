"""Questions to people: stored, shown everywhere, answered once from anywhere, alive across restarts of either side."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from corral.base.errors import BadRequest, Conflict, NotFound
from corral.base.ids import is_id, new_id
from corral.platform import audit, database
from corral.platform.database import Row, Statement, Unit, sql
from corral.runs import calls, commands, log, states
from corral.runs.frames import Logged
from corral.runs.hints import Hints, decide
from corral.runs.models import Approval
from corral.wire.events import ApprovalKind, ApprovalRequest, EventType
from corral.wire.runner import Approve, CommandKind
from corral.wire.runs import RunStatus

#: Milliseconds until an unanswered question counts as denied; the composition root sets it from the settings.
ttl_ms = 24 * 3600 * 1000


async def page(
    org_id: int, *, pending_only: bool = True, run_id: str | None = None, limit: int = 1000, before: str | None = None
) -> Sequence[Approval]:
    """Return the org's approvals, newest first; `before` is an approval's id, exclusive."""
    query = Approval.filter(org_id=org_id)
    if pending_only:
        query = query.filter(status="pending")
    if run_id is not None:
        query = query.filter(run_id=run_id)
    if before is not None:
        anchor = await Approval.get_or_none(org_id=org_id, id=before) if is_id(before) else None
        if anchor is None:
            raise BadRequest(f"before: there is no approval {before} here", field="before")
        query = query.filter(no__lt=anchor.no)
    return await query.order_by("-no").limit(limit)


async def count_pending(org_id: int) -> int:
    """Return how many approvals wait for an answer."""
    return await Approval.filter(org_id=org_id, status="pending").count()


async def get(org_id: int, approval_id: str) -> Approval:
    """Return one approval; NotFound if the org has none by this id."""
    approval = await Approval.get_or_none(org_id=org_id, id=approval_id) if is_id(approval_id) else None
    if approval is None:
        raise NotFound(f"There is no approval {approval_id} here")
    return approval


async def answer(
    org_id: int,
    approval_id: str,
    decision: str,
    by: str,
    *,
    reason: str | None = None,
    answers: Mapping[str, str] | None = None,
) -> Approval:
    """Answer a pending approval with `allow` or `deny`; Conflict if it is answered, withdrawn or expired already."""

    def unit(hints: Hints) -> Unit[None]:
        yield _lock_run("id = $1 AND org_id = $2", approval_id, org_id)
        rows = yield sql(
            "UPDATE approvals SET status = $3, decision = $4, reason = $5, answers = $6, answered_by = $7, "
            "answered_at = now_ms() WHERE id = $1 AND org_id = $2 AND status = 'pending' AND expires_at > now_ms() "
            "RETURNING *",
            approval_id, org_id, "allowed" if decision == "allow" else "denied", decision, reason,
            msgspec.json.encode(answers).decode() if answers is not None else None, by,
        )  # fmt: skip
        if not rows:
            rows = yield sql("SELECT status FROM approvals WHERE id = $1 AND org_id = $2", approval_id, org_id)
            if not rows:
                raise NotFound(f"There is no approval {approval_id} here")
            status = "expired" if rows[0]["status"] == "pending" else rows[0]["status"]
            raise Conflict(f"This approval is not pending any more: it is {status}")
        yield from _resolve(rows[0], hints)
        told = {"decision": decision, "tool": rows[0]["tool"], "run": rows[0]["run_id"], "reason": reason}
        yield from audit.note(org_id, "approval.answered", "approval", approval_id, **told)

    await decide(unit)
    return await get(org_id, approval_id)


async def expire() -> int:
    """Deny what nobody answered in time; returns how many. The clock is the database's."""
    rows = await database.fetch(
        "SELECT no FROM approvals WHERE status = 'pending' AND expires_at <= now_ms() LIMIT 100"
    )
    for row in rows:
        await decide(partial(_expire, row["no"]))
    return len(rows)


def request(run_no: int, event: Logged, hints: Hints) -> Unit[None]:
    """Store what an attempt asks. An answer that an earlier attempt never got applies to the identical action."""
    asked = msgspec.json.decode(event.payload, type=ApprovalRequest)
    action = hashlib.sha256(
        msgspec.json.encode([asked.kind, asked.tool, msgspec.json.decode(asked.input), asked.cwd], order="sorted")
    ).hexdigest()
    rows = yield sql(
        "SELECT r.no, r.id, r.org_id, r.attempt, r.runner_no, m.name AS runner_name FROM runs r "
        "LEFT JOIN runners m ON m.no = r.runner_no WHERE r.no = $1",
        run_no,
    )
    run = rows[0]
    earlier = yield sql(
        "UPDATE approvals SET attempt = $3, request_id = $4 WHERE no = (SELECT min(no) FROM approvals "
        "WHERE run_no = $1 AND action_hash = $2 AND attempt < $3 AND applied_at IS NULL AND expires_at > now_ms() "
        "AND status IN ('pending', 'allowed', 'denied')) RETURNING *",
        run_no, action, event.attempt, asked.request_id,
    )  # fmt: skip
    if earlier and earlier[0]["status"] != "pending":
        yield from commands.issue(run, CommandKind.APPROVE, _command(earlier[0]), hints)
        return
    if not earlier:
        yield sql(
            "INSERT INTO approvals (id, org_id, run_no, run_id, attempt, request_id, kind, tool, input, action_hash, "
            "cwd, description, runner_name, status, created_at, expires_at) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 'pending', now_ms(), now_ms() + $14) "
            "ON CONFLICT (run_no, attempt, request_id) DO NOTHING",
            new_id(), run["org_id"], run_no, run["id"], event.attempt, asked.request_id, asked.kind.value,
            asked.tool[:200], bytes(asked.input).decode(), action, asked.cwd, asked.description,
            run["runner_name"] or "", ttl_ms,
        )  # fmt: skip
    yield from states.advance(run_no, RunStatus.WAITING, hints)


def ask(run: Row, call_no: int, question: str, options: Sequence[str], hints: Hints) -> Unit[None]:
    """Put an agent's question to people; the answer answers its call of `ask_human`."""
    options_ = [{"label": option, "description": ""} for option in options]
    asked = {"questions": [{"question": question, "header": "Question", "options": options_, "multiSelect": False}]}
    names = yield sql("SELECT name FROM runners WHERE no = $1 AND org_id = $2", run["runner_no"], run["org_id"])
    request_id, tool = f"call-{call_no}", "ask_human"
    yield sql(
        "INSERT INTO approvals (id, org_id, run_no, run_id, attempt, request_id, kind, tool, input, action_hash, "
        "cwd, description, runner_name, status, created_at, expires_at, call_no) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $6, $10, $11, $12, 'pending', now_ms(), now_ms() + $13, $14)",
        new_id(), run["org_id"], run["no"], run["id"], run["attempt"], request_id, ApprovalKind.QUESTION.value, tool,
        msgspec.json.encode(asked).decode(), run["cwd"], question, names[0]["name"] if names else "", ttl_ms, call_no,
    )  # fmt: skip
    told = {"request_id": request_id, "kind": "question", "tool": tool, "input": asked, "description": question}
    yield from log.append(run["no"], EventType.PERMISSION_REQUESTED, {**told, "cwd": run["cwd"]}, hints)
    yield from calls.block(run, hints)


def withdraw(run_no: int, attempt: int, request_id: str, hints: Hints) -> Unit[None]:
    """Close what the agent no longer asks."""
    yield sql(
        "UPDATE approvals SET status = 'withdrawn', answered_at = now_ms() WHERE run_no = $1 AND attempt = $2 "
        "AND request_id = $3 AND status = 'pending'",
        run_no, attempt, request_id,
    )  # fmt: skip
    yield from states.go_on(run_no, hints)


def _lock_run(which: str, *args: Any) -> Statement:
    """Keep the run of an approval from others until the commit: ingest as well takes the run first, then its rows."""
    return sql(
        f"UPDATE runs SET followups = followups WHERE no = (SELECT run_no FROM approvals WHERE {which})",  # noqa: S608 - ours
        *args,
    )


def _expire(no: int, hints: Hints) -> Unit[None]:
    yield _lock_run("no = $1", no)
    rows = yield sql(
        "UPDATE approvals SET status = 'expired', decision = 'deny', reason = 'Nobody answered in time', "
        "answered_at = now_ms(), answered_by = 'corral' "
        "WHERE no = $1 AND status = 'pending' AND expires_at <= now_ms() RETURNING *",
        no,
    )
    if rows:
        yield from _resolve(rows[0], hints)


def _resolve(approval: Row, hints: Hints) -> Unit[None]:
    """Log the answer, give it to the attempt that waits for it, and let the run go on if it asks nothing else."""
    run_no = approval["run_no"]
    payload: dict[str, Any] = {
        "approval_id": approval["id"],
        "request_id": approval["request_id"],
        "decision": approval["decision"],
        "reason": approval["reason"],
        "answers": msgspec.json.decode(approval["answers"]) if approval["answers"] else None,
        "by": approval["answered_by"],
    }
    yield from log.append(run_no, EventType.PERMISSION_RESOLVED, payload, hints)
    rows = yield sql("SELECT no, id, org_id, attempt, runner_no, attempt_open FROM runs WHERE no = $1", run_no)
    run = rows[0]
    if approval["call_no"] is not None:
        yield from calls.finish(approval["call_no"], *_told(approval), hints)
    elif run["attempt_open"] and run["attempt"] == approval["attempt"]:
        yield from commands.issue(run, CommandKind.APPROVE, _command(approval), hints)
        yield from states.go_on(run_no, hints)


def _told(approval: Row) -> tuple[str, bool]:
    """Return what the agent that asked hears, and whether that is an error."""
    if approval["decision"] == "deny":
        return f"No answer: {approval['reason'] or 'a person declined to answer'}", True
    answers: dict[str, str] = msgspec.json.decode(approval["answers"] or "{}")
    return "\n".join(answers.values()) or approval["reason"] or "Yes", False


def _command(approval: Row) -> Approve:
    return Approve(
        request_id=approval["request_id"],
        decision=approval["decision"],
        reason=approval["reason"],
        answers=msgspec.json.decode(approval["answers"]) if approval["answers"] else None,
    )
