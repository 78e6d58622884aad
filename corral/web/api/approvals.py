"""Approvals: what agents may not do unasked, listed, and answered once."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from corral.base.errors import BadRequest, NotFound
from corral.runs import approvals, reads
from corral.web.api.paging import Id, Page, cut
from corral.web.call import Call
from corral.web.present.approvals import ApprovalView, approval_view
from corral.web.routes import Routes

route = Routes("approvals")

_Text = Annotated[str, msgspec.Meta(max_length=20_000)]


class ApprovalsAsked(Page):
    """Which approvals to list."""

    status: Literal["pending"] | None = None  #: only those that wait
    run_id: Id | None = None


class Decide(msgspec.Struct, forbid_unknown_fields=True):
    """An answer."""

    decision: Literal["allow", "deny"]
    reason: _Text | None = None  #: told to the agent
    answers: dict[str, _Text] | None = None  #: to a question: its text → what is chosen


@route.get("/api/approvals", scope="approvals:read")
async def list_approvals(call: Call, query: ApprovalsAsked) -> list[ApprovalView]:
    """List approvals, newest first: all of them, or those that wait for an answer."""
    if query.run_id is not None:
        await _known_run(call.org_id, query.run_id)
    found = await approvals.page(
        call.org_id,
        pending_only=query.status == "pending",
        run_id=query.run_id,
        limit=query.size + 1,
        before=query.before,
    )
    ids = [approval.id for approval in found]
    shown = cut(call, found, query, ids, status=query.status, run_id=query.run_id)
    return [approval_view(approval) for approval in shown]


@route.get("/api/approvals/<id>", scope="approvals:read")
async def get_approval(call: Call, id: str) -> ApprovalView:
    """Show an approval."""
    return approval_view(await approvals.get(call.org_id, id))


@route.post("/api/approvals/<id>", scope="approvals:write", also=(409,))
async def answer_approval(call: Call, id: str, body: Decide) -> ApprovalView:
    """Answer an approval: the first answer counts, from wherever it comes."""
    answered = await approvals.answer(
        call.org_id, id, body.decision, call.actor, reason=body.reason, answers=body.answers
    )
    return approval_view(answered)


async def _known_run(org_id: int, run_id: str) -> None:
    try:
        await reads.get(org_id, run_id)
    except NotFound as error:
        raise BadRequest(f"run_id: there is no run {run_id} here", field="run_id") from error
