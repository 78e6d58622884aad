"""Budgets as tests use them: set, looked at, spent of, and what every server does about them each second."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from corral.base.ids import new_id
from corral.platform import database
from corral.runs import admission, reads, treasury
from corral.runs.models import Run
from corral.usage import budgets, meter
from corral.usage.budgets import Budget
from corral.wire.events import EventType, Usage
from corral.wire.runner import CommandKind, Fund
from tests.agents.office import PERSON, Office, Work

DOLLAR = 1_000_000
CENT = 10_000
QUESTION = {"request_id": "r", "kind": "tool", "tool": "Bash", "input": {}, "cwd": "/code", "description": "d"}


async def budget(office: Office, limit: int, scope: str = "org", target: str = "", **fields: Any) -> Budget:
    values = {"name": "B", "limit_micros": limit, "period": "total", "tz": "UTC", "hard": True, **fields}
    made = await budgets.create(office.org_id, new_id(), PERSON, {"scope": scope, "target": target, **values})
    await meter.count(office.org_id)
    return made


async def raised(office: Office, some: Budget, limit: int) -> None:
    await budgets.update(office.org_id, some.id, {"limit_micros": limit})
    await tick()


async def tick() -> None:
    """What every server does each second, on two of them at once."""
    await asyncio.gather(treasury.run_once(0), treasury.run_once(0))


async def stand(office: Office, some: Budget) -> tuple[int, int, int, int]:
    """What is spent, reserved, held and paused."""
    (standing,) = await admission.look(office.org_id, [await budgets.get(office.org_id, some.id)])
    return standing.spent, standing.reserved, standing.held, standing.paused


async def spends(work: Work, micros: int, *types: Any) -> None:
    usage = [Usage(f"{work.assignment.attempt}/{new_id()}", "m", input_tokens=1, cost_micros=micros)]
    stored = await work.office.send(work.assignment, work.n + 1, *types, usage=usage)
    work.n = stored.n


async def why(office: Office, run: Run | str) -> str | None:
    found = await office.run(run if isinstance(run, str) else run.id)
    told: str | None = found.reason
    if told is not None:
        return str(msgspec.json.decode(told)["message"])
    return (await reads.why(office.org_id, [found])).get(found.id)


async def statuses(office: Office, runs: Sequence[Run]) -> list[str]:
    return [(await office.run(run.id)).status for run in runs]


async def funds(office: Office, work: Work) -> list[int]:
    """What the runner is told that the attempt may spend, since it was asked last."""
    found = [
        msgspec.json.decode(command.payload, type=Fund).allowed_micros
        for command in await office.commands()
        if command.kind == CommandKind.FUND and command.run_id == work.run_id
    ]
    await database.fetch("UPDATE commands SET done_at = now_ms() WHERE kind = 'fund' AND run_id = $1", work.run_id)
    return found


async def started(office: Office, count: int = 1) -> list[Work]:
    claimed = await office.claim()
    assert len(claimed) == count
    for work in claimed:
        await work.say(EventType.RUN_STARTED, (EventType.SESSION_INIT, {"session_id": work.run_id}))
        await work.say(EventType.AGENT_MESSAGE)
    return claimed


async def is_paused(office: Office, work: Work) -> None:
    """The runner ends the attempt because it is told to, or has spent what it was told."""
    told = [one for one in await office.commands() if one.kind == CommandKind.PAUSE and one.run_id == work.run_id]
    reason = msgspec.json.decode(told[0].payload) if told else {"code": "budget", "message": "It has spent all"}
    await work._let_go((EventType.RUN_PAUSED, reason))
