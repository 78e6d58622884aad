"""An agent of the platform spends what it was given; what an answer costs is known while it comes."""

from __future__ import annotations

import asyncio

import pytest

from corral.platform import database
from corral.platform.database import Unit, sql
from corral.providers import journal
from corral.runs import commands, pausing
from corral.runs.hints import Hints, decide
from corral.runs.models import Run
from corral.usage.ledger import SoFar
from corral.wire import purse
from corral.wire.runner import CommandKind, Fund
from corral.wire.runs import RunStatus
from tests.providers.world import World


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait long for money."""
    monkeypatch.setattr(purse, "PATIENCE_SECONDS", 0.05)


#: Three answers for a dollar each: claude-sonnet-5 takes ten dollars a million tokens out.
SCRIPT = '%keep\n%repeat 2\n%tool note {"text": "x"}\n%usage in=0 out=100000\n%end\n%say done\n%usage in=0 out=100000'


async def test_an_attempt_pauses_before_the_answer_that_it_cannot_pay(world: World, provider: str) -> None:
    await world.start()
    world.allowed = 1_500_000  # of which the second answer takes too much
    run = await world.until(await world.ask(SCRIPT, provider, model="claude-sonnet-5"), RunStatus.PAUSED)
    assert run.reason is not None
    assert '"code":"budget"' in run.reason
    assert len(await world.told(run, "agent.tool_call")) == world.own.done.total() == 2  # what was paid for is used
    assert sum(one.usage.output_tokens for one in world.served(kind="turn")) == 200_000
    spent = await world.spent(run)
    assert (spent.output_tokens, spent.is_estimated) == (200_000, False)
    await pausing.continue_by(world.org_id, run.id, None, "user:me")
    run = await world.until(run)
    assert (run.status, await world.text(run)) == (RunStatus.COMPLETED, "done")
    assert (await world.spent(run)).output_tokens == 300_000


async def fund(run: Run, micros: int) -> None:
    def unit(hints: Hints) -> Unit[None]:
        rows = yield sql("SELECT * FROM runs WHERE no = $1", run.no)
        yield from commands.issue(rows[0], CommandKind.FUND, Fund(micros), hints)

    await decide(unit)


@pytest.mark.parametrize(("micros", "status"), [(5_000_000, RunStatus.COMPLETED), (1, RunStatus.PAUSED)])
async def test_an_attempt_may_be_given_more_or_less_while_it_waits(
    world: World, micros: int, status: RunStatus
) -> None:
    await world.start()
    world.allowed = 1_500_000
    script = "%tool ask {}\n%usage in=0 out=100000\n%next\n" + SCRIPT
    run = await world.ask(script, model="claude-sonnet-5")
    await world.happens(lambda: world.own.asked.total() == 1)
    await fund(run, micros)

    done = "SELECT 1 FROM commands WHERE run_no = $1 AND status = 'done'"
    while not await database.fetch(done, run.no):  # noqa: ASYNC110 - a row has no event to set
        await asyncio.sleep(0.005)
    assert (await world.run(run.id)).status == RunStatus.WAITING  # it spends nothing
    world.own.answers.put_nowait("yes")
    await world.until(run, status)
    assert len(world.served(kind="turn")) == (4 if status == RunStatus.COMPLETED else 1)


async def test_what_an_answer_costs_is_known_while_it_comes_and_counted_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "CHECK_SECONDS", 0.0)
    await world.start()
    run = await world.ask("%usage in=1000 out=60\n%pace 100\n%words 60", model="claude-sonnet-5")
    seen: list[SoFar] = []
    while not seen or not seen[-1].output_tokens or seen[-1].is_estimated:
        seen.append(await world.spent(run))
        await asyncio.sleep(0.005)
    during = [one for one in seen if one.is_estimated]
    assert {one.input_tokens for one in during} == {1000}
    assert [one.output_tokens for one in during] == sorted(one.output_tokens for one in during)
    assert (seen[-1].input_tokens, seen[-1].output_tokens) == (1000, 60)
    assert await database.fetch("SELECT id FROM usage_drafts WHERE source <> ''") == []
    await world.until(run)
    assert await database.fetch("SELECT id FROM usage_drafts") == []
