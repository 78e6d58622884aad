"""Runs as pages show them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from corral.runs import admission, approvals, pausing, reads, runners
from corral.runs.models import Approval, Run
from corral.usage import ledger
from corral.usage.ledger import SoFar
from corral.web.console.words import STATUS_WORDS, duration
from corral.wire.events import ApprovalKind
from corral.wire.runs import ENDED, LIVE, RunStatus

_TITLE = 140
_ASKED = 100  #: approvals looked at, to say what runs wait for


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a run ended as it did or is paused, and what to do."""

    code: str
    message: str
    hint: str | None


@dataclass(frozen=True, slots=True)
class RunView:
    """One run: a row of a list, or the head of its page."""

    id: str
    short: str
    status: str  #: the class that colours its dot
    word: str
    title: str
    why: str | None  #: what it waits for, or why it failed
    reason: Reason | None
    runner: str | None
    runner_number: int | None
    cwd: str
    mode: str
    model: str | None
    time: str
    tokens: int
    cached: int | None  #: per cent of what went in
    cost: float | None  #: so far
    is_estimated: bool  #: some of it is of answers that are still being written, or were broken off
    created_at: int
    ended_at: int | None
    attempt: int
    ended: bool
    can_pause: bool
    can_continue: bool
    last_seq: int
    parent_id: str | None
    parent_short: str | None
    agent_id: str | None
    agent: str | None  #: its name at the launch
    task_id: str | None
    children: list[Child] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Child:
    """A run that went on from this one."""

    id: str
    short: str


@dataclass(frozen=True, slots=True)
class UsageLine:
    """What one model cost a run, in four classes."""

    model: str
    input: int
    output: int
    cache_read: int
    cache_write: int
    cost: float


async def view(org_id: int, run: Run) -> RunView:
    """Return one run's view, with the runs that went on from it."""
    (found,) = await views(org_id, [run])
    found.children.extend(Child(child.id, short(child.id)) for child in await reads.children(org_id, run))
    return found


async def views(org_id: int, runs: Sequence[Run]) -> list[RunView]:
    """Return the views of many runs, with as few questions to the database."""
    machines = await runners.names(run.runner_no or run.pinned_no for run in runs)
    totals = await ledger.totals(run.no for run in runs)
    why = await reads.why(org_id, runs)
    if any(run.status == RunStatus.WAITING for run in runs):
        why |= await asked(org_id)
    return [_view(run, machines, totals.get(run.no), why.get(run.id)) for run in runs]


async def asked(org_id: int) -> dict[str, str]:
    """Say for each run that waits for a person what it asks, by run id."""
    found = await approvals.page(org_id, pending_only=True, limit=_ASKED)
    return {approval.run_id: _ask(approval) for approval in found}  # newest first, so that the oldest one stays


def _ask(approval: Approval) -> str:
    return "has a plan to approve" if approval.kind == ApprovalKind.PLAN else f"asks: {one_line(approval)}"


async def usage(run: Run) -> list[UsageLine]:
    """Return what the run cost, by model."""
    return [
        UsageLine(
            model, sums.input_tokens, sums.output_tokens, sums.cache_read_tokens, sums.cache_write_tokens, sums.cost_usd
        )
        for model, sums in (await ledger.by_model(run.no)).items()
    ]


def one_line(approval: Approval) -> str:
    """Return what an approval asks, in one line; plans and questions without the name of the tool that they are."""
    if approval.kind == ApprovalKind.TOOL:
        return approval.description
    return approval.description.removeprefix(approval.tool).lstrip(" #")


def title(prompt: str) -> str:
    """Return a prompt's first line, as the name of its run."""
    line = next((line.strip() for line in prompt.splitlines() if line.strip()), "(empty)")
    return line if len(line) <= _TITLE else line[: _TITLE - 1] + "…"


def short(run_id: str) -> str:
    """Return enough of a run's id to tell it from its neighbours: the end, since UUIDv7 begin with the time."""
    return run_id.replace("-", "")[-8:]


def _view(run: Run, machines: dict[int, runners.Machine], sums: SoFar | None, why: str | None) -> RunView:
    machine = machines.get(run.runner_no or run.pinned_no or 0)
    reason = _reason(run)
    status, word = _status(run)
    ended = run.status in ENDED
    return RunView(
        id=run.id,
        short=short(run.id),
        status=status,
        word=word,
        title=title(run.prompt),
        why=why or (reason.message if reason and run.status in {RunStatus.FAILED, RunStatus.PAUSED} else None),
        reason=reason if ended or run.status == RunStatus.PAUSED else None,
        runner=machine.name if machine else None,
        runner_number=machine.id if machine else None,
        cwd=run.cwd,
        mode=run.permission_mode,
        model=run.model,
        time=_time(run),
        tokens=sums.tokens if sums else 0,
        cached=_cached(sums),
        cost=sums.cost_usd if sums else None,
        is_estimated=sums.is_estimated if sums else False,
        created_at=run.created_at,
        ended_at=run.ended_at,
        attempt=run.attempt,
        ended=ended,
        can_pause=_can_pause(run, reason),
        can_continue=run.status == RunStatus.PAUSED,
        last_seq=run.last_seq,
        parent_id=run.parent_id,
        parent_short=short(run.parent_id) if run.parent_id else None,
        agent_id=run.agent_id,
        agent=agent_name(run.agent),
        task_id=run.task_id,
    )


def _can_pause(run: Run, reason: Reason | None) -> bool:
    """Tell whether a person's pause would change anything: of what a budget has paused, that money lets it go on."""
    if run.status == RunStatus.PAUSED:
        return reason is not None and reason.code == admission.CODE
    return run.status in LIVE and not pausing.is_asked_of(run) and run.cancel_requested_at is None


def agent_name(stored: str | None) -> str | None:
    """Return the name in a run's snapshot of its agent."""
    return str(msgspec.json.decode(stored)["name"]) if stored else None


def _status(run: Run) -> tuple[str, str]:
    """Return the class and the word of a run's state; what happens to it right now goes before the stored one."""
    if run.status not in ENDED and run.unreachable_since is not None:
        return "unreachable", "Unreachable"
    if run.status not in ENDED and run.cancel_requested_at is not None:
        return run.status, "Cancelling"
    if run.status in LIVE and pausing.is_asked_of(run):
        return run.status, "Pausing"
    if run.status == RunStatus.QUEUED and run.attempt_open:
        return run.status, "Starting"
    return run.status, STATUS_WORDS[run.status]


def _reason(run: Run) -> Reason | None:
    if not run.reason:
        return None
    stored: dict[str, Any] = msgspec.json.decode(run.reason)
    return Reason(str(stored.get("code") or run.status), str(stored.get("message") or run.status), stored.get("hint"))


def _time(run: Run) -> str:
    if run.started_at is None:
        return "—"
    return duration(((run.ended_at or time.time() * 1000) - run.started_at) / 1000)


def _cached(sums: SoFar | None) -> int | None:
    return round(100 * sums.hit_rate) if sums and sums.hit_rate else None
