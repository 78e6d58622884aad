"""Who gets a run: one runner that may have it, once."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace

import pytest

from corral.base.errors import BadRequest, Conflict
from corral.platform import database
from corral.runs import leases, loops, poll, queue, reads
from corral.runs.hints import decide
from corral.wire.events import EventType
from corral.wire.runs import RunStatus
from tests.runs.world import World


async def test_machines_that_are_new_at_the_same_time_get_a_number_each(world: World) -> None:
    boxes = await asyncio.gather(*(world.runner(f"box{n}") for n in range(5)))
    assert {box.id for box in boxes} == {1, 2, 3, 4, 5}


async def test_a_queued_run_is_given_to_a_runner_that_polls(world: World) -> None:
    box = await world.runner()
    run = await world.launch("say hi")
    answer = await box.poll()
    assert [(a.run_id, a.prompt, a.cwd, a.attempt) for a in answer.assignments] == [(run.id, "say hi", "/code", 1)]
    assert (await box.poll()).assignments == []


async def test_a_waiting_poll_is_woken_by_a_launch(world: World) -> None:
    box = await world.runner()
    waiting = asyncio.create_task(box.poll(wait=20))
    await asyncio.sleep(0)
    run = await world.launch()
    answer = await asyncio.wait_for(waiting, 15)
    assert [a.run_id for a in answer.assignments] == [run.id]


async def test_a_hundred_runs_are_each_claimed_once_by_ten_polls_at_a_time(world: World) -> None:
    boxes = [await world.runner(f"box{i}", max_pods=100) for i in range(10)]
    runs = {(await world.launch()).id for _ in range(100)}
    answers = await asyncio.gather(*(box.poll(free=7) for box in boxes for _ in range(1)))
    more = await asyncio.gather(*(box.poll(free=7) for box in boxes))
    claimed = [a.run_id for answer in [*answers, *more] for a in answer.assignments]
    assert len(claimed) == len(set(claimed)) == 100
    assert set(claimed) == runs


async def test_the_higher_priority_goes_first_then_the_older(world: World) -> None:
    box = await world.runner()
    low, late, first = await world.launch(), await world.launch(priority=5), await world.launch(priority=9)
    assert [a.run_id for _ in range(3) for a in (await box.poll(free=1)).assignments] == [first.id, late.id, low.id]


async def test_a_runner_gets_only_runs_whose_labels_directory_and_pin_it_has(world: World) -> None:
    plain = await world.runner("plain", dirs=["/code"])
    gpu = await world.runner("gpu", dirs=["/data", "/code/big"], labels=["gpu", "linux"])
    for_gpu = await world.launch(cwd="/code/big/model", labels=["gpu"])
    for_plain = await world.launch(cwd="/code/x")
    pinned = await world.launch(cwd="/code/big", runner=plain.id)
    assert {a.run_id for a in (await plain.poll()).assignments} == {for_plain.id, pinned.id}
    assert {a.run_id for a in (await gpu.poll()).assignments} == {for_gpu.id}


async def test_a_directory_that_no_known_runner_allows_is_refused_naming_cwd(world: World) -> None:
    await world.runner(dirs=["/code"])
    with pytest.raises(BadRequest, match="/etc") as error:
        await world.launch(cwd="/etc")
    assert error.value.field == "cwd"


async def test_a_run_launched_before_any_runner_waits_for_one_that_comes(world: World) -> None:
    run = await world.launch(cwd="/late/here")
    assert await reads.why(world.org_id, [run]) == {run.id: "no runner has connected yet"}
    late = await world.runner(dirs=["/late"])
    assert [a.run_id for a in (await late.poll()).assignments] == [run.id]


async def test_a_runner_with_a_deeper_directory_takes_runs_queued_before_it_came(world: World) -> None:
    await world.runner("wide", dirs=["/code"])
    run = await world.launch(cwd="/code/deep/down")
    deep = await world.runner("deep", dirs=["/code/deep"])
    assert [a.run_id for a in (await deep.poll()).assignments] == [run.id]


async def test_the_server_caps_slots_by_its_own_count(world: World) -> None:
    box = await world.runner(max_pods=2)
    for _ in range(3):
        await world.launch()
    assert len((await box.poll(free=50)).assignments) == 2
    assert (await box.poll(free=50)).assignments == []


async def test_an_assignment_whose_answer_was_lost_is_offered_again_unchanged(world: World) -> None:
    box = await world.runner()
    await world.launch()
    first = (await box.poll(hold=False)).assignments
    assert (await box.poll()).assignments == first


async def test_a_newer_poll_voids_an_older_one_that_still_waits(world: World) -> None:
    box = await world.runner()
    older = asyncio.create_task(box.poll(wait=20))
    await asyncio.sleep(0.05)
    await box.poll()
    assert (await asyncio.wait_for(older, 15)).void


async def test_a_run_claimed_and_never_started_is_queued_again_when_its_runner_goes(world: World) -> None:
    box, other = await world.runner(), await world.runner("other")
    run = await world.launch()
    await box.poll()
    assert await leases.run_once(7200) == 0
    await world.age_runner(box, 91)
    assert await leases.run_once(7200) == 1
    again = (await other.poll()).assignments
    assert [(a.run_id, a.attempt) for a in again] == [(run.id, 2)]


async def test_a_started_run_becomes_unreachable_stays_with_its_runner_and_comes_back(world: World) -> None:
    box, other = await world.runner(), await world.runner("other")
    run = await world.launch()
    work = (await box.poll()).assignments[0]
    await world.send(work, 1, EventType.RUN_STARTED)
    await world.age_runner(box, 91)
    await leases.run_once(7200)
    assert (await world.run(run.id)).unreachable_since is not None
    assert (await other.poll()).assignments == []
    await box.poll()
    assert (await world.run(run.id)).unreachable_since is None
    assert (await world.send(work, 2, EventType.AGENT_MESSAGE)).n == 2
    assert (await world.log(run))[-3:] == ["session.unreachable", "session.reachable", "agent.message"]


async def test_nobody_is_missed_within_a_lease_of_a_start_an_outage_or_a_leap_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passed, swept = 0.0, 0

    async def sweep(lost_after: float) -> int:
        nonlocal swept
        swept += 1
        if swept == 1:
            raise OSError("the database is away")
        return 0

    monkeypatch.setattr(loops, "time", SimpleNamespace(monotonic=lambda: passed))
    monkeypatch.setattr(leases, "run_once", sweep)
    sweeper = loops.LeaseSweep(7200)

    async def sweeps(clock: float, *, until: float) -> list[float]:
        """When it swept, looking every 5 seconds; `clock` is how far the wall clock is ahead."""
        nonlocal passed
        at = []
        while passed < until:
            passed += 5
            before = swept
            with contextlib.suppress(OSError):
                await sweeper.run_once(passed + clock)
            if swept > before:
                at.append(passed)
        return at

    assert await sweeps(0, until=200) == [90, 180, 185, 190, 195, 200]
    assert await sweeps(3600, until=300) == [295, 300]
    assert await sweeps(-3600, until=400) == [395, 400]


async def test_a_run_lost_for_too_long_fails_and_says_so(world: World) -> None:
    box = await world.runner()
    run = await world.launch()
    await world.send((await box.poll()).assignments[0], 1, EventType.RUN_STARTED)
    await world.age_runner(box, 100)
    await leases.run_once(60)
    await database.fetch("UPDATE runs SET unreachable_since = unreachable_since - 61000 WHERE no = $1", run.no)
    await leases.run_once(60)
    ended = await world.run(run.id)
    assert (ended.status, ended.attempt_open) == (RunStatus.FAILED, False)
    assert "runner_lost" in (ended.reason or "")


async def test_a_runner_that_restarts_gives_back_what_it_no_longer_has(world: World) -> None:
    box = await world.runner()
    run = await world.launch()
    work = (await box.poll()).assignments[0]
    init = (EventType.SESSION_INIT, {"session_id": "abc"})
    await world.send(work, 1, EventType.RUN_STARTED, init, EventType.AGENT_MESSAGE)
    await box.register()
    box.held = []
    answer = await box.poll()
    assert [(a.run_id, a.attempt, a.session_id, a.resume) for a in answer.assignments] == [
        (run.id, 2, "abc", "interrupted")
    ]


async def test_a_run_that_ends_while_its_runner_is_heard_again_stays_ended(world: World) -> None:
    """On PostgreSQL its end may commit between a poll's look and what the poll does about it."""
    box = await world.runner()
    run = await world.launch()
    (work,) = (await box.poll()).assignments
    await world.send(work, 1, EventType.RUN_STARTED)
    await world.age_runner(box, 91)
    await leases.run_once(7200)
    (seen,) = await database.fetch("SELECT * FROM runs WHERE no = $1", run.no)
    await world.send(work, 2, EventType.RUN_COMPLETED)
    await decide(lambda hints: poll._take_back(seen, hints))
    await decide(lambda hints: poll._welcome_back([seen], "another", hints))
    assert (await world.run(run.id)).status == RunStatus.COMPLETED
    assert (await world.log(run))[-1] == "run.completed"


