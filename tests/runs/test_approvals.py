"""What a run asks is a row, answered once, and closed with the run."""

from __future__ import annotations

import msgspec
import pytest

from corral.platform import database
from corral.runs import approvals, outcomes, queue
from corral.wire.events import EventType
from corral.wire.runner import CommandResult, CommandStatus
from corral.wire.runs import RunStatus
from tests.runs.world import World, interrupted, started

MESSAGE = EventType.AGENT_MESSAGE
ASK = {"request_id": "r1", "kind": "tool", "tool": "Bash", "input": {"command": "npm test"}, "cwd": "/code"}


async def test_an_approval_is_a_row_answered_once_and_given_to_the_runner(world: World) -> None:
    box, work = await started(world)
    await world.send(work, 2, (EventType.PERMISSION_REQUESTED, ASK))
    assert (await world.run(work.run_id)).status == RunStatus.WAITING
    (asked,) = await approvals.page(world.org_id)
    await approvals.answer(world.org_id, asked.id, "deny", "user:me", reason="not now")
    with pytest.raises(Exception, match="denied"):
        await approvals.answer(world.org_id, asked.id, "allow", "user:me")
    (command,) = (await box.poll()).commands
    told = msgspec.json.decode(command.payload)
    assert (told["request_id"], told["decision"], told["reason"]) == ("r1", "deny", "not now")
    assert (await world.run(work.run_id)).status == RunStatus.RUNNING


async def test_an_approval_nobody_answers_expires_as_a_denial(world: World) -> None:
    box, work = await started(world)
    await world.send(work, 2, (EventType.PERMISSION_REQUESTED, ASK))
    assert await approvals.expire() == 0
    await database.fetch("UPDATE approvals SET expires_at = now_ms() - 1")
    assert await approvals.expire() == 1
    (command,) = (await box.poll()).commands
    assert msgspec.json.decode(command.payload)["decision"] == "deny"


async def test_an_answer_given_between_two_attempts_applies_once_to_the_identical_action(world: World) -> None:
    box, work = await started(world)
    await world.send(work, 2, (EventType.SESSION_INIT, {"session_id": "s1"}), (EventType.PERMISSION_REQUESTED, ASK))
    await world.send(work, 4, EventType.SESSION_INTERRUPTED)
    (asked,) = await approvals.page(world.org_id)
    await approvals.answer(world.org_id, asked.id, "allow", "user:me")
    box.held = []
    again = (await box.poll()).assignments[0]
    await world.send(again, 1, EventType.RUN_STARTED, (EventType.PERMISSION_REQUESTED, {**ASK, "request_id": "r9"}))
    (command,) = (await box.poll()).commands
    assert msgspec.json.decode(command.payload)["request_id"] == "r9"
    assert await approvals.page(world.org_id) == []
    other = {**ASK, "request_id": "r10", "input": {"command": "rm -rf /"}}
    await world.send(again, 3, (EventType.PERMISSION_REQUESTED, other))
    assert [a.request_id for a in await approvals.page(world.org_id)] == ["r10"]


@pytest.mark.parametrize("status", [CommandStatus.DONE, CommandStatus.INTERRUPTED])
async def test_an_answer_that_may_have_reached_the_agent_is_not_given_again_though_its_result_came_late(
    world: World, status: CommandStatus
) -> None:
    box, work = await started(world)
    await world.send(work, 2, (EventType.PERMISSION_REQUESTED, ASK))
    (asked,) = await approvals.page(world.org_id)
    await approvals.answer(world.org_id, asked.id, "allow", "user:me")
    (command,) = (await box.poll()).commands
    again = await interrupted(world, box, work, 3, MESSAGE)
    await outcomes.finish(world.org_id, box.id, command.id, CommandResult(box.session, status))
    await world.send(again, 2, (EventType.PERMISSION_REQUESTED, ASK))
    assert (await box.poll()).commands == []
    assert [a.attempt for a in await approvals.page(world.org_id)] == [2]


async def test_a_question_that_only_an_earlier_attempt_asked_keeps_no_run_waiting(world: World) -> None:
    box, work = await started(world)
    await world.send(work, 2, (EventType.PERMISSION_REQUESTED, ASK))
    again = await interrupted(world, box, work, 3, MESSAGE)
    other = {**ASK, "request_id": "r2", "input": {"command": "make"}}
    await world.send(again, 2, (EventType.PERMISSION_REQUESTED, other))
    newest, _ = await approvals.page(world.org_id)
    await approvals.answer(world.org_id, newest.id, "allow", "user:me")
    assert (await world.run(work.run_id)).status == RunStatus.RUNNING


async def test_one_batch_may_tell_a_whole_attempt(world: World) -> None:
    box = await world.runner()
    await world.launch()
    work = (await box.poll()).assignments[0]
    beginning = (EventType.RUN_STARTED, (EventType.SESSION_INIT, {"session_id": "s1"}), MESSAGE)
    assert (await world.send(work, 1, *beginning, (EventType.RUN_FAILED, {"message": "no"}))).n == 4
    run = await world.run(work.run_id)
    assert (run.status, run.session_id, run.tries, run.attempt_open) == (RunStatus.FAILED, "s1", 1, False)
    assert run.started_at is not None
    assert run.ended_at is not None
    assert run.started_at <= run.ended_at


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_run_that_ends_asks_and_commands_nothing_any_more(world: World, *, at_once: bool) -> None:
    box, work = await started(world)
    ask, end = (EventType.PERMISSION_REQUESTED, ASK), (EventType.RUN_COMPLETED, {"text": "done"})
    await queue.say(world.org_id, work.run_id, "are you there?", "user:me")
    if at_once:
        await world.send(work, 2, ask, end)
    else:
        await world.send(work, 2, ask)
        await world.send(work, 3, end)
    assert (await world.run(work.run_id)).status == RunStatus.COMPLETED
    assert [a.status for a in await approvals.page(world.org_id, pending_only=False)] == ["withdrawn"]
    assert (await box.poll()).commands == []
