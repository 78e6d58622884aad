"""Everything that waits for a person: approvals and questions over all runs, budgets near their end, what failed."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from corral.agents import mail
from corral.base.errors import BadRequest, Conflict
from corral.platform import orgs
from corral.runs import approvals, reads
from corral.runs.models import Approval
from corral.web import answers
from corral.web.answers import Answer, redirect
from corral.web.call import Call
from corral.web.console import budget_views, cards, failures, run, tasks
from corral.web.console.cards import Card, card
from corral.web.console.page import back_to, page
from corral.web.decode import form_pairs
from corral.web.routes import Routes

route = Routes("console", hidden=True, content=answers.HTML)

_SETTLED = 20


class AnswerForm(msgspec.Struct):
    """A card's answer; those to an agent's questions have names of their own and are read beside it."""

    decision: str = ""
    reason: str = ""
    back: str = "/app/inbox"


@route.get("/app/inbox", scope="approvals:read")
async def inbox_page(call: Call) -> Answer:
    """Show what waits, oldest first, budgets near their end, what failed, and what was answered lately."""
    return await _page(call)


@route.get("/app/approvals", scope="approvals:read")
async def approvals_page(call: Call) -> Answer:
    """Lead to the page that this one has become."""
    return redirect("/app/inbox")


@route.post("/app/approvals/<approval_id>", scope="approvals:write", repeatable=False)
async def answer_from_page(call: Call, form: AnswerForm, approval_id: str) -> Answer:
    """Answer a card. Where somebody else was faster, the page says what they answered."""
    asked = await approvals.get(call.org_id, approval_id)
    questions = card(asked).questions
    given = cards.answers(questions, form_pairs(call.body)) if form.decision == "allow" else {}
    try:
        if form.decision not in {"allow", "deny"}:
            raise BadRequest("Choose one of the answers.")
        if form.decision == "allow" and len(given) < len(questions):
            raise BadRequest("Answer each question, or let the agent go on without an answer.")
        await approvals.answer(
            call.org_id, approval_id, form.decision, call.actor,
            reason=form.reason.strip() or None, answers=given or None,
        )  # fmt: skip
    except Conflict:
        return await _again(call, asked, form.back, _faster(await _card(call, approval_id)), 409)
    except BadRequest as error:
        return await _again(call, asked, form.back, error.message, 400)
    return back_to(call, form.back)


async def _again(call: Call, asked: Approval, back: str, problem: str, status: int) -> Answer:
    """Show the page that the card stood on, with what went wrong."""
    if back.startswith("/app/runs/"):
        return await run.show(call, asked.run_id, problem=problem, status=status)
    if back.startswith("/app/tasks/") and (task_id := (await reads.get(call.org_id, asked.run_id)).task_id):
        return await tasks.show(call, task_id, problem=problem, status=status)
    return await _page(call, problem=problem, status=status)


async def _page(call: Call, *, problem: str | None = None, status: int = 200) -> Answer:
    waiting = await approvals.page(call.org_id, pending_only=True, limit=100)
    lately = await approvals.page(call.org_id, pending_only=False, limit=100 + _SETTLED)
    settled = [approval for approval in lately if approval.status != "pending"][:_SETTLED]
    return await page(
        call,
        "inbox.html",
        "inbox",
        status=status,
        path="/app/inbox",
        asks=await _cards(call, list(reversed(waiting))),
        budgets=await budget_views.alarming(call.caller),
        failures=await failures.lately(call.caller),
        dead=await mail.count_dead(call.org_id) if call.caller.has("messages:read") else 0,
        settled=await _cards(call, settled),
        problem=problem,
    )


async def _cards(call: Call, found: Sequence[Approval]) -> list[Card]:
    runs = {run.id: run for run in await reads.some(call.org_id, (approval.run_id for approval in found))}
    people = await orgs.people(call.org_id)
    return [card(approval, run=runs.get(approval.run_id), people=people) for approval in found]


async def _card(call: Call, approval_id: str) -> Card:
    (found,) = await _cards(call, [await approvals.get(call.org_id, approval_id)])
    return found


def _faster(found: Card) -> str:
    by = f" by {found.by}" if found.by else ""
    return f"Your answer came too late: “{found.line}” is {found.outcome.lower()}{by} already."