async def test_an_old_process_of_a_runner_is_told_to_stop(world: World) -> None:
    box = await world.runner()
    old = box.session
    await box.register()
    box.session = old
    with pytest.raises(Conflict, match="newer process"):
        await box.poll()


async def test_a_second_live_runner_of_the_same_name_is_refused(world: World) -> None:
    box = await world.runner("twin")
    other = type(box)(world.org_id, "twin", ["/code"], [], 1)
    other.body.uid = "another"
    with pytest.raises(Conflict, match="twin"):
        await other.register()


async def test_cancelling_a_queued_run_ends_it_at_once(world: World) -> None:
    box = await world.runner()
    run = await world.launch()
    await queue.cancel(world.org_id, run.id, "user:me")
    assert (await world.run(run.id)).status == RunStatus.CANCELLED
    assert (await box.poll()).assignments == []
    with pytest.raises(Conflict, match="already ended"):
        await queue.cancel(world.org_id, run.id, "user:me")


async def test_cancelling_a_live_run_sends_a_command_that_stays_until_its_result(world: World) -> None:
    box = await world.runner()
    run = await world.launch()
    work = (await box.poll()).assignments[0]
    await world.send(work, 1, EventType.RUN_STARTED)
    waiting = asyncio.create_task(box.poll(wait=20))
    await asyncio.sleep(0.05)
    await queue.cancel(world.org_id, run.id, "user:me")
    answer = await asyncio.wait_for(waiting, 15)
    assert [c.kind for c in answer.commands] == ["cancel"]
    assert [c.kind for c in (await box.poll()).commands] == ["cancel"]
    await world.send(work, 2, (EventType.RUN_CANCELLED, {"message": "done"}))
    assert (await box.poll()).commands == []


async def test_a_run_cancelled_before_its_runner_holds_it_is_not_offered_again(world: World) -> None:
    box = await world.runner()
    run = await world.launch()
    assert (await box.poll(hold=False)).assignments  # an answer that was lost
    await queue.cancel(world.org_id, run.id, "user:me")
    answer = await box.poll()
    assert (answer.assignments, answer.commands) == ([], [])
    assert (await world.run(run.id)).status == RunStatus.CANCELLED


async def test_the_same_launch_twice_is_one_run(world: World) -> None:
    first = await world.launch(id="0199aaaa-0000-7000-8000-000000000001")
    second = await world.launch(id="0199aaaa-0000-7000-8000-000000000001")
    assert first.no == second.no
    assert await world.log(first) == ["run.created"]
