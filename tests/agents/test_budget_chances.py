"""Whatever happens, and whenever a server is killed, budgets hold and nothing is left waiting."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from corral.agents.roster import Agent
from corral.platform import database
from corral.runs import admission, reads, treasury
from corral.usage import budgets, meter
from corral.usage.budgets import Budget
from corral.wire.events import EventType
from corral.wire.runner import CommandKind, Fund
from tests.agents.money import (
    CENT,
    DOLLAR,
    QUESTION,
    budget,
    funds,
    is_paused,
    spends,
    stand,
    started,
    tick,
)
from tests.agents.office import Office, Work


class Killed(BaseException):
    """The end of a server."""


async def test_what_a_killed_server_had_not_come_to_the_next_one_finds(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await office.agent()
    commit = database.commit
    left = 0

    async def mortal(unit: Any) -> Any:
        nonlocal left
        done = await commit(unit)
        left -= 1
        if left == 0:
            raise Killed
        return done

    async def everything_waits() -> tuple[Budget, Work]:
        """A run at work that could use more, two that are paused, two that are held."""
        mine = await budget(office, DOLLAR)
        for _ in range(3):
            await office.launch()
        busy, *others = await started(office, 3)
        await spends(busy, 8 * CENT, (EventType.PERMISSION_REQUESTED, QUESTION))
        for work in others:
            await spends(work, 50 * CENT)
            await is_paused(office, work)
        assert (await office.launch()).hold is not None
        assert await office.why(await office.started(ada)) == "budget B: all of its $1.00 in all is spent"
        assert (await stand(office, mine))[2:] == (2, 2)
        await budgets.update(office.org_id, mine.id, {"limit_micros": 100 * DOLLAR})
        return mine, busy

    for kill in range(1, 100):
        mine, busy = await everything_waits()
        left = kill
        monkeypatch.setattr(database, "commit", mortal)
        is_killed = False
        try:
            await treasury.run_once(0)
        except Killed:
            is_killed = True
        monkeypatch.setattr(database, "commit", commit)
        meter.forget()
        await tick()
        assert (await funds(office, busy))[-1] == 108 * CENT
        again = await office.claim()
        assert len(again) == 4
        for work in again:
            await work.say(EventType.RUN_STARTED)
        for work in (busy, *again):
            await work.ends()
        assert (await stand(office, mine))[1:] == (0, 0, 0)
        await budgets.remove(office.org_id, mine.id)
        await database.fetch("DELETE FROM usage_lines")
        meter.forget()
        if not is_killed:
            break
    assert kill > 5


class Chance:
    """A fleet to which anything may happen. Its runners obey: they stop what has spent what it may."""

    ANSWER = 5 * CENT  #: what an answer costs at most

    def __init__(self, office: Office, seed: int, agents: Sequence[Agent]) -> None:
        self.office, self.agents = office, agents
        self.random = random.Random(seed)
        self.works: list[Work] = []
        self.allowed: dict[Work, int | None] = {}
        self.used: dict[Work, int] = {}
        self.most = 0  #: attempts at once

    async def happens(self) -> None:
        """One thing."""
        chance = self.random.random()
        if chance < 0.25:
            await (self.office.launch() if chance < 0.12 else self.office.started(self.random.choice(self.agents)))
        elif chance < 0.4:
            await self.claims()
        elif chance < 0.7 and self.works:
            await self.spends(self.random.choice(self.works), self.random.randrange(self.ANSWER))
        elif chance < 0.8 and self.works:
            work = self.works.pop(self.random.randrange(len(self.works)))
            await (work.ends if chance < 0.77 else work.is_cut_off)()
        else:
            if chance < 0.85:
                meter.forget()  # a server that has just started
            await self.ticks()

    async def claims(self) -> None:
        for work in await self.office.claim():
            await work.say(EventType.RUN_STARTED)
            self.works.append(work)
            money = work.assignment.money
            self.allowed[work], self.used[work] = money.allowed_micros if money else None, 0
        self.most = max(self.most, len(self.works))

    async def spends(self, work: Work, micros: int) -> None:
        await spends(work, micros)
        self.used[work] += micros
        allowed = self.allowed[work]
        if allowed is not None and self.used[work] >= allowed:
            await self.stops(work, {"code": "budget", "message": "It has spent what it may"})

    async def stops(self, work: Work, reason: dict[str, Any]) -> None:
        self.works.remove(work)
        await work._let_go((EventType.RUN_PAUSED, reason))

    async def ticks(self) -> None:
        await tick()
        for command in await self.office.commands():
            for work in [one for one in self.works if one.run_id == command.run_id]:
                if command.kind == CommandKind.FUND:
                    self.allowed[work] = msgspec.json.decode(command.payload, type=Fund).allowed_micros
                else:
                    await self.stops(work, msgspec.json.decode(command.payload))
        await database.fetch("UPDATE commands SET done_at = now_ms() WHERE done_at IS NULL")


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_a_budget_is_exceeded_by_one_answer_of_each_run_at_most(
    office: Office, seed: int
) -> None:
    agents = [await office.agent(name, team=team) for name, team in (("Ada", "Core"), ("Bob", "Core"), ("Cyd", "Edge"))]
    over = [
        await budget(office, 60 * CENT),
        await budget(office, 30 * CENT, "team", "Core"),
        await budget(office, 10 * CENT, "agent", agents[2].id),
    ]
    fleet = Chance(office, seed, agents)
    for _ in range(120):
        await fleet.happens()
        for standing in await admission.look(office.org_id, over):
            assert standing.spent + standing.reserved <= standing.budget.limit_micros + fleet.most * fleet.ANSWER
    spent = [standing.spent for standing in await admission.look(office.org_id, over)]
    assert spent[0] > 30 * CENT
    for one in over:
        await budgets.update(office.org_id, one.id, {"limit_micros": 1000 * DOLLAR})
    for _ in range(200):
        await fleet.ticks()
        for work in fleet.works:
            await work.ends()
        fleet.works.clear()
        await fleet.claims()
        if not fleet.works:
            break
    assert {run.status for run in await reads.page(office.org_id, limit=1000)} == {"completed"}
