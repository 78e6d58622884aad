"""Everything about money happens at once: nothing waits for ever, and at the end nothing is kept for anybody."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from corral.base.errors import BadRequest, Conflict, NotFound
from corral.base.ids import new_id
from corral.platform import database
from corral.runs import pausing, queue, reads, treasury
from corral.runs.models import Run
from corral.usage import budgets, meter
from corral.wire.events import EventType, Usage
from corral.wire.runner import CommandKind, Fund
from corral.wire.runs import ENDED
from tests.agents.office import PERSON, Office, Work

CENT = 10_000


class Storm:
    """A machine that obeys, and people who launch, pause, continue and cancel runs, and set budgets, meanwhile."""

    def __init__(self, office: Office, seed: int) -> None:
        self.office, self.random = office, random.Random(seed)
        self.works: dict[str, Work] = {}
        self.allowed: dict[str, int | None] = {}
        self.used: dict[str, int] = {}

    async def breaks(self) -> None:
        """Some things at once; the machine's own come one after the other."""
        machine = [self.claims, self.spends, self.ends, self.obeys]
        others = [self.launches, self.changes_budgets, self.somebody, self.looks, self.looks]
        chosen = self.random.choices([*machine, self.spends, *others], k=self.random.randrange(2, 6))

        async def works() -> None:
            for act in chosen:
                if act in machine:
                    await act()

        await asyncio.gather(works(), *(_calmly(act) for act in chosen if act not in machine))

    # The machine

    async def claims(self) -> None:
        for work in await self.office.claim():
            money = work.assignment.money
            self.works[work.run_id] = work
            self.allowed[work.run_id], self.used[work.run_id] = money.allowed_micros if money else None, 0
            await work.say(EventType.RUN_STARTED, (EventType.SESSION_INIT, {"session_id": work.run_id}))
            await work.say(EventType.AGENT_MESSAGE)

    async def spends(self) -> None:
        if not self.works:
            return
        work, cost = self.random.choice([*self.works.values()]), self.random.randrange(5 * CENT)
        usage = [Usage(new_id(), "m", input_tokens=1, cost_micros=cost)]
        work.n = (await self.office.send(work.assignment, work.n + 1, usage=usage)).n
        self.used[work.run_id] += cost
        allowed = self.allowed[work.run_id]
        if allowed is not None and self.used[work.run_id] >= allowed:
            await self.stops(work, EventType.RUN_PAUSED, {"code": "budget", "message": "It has spent what it may"})

    async def ends(self) -> None:
        if self.works:
            work = self.works.pop(self.random.choice([*self.works]))
            await self.random.choice([work.ends, work.is_cut_off, work.fails])()

    async def obeys(self) -> None:
        for command in await self.office.commands():
            work = self.works.get(command.run_id)
            if work is not None and command.kind == CommandKind.FUND:
                self.allowed[work.run_id] = msgspec.json.decode(command.payload, type=Fund).allowed_micros
            elif work is not None:
                is_pause = command.kind == CommandKind.PAUSE
                end = EventType.RUN_PAUSED if is_pause else EventType.RUN_CANCELLED
                await self.stops(work, end, msgspec.json.decode(command.payload))
            await database.fetch("UPDATE commands SET done_at = now_ms() WHERE id = $1", command.id)

    async def stops(self, work: Work, end: EventType, reason: dict[str, Any]) -> None:
        del self.works[work.run_id]
        await work._let_go((end, reason))

    # Everybody else

    async def launches(self) -> None:
        agents = [one for one in self.agents if self.random.random() < 0.5]
        await (self.office.started(self.random.choice(agents)) if agents else self.office.launch())

    async def changes_budgets(self) -> None:
        known = budgets.known(self.office.org_id)
        chance = self.random.random()
        limit = {"limit_micros": self.random.randrange(CENT, 100 * CENT), "hard": chance < 0.6}
        if known and chance < 0.25:
            await budgets.remove(self.office.org_id, self.random.choice(known).id)
        elif known and chance < 0.7:
            await budgets.update(self.office.org_id, self.random.choice(known).id, limit)
        else:
            scopes = [("org", ""), ("team", "Core"), ("agent", self.agents[2].id), ("key", "test")]
            scope, target = self.random.choice(scopes)
            fields = {"scope": scope, "target": target, "name": scope, "period": "total", "tz": "UTC", **limit}
            await budgets.create(self.office.org_id, new_id(), PERSON, {**fields, "hard": True})

    async def somebody(self) -> None:
        runs = await reads.page(self.office.org_id, limit=1000)
        if not runs:
            return
        run, org_id = self.random.choice(runs), self.office.org_id
        if (chance := self.random.random()) < 0.3:
            await pausing.pause_by(org_id, run.id, PERSON)
        elif chance < 0.8:
            await pausing.continue_by(org_id, run.id, self.random.choice([None, "Go on"]), PERSON)
        else:
            await queue.cancel(org_id, run.id, PERSON)

    async def looks(self) -> None:
        """A server's second; now and then it has only just started."""
        if self.random.random() < 0.1:
            meter.forget()
        await treasury.run_once(0)

    # And then

    async def begins(self) -> None:
        teams = (("Ada", "Core"), ("Bob", "Core"), ("Cyd", "Edge"))
        self.agents = [await self.office.agent(name, team=team) for name, team in teams]

    async def calms_down(self) -> list[Run]:
        """There is money for all, and whom a person has stopped goes on; return the runs that have not ended then."""
        org_id = self.office.org_id
        for one in budgets.known(org_id):
            await budgets.update(org_id, one.id, {"limit_micros": 10**10})
        for _ in range(100):
            await asyncio.gather(treasury.run_once(0), treasury.run_once(0))
            await self.obeys()
            await self.claims()
            while self.works:
                await self.works.popitem()[1].ends()
            left = [run for run in await reads.page(org_id, limit=1000) if run.status not in ENDED]
            for run in left:
                if run.status == "paused" and msgspec.json.decode(run.reason)["code"] == pausing.BY_HAND:
                    await pausing.continue_by(org_id, run.id, None, PERSON)
            if not left:
                break
        return left


async def _calmly(act: Callable[[], Awaitable[None]]) -> None:
    """Do it; that it cannot be done just now is an answer too."""
    with suppress(Conflict, BadRequest, NotFound):
        await act()


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_happens_at_once_no_run_waits_for_ever_and_nothing_stays_reserved(
    office: Office, seed: int
) -> None:
    storm = Storm(office, seed)
    await storm.begins()
    for _ in range(60):
        await storm.breaks()
    assert [(run.status, run.hold, run.reason) for run in await storm.calms_down()] == []
    await treasury.run_once(0)
    assert list(await database.fetch("SELECT * FROM reservations")) == []
