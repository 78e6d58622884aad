"""Everybody at a glance, and what it all costs."""

from __future__ import annotations

from corral.agents import roster, world
from corral.runs import ingest
from corral.usage import reports
from corral.usage.reports import Only
from corral.wire.events import EventBatch, Usage
from tests.agents.office import Office, Work, pass_time


async def spends(work: Work, source: str, model: str, tokens: int, micros: int = 0) -> None:
    line = Usage(source, model, input_tokens=tokens, cost_micros=micros)
    batch = EventBatch(work.assignment.attempt, work.assignment.lease, [], [line])
    await ingest.ingest(work.office.org_id, work.run_id, batch)


async def test_the_world_is_every_agent_and_every_live_run_without_one(office: Office) -> None:
    ada, bob, gone = [await office.agent(name) for name in ("Ada", "Bob", "Gone")]
    await roster.update(office.org_id, gone.id, {"state": "archived"})
    work = await office.at_work(ada, "Build it")
    await office.started(ada, "Later")
    await spends(work, "1", "m", 7, 11)
    run = await office.launch("alone")
    seen = await world.world(office.org_id)
    assert [(one.kind, one.id, one.status, one.phase, one.run_id) for one in seen] == [
        ("agent", ada.id, "working", "Build it", work.run_id),
        ("agent", bob.id, "idle", "", None),
        ("run", run.id, "queued", "alone", run.id),
    ]
    assert (seen[0].total_tokens, seen[0].cost_micros, seen[0].runner_id) == (7, 11, office.box.id)
    assert await world.world(office.org_id + 1) == []


async def test_an_ended_run_leaves_the_world(office: Office) -> None:
    ada = await office.agent()
    work = await office.at_work(ada)
    await work.ends()
    (seen,) = await world.world(office.org_id)
    assert (seen.status, seen.phase, seen.run_id, seen.since) == ("idle", "", None, None)


async def test_usage_is_summed_up_by_agent_model_and_day(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    first, second = await office.at_work(ada), await office.at_work(bob)
    await office.launch("alone")
    (alone,) = await office.claim()
    await spends(first, "1", "large", 100, 5)
    await spends(first, "1", "large", 100, 5)  # sent twice
    await spends(first, "2", "small", 10)
    await spends(second, "1", "small", 1)
    await spends(alone, "1", "small", 1000)
    month = await reports.lately(office.org_id, "month")
    assert month.total.tokens == 1111
    assert {id_: total.tokens for id_, total in month.by_agent().items()} == {ada.id: 110, bob.id: 1, None: 1000}
    assert {model: total.tokens for model, total in month.by_model().items()} == {"large": 100, "small": 1011}
    assert [total.tokens for total in month.by_day().values()] == [0] * 29 + [1111]
    assert month.total.cost_micros == 5
    of_ada = await reports.lately(office.org_id, "day", Only(agent_id=ada.id))
    assert (of_ada.total.tokens, len(of_ada.by_day()), set(of_ada.by_agent())) == (110, 1, {ada.id})


async def test_usage_before_the_period_is_not_counted(office: Office) -> None:
    work = await office.at_work(await office.agent())
    await spends(work, "old", "m", 5)
    await pass_time("usage_lines", "day", 0.010, source="old")  # ten days: days are whole numbers
    await spends(work, "new", "m", 1)
    tokens = [(await reports.lately(office.org_id, period)).total.tokens for period in ("day", "week", "month")]
    assert tokens == [1, 1, 6]
