"""Questions to people."""

from __future__ import annotations

import msgspec

from corral.runs.frames import moment
from corral.runs.models import Approval
from corral.web.present.times import shown


class ApprovalView(msgspec.Struct, kw_only=True):
    """What an agent asks, exactly, and how it was answered."""

    id: str
    run_id: str
    kind: str  #: tool, plan or question
    tool: str
    input: msgspec.Raw  #: the action's input, as the agent asked
    cwd: str
    description: str
    runner_name: str
    attempt: int
    request_id: str
    status: str  #: pending, allowed, denied, expired or withdrawn
    decision: str | None  #: allow or deny
    reason: str | None
    answers: dict[str, str] | None
    answered_by: str | None
    created_at: str
    expires_at: str
    answered_at: str | None


def approval_view(approval: Approval) -> ApprovalView:
    """Show an approval."""
    return ApprovalView(
        id=approval.id,
        run_id=approval.run_id,
        kind=approval.kind,
        tool=approval.tool,
        input=msgspec.Raw(approval.input.encode()),
        cwd=approval.cwd,
        description=approval.description,
        runner_name=approval.runner_name,
        attempt=approval.attempt,
        request_id=approval.request_id,
        status=approval.status,
        decision=approval.decision,
        reason=approval.reason,
        answers=msgspec.json.decode(approval.answers, type=dict[str, str]) if approval.answers else None,
        answered_by=approval.answered_by,
        created_at=moment(approval.created_at),
        expires_at=moment(approval.expires_at),
        answered_at=shown(approval.answered_at),
    )
