"""One run's page, and what can be done from it."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from dataclasses import dataclass

import msgspec

from corral.agents import needs
from corral.base.errors import BadRequest, Conflict
from corral.platform import orgs
from corral.runs import admission, approvals, deleting, life, pausing, queue, reads
from corral.runs.life import Span
from corral.runs.models import Run
from corral.web import answers
from corral.web.answers import Answer
from corral.web.call import Call
from corral.web.console.cards import card
from corral.web.console.page import away_to, back_to, page
from corral.web.console.run_views import agent_name, usage, view
from corral.web.console.secret_views import address
from corral.web.console.sign_in import Nothing
from corral.web.routes import Routes
from corral.wire.runs import ENDED, LIVE, RunStatus

route = Routes("console", hidden=True, content=answers.HTML)


class Life(msgspec.Struct):
    """What the bar above the log is drawn from."""

    now: int
    spans: list[Span]


class Say(msgspec.Struct):
    """What a person writes to a run."""

    text: str = ""
    here: str = ""  #: set: an ended run is to go on itself, and no other with its session


@dataclass(frozen=True, slots=True)
class Composer:
    """The box to write in: what it does depends on the run's state."""

    open: bool
    label: str
    verb: str
    other: str | None = None  #: what else can be done with what is written


@dataclass(frozen=True, slots=True)
class Remedy:
    """Where somebody can do something about what a run waits for."""

    path: str
    label: str


@route.get("/app/runs/<run_id>", scope="runs:read")
async def run_page(call: Call, run_id: str) -> Answer:
    """Show a run; its log is fetched by the page."""
    return await show(call, run_id)


@route.get("/app/runs/<run_id>/life", scope="runs:read", content=answers.JSON)
async def run_life(call: Call, run_id: str) -> Life:
    """Return how the run's time went."""
    run = await reads.get(call.org_id, run_id)
    return Life(now=int(time.time() * 1000), spans=await life.spans(run))


@route.post("/app/runs/<run_id>/say", scope="runs:write", repeatable=False)
async def say_from_page(call: Call, form: Say, run_id: str) -> Answer:
    """Send a message to a live run; let a paused one go on with it; follow up an ended one and lead to the child."""
    run = await reads.get(call.org_id, run_id)
    text = form.text.strip().replace("\r\n", "\n")
    if not text:
        return await show(call, run_id, problem="Write something first.", status=400)
    try:
        if run.status == RunStatus.PAUSED or (run.status in ENDED and form.here):
            await pausing.continue_by(call.org_id, run_id, text, call.actor)
            return back_to(call, f"/app/runs/{run_id}")
        if run.status in ENDED:
            child = await queue.follow_up(call.org_id, run_id, text, call.actor)
            return away_to(call, f"/app/runs/{child.id}")
        await queue.say(call.org_id, run_id, text, call.actor)
    except (Conflict, BadRequest) as error:
        return await show(call, run_id, problem=error.message, status=409)
    return back_to(call, f"/app/runs/{run_id}")


@route.post("/app/runs/<run_id>/pause", scope="runs:write", repeatable=False)
async def pause_from_page(call: Call, form: Nothing, run_id: str) -> Answer:
    """Pause a run that is at work or waits."""
    return await _done(call, run_id, pausing.pause_by(call.org_id, run_id, call.actor))


@route.post("/app/runs/<run_id>/continue", scope="runs:write", repeatable=False)
async def continue_from_page(call: Call, form: Nothing, run_id: str) -> Answer:
    """Let a paused run go on where it was."""
    return await _done(call, run_id, pausing.continue_by(call.org_id, run_id, None, call.actor))


@route.post("/app/runs/<run_id>/cancel", scope="runs:write", repeatable=False)
async def cancel_from_page(call: Call, form: Nothing, run_id: str) -> Answer:
    """Ask for the run's end."""
    return await _done(call, run_id, queue.cancel(call.org_id, run_id, call.actor))


@route.post("/app/runs/<run_id>/delete", scope="runs:write", repeatable=False)
async def delete_run_from_page(call: Call, form: Nothing, run_id: str) -> Answer:
    """Delete a run that nobody works on, and lead to the others."""
    try:
        await deleting.delete(call.org_id, run_id, call.actor)
    except Conflict as error:
        return await show(call, run_id, problem=error.message, status=409)
    return away_to(call, "/app/runs")


async def _done(call: Call, run_id: str, doing: Awaitable[None]) -> Answer:
    """Do something to a run and lead back to its page, which says so if it could not be done."""
    try:
        await doing
    except (Conflict, BadRequest) as error:
        return await show(call, run_id, problem=error.message, status=409)
    return back_to(call, f"/app/runs/{run_id}")


async def show(call: Call, run_id: str, *, problem: str | None = None, status: int = 200) -> Answer:
    """Render the page of a run, with what went wrong with a form of it."""
    run = await reads.get(call.org_id, run_id)
    people = await orgs.people(call.org_id)
    asked = await approvals.page(call.org_id, pending_only=True, run_id=run_id)
    return await page(
        call,
        "run.html",
        "runs",
        status=status,
        path=f"/app/runs/{run_id}",
        run=await view(call.org_id, run),
        usage=await usage(run),
        asks=[card(approval, run=run, people=people) for approval in reversed(asked)],
        composer=_composer(run, agent_name(run.agent) or "Claude"),
        remedy=remedy(call, run),
        problem=problem,
    )


def remedy(call: Call, run: Run | None) -> Remedy | None:
    """Return what lets a run go on that waits for a secret or for money, as far as the caller may."""
    if run is None or run.status not in {RunStatus.QUEUED, RunStatus.PAUSED}:
        return None
    if key := needs.lacked(run.hold):
        return Remedy(address("new", key), "Store it") if call.caller.may("secrets:write") else None
    reason = msgspec.json.decode(run.reason) if run.reason else {}
    if (run.hold or "").startswith(admission.HELD) or reason.get("code") == admission.CODE:
        return Remedy("/app/budgets", "See the budgets") if call.caller.has("usage:read") else None
    return None


def _composer(run: Run, who: str) -> Composer:
    if run.status in LIVE:
        return Composer(open=True, label=f"Message {who}, or steer the run…", verb="Send")
    if run.status == RunStatus.PAUSED:
        return Composer(open=True, label="Go on with a message…", verb="Continue")
    if run.status not in ENDED:
        return Composer(open=False, label="The run takes messages once it has started", verb="Send")
    if run.session_id is None:
        return Composer(open=False, label="It ended before it began: launch a new run instead", verb="Follow up")
    label = "Follow up: a new run goes on where this one ended…"
    return Composer(open=True, label=label, verb="Follow up", other="Continue this run")
