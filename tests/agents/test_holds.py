"""One run at a time for each agent, the most urgent first."""

from __future__ import annotations

import asyncio

from corral.agents import board, roster
from corral.runs import queue
from corral.wire.events import EventType
from tests.agents.office import PERSON, Office


async def told(office: Office) -> list[str]:
    return [work.assignment.prompt for work in await office.claim()]


async def test_an_agent_works_on_one_run_at_a_time_the_most_urgent_first(office: Office) -> None:
    ada = await office.agent()
    for text, priority in (("low", -1), ("normal", 0), ("high", 1), ("high too", 1)):
        await office.started(ada, text, priority=priority)
    order = []
    for _ in range(4):
        work = await office.work()
        assert await told(office) == []
        order.append(work.assignment.prompt)
        await work.ends()
    assert order == ["high", "high too", "normal", "low"]


async def test_a_more_urgent_task_overtakes_one_that_is_ready(office: Office) -> None:
    ada = await office.agent()
    normal = await office.started(ada, "normal")
    assert (await office.run_of(normal)).hold is None
    await office.started(ada, "high", priority=1)
    assert await office.why(normal) == "agent Ada is busy"
    await board.update(office.org_id, normal.id, {"priority": 1})
    assert await told(office) == ["normal"]  # as urgent, and older


async def test_two_agents_work_at_the_same_time(office: Office) -> None:
    for name in ("Ada", "Bob"):
        await office.started(await office.agent(name), name)
    assert sorted(await told(office)) == ["Ada", "Bob"]


async def test_a_busy_agents_next_task_says_so_and_starts_when_it_is_free(office: Office) -> None:
    ada = await office.agent()
    work = await office.at_work(ada, "first")
    then = await office.started(ada, "then")
    assert await office.why(then) == "agent Ada is busy"
    await work.fails()
    assert await told(office) == ["then"]


async def test_a_claim_that_never_starts_keeps_the_agent_until_it_is_taken_back(office: Office) -> None:
    ada = await office.agent()
    await office.started(ada, "first")
    (work,) = await office.claim()
    await office.started(ada, "then", priority=1)
    assert await told(office) == []
    await work.say(EventType.RUN_STARTED)
    await work.is_cut_off()
    assert await told(office) == ["then"]


async def test_a_paused_agent_finishes_what_it_does_and_begins_nothing(office: Office) -> None:
    ada = await office.agent()
    work = await office.at_work(ada, "first")
    then = await office.started(ada, "then")
    await roster.update(office.org_id, ada.id, {"state": "paused"})
    await work.ends()
    assert await told(office) == []
    assert await office.why(then) == "agent Ada is paused"
    await roster.update(office.org_id, ada.id, {"state": "active"})
    assert await told(office) == ["then"]


async def test_an_agent_whose_run_waits_is_free_for_another(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada, "first")
    await office.started(ada, "then")
    assert await told(office) == []
    await work.hands(bob, "help", wait=True)
    assert await told(office) == ["then"]


async def test_a_run_that_is_to_go_on_waits_until_its_agent_is_free(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    first = await office.at_work(ada, "first")
    await first.hands(bob, "help")
    await first.ends("waiting for Bob")
    await office.post()
    help_ = await office.work()
    then = await office.at_work(ada, "then")
    await help_.ends("helped")
    await office.post()
    task = await office.look((await first.run()).task_id or "")
    assert await office.why(task) == "agent Ada is busy"
    assert await told(office) == []
    await then.ends()
    (again,) = await office.claim()
    assert again.run_id == first.run_id
    assert "helped" in again.assignment.prompt


async def test_a_follow_up_of_an_agents_run_waits_for_its_turn(office: Office) -> None:
    ada = await office.agent()
    first = await office.at_work(ada, "first")
    await first.say((EventType.SESSION_INIT, {"session_id": "s"}))
    await first.ends()
    second = await office.at_work(ada, "second")
    child = await queue.follow_up(office.org_id, first.run_id, "more", PERSON)
    assert child.agent_id == ada.id
    assert await told(office) == []
    await second.ends()
    assert await told(office) == ["more"]


async def test_cancelling_the_first_of_a_queue_lets_the_second_go(office: Office) -> None:
    ada = await office.agent()
    first, _ = await office.started(ada, "first"), await office.started(ada, "second")
    await board.cancel(office.org_id, first.id, PERSON)
    assert await told(office) == ["second"]


async def test_ten_tasks_at_once_are_worked_on_one_after_the_other(office: Office) -> None:
    ada = await office.agent()
    await asyncio.gather(*(office.started(ada, f"task {n}") for n in range(10)))
    done = 0
    while claimed := await office.claim():
        assert len(claimed) == 1
        await claimed[0].say(EventType.RUN_STARTED)
        assert await office.claim() == []
        await claimed[0].ends()
        done += 1
    assert done == 10
