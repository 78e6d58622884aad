"""What an attempt that was cut off leaves to the next one."""

from __future__ import annotations

import asyncio

from corral.runs import outcomes, queue
from corral.wire.events import EventType
from corral.wire.runner import CommandResult, CommandStatus
from corral.wire.runs import RunStatus
from tests.runs.world import World, interrupted, started

MESSAGE = EventType.AGENT_MESSAGE


async def test_an_interrupted_attempt_is_resumed_in_its_session(world: World) -> None:
    box, work = await started(world)
    again = await interrupted(world, box, work, 2, MESSAGE)
    assert (again.attempt, again.session_id, again.resume, again.stored_n) == (2, "s1", "interrupted", 0)
    assert "Continue where you left off" in again.prompt
    third = await interrupted(world, box, again, 2)
    assert (third.session_id, third.resume, third.prompt) == ("s1", "interrupted", again.prompt)


async def test_an_attempt_cut_off_before_its_first_word_begins_anew(world: World) -> None:
    """Its session may not be on disk, and does not have the prompt if it is a parent's."""
    box, work = await started(world)
    again = await interrupted(world, box, work, 2)
    assert (again.session_id, again.resume, again.fork, again.prompt) == (None, None, False, work.prompt)
    await world.send(again, 2, (EventType.SESSION_INIT, {"session_id": "s2"}), MESSAGE, EventType.RUN_COMPLETED)
    for is_fork in (False, True):
        box.held = []
        await queue.follow_up(world.org_id, work.run_id, "and now?", "user:me")
        (child,) = (await box.poll()).assignments
        await world.send(child, 1, EventType.RUN_STARTED)
        began = (EventType.SESSION_INIT, {"session_id": "s3" if is_fork else "s2"})
        await world.send(child, 2, began, EventType.SESSION_INTERRUPTED)
        box.held = []
        (retried,) = (await box.poll()).assignments
        assert (retried.session_id, retried.resume, retried.fork) == ("s2", "followup", is_fork)
        assert retried.prompt == "and now?"
        await world.send(retried, 1, EventType.RUN_STARTED, EventType.RUN_COMPLETED)


async def test_what_a_person_said_to_an_attempt_that_did_not_answer_reaches_the_next(world: World) -> None:
    box, work = await started(world)
    await queue.say(world.org_id, work.run_id, "the red one", "user:me")
    again = await interrupted(world, box, work, 2)
    assert again.prompt.startswith(work.prompt)
    assert again.prompt.endswith("the red one")
    await world.send(again, 2, (EventType.SESSION_INIT, {"session_id": "s1"}), MESSAGE)
    await asyncio.sleep(0.002)  # the database's clock counts milliseconds
    await queue.say(world.org_id, work.run_id, "heard, not answered", "user:me")
    (told,) = (await box.poll()).commands
    result = CommandResult(box.session, CommandStatus.DONE)
    await outcomes.finish(world.org_id, box.id, told.id, result)
    await queue.say(world.org_id, work.run_id, "never heard", "user:me")
    third = await interrupted(world, box, again, 4)
    assert "Continue where you left off" in third.prompt
    assert third.prompt.endswith("heard, not answered\n\nnever heard")
    assert "the red one" not in third.prompt


async def test_a_cancelled_run_that_is_interrupted_ends(world: World) -> None:
    _, work = await started(world)
    await queue.cancel(world.org_id, work.run_id, "user:me")
    await world.send(work, 2, EventType.SESSION_INTERRUPTED)
    assert (await world.run(work.run_id)).status == RunStatus.CANCELLED
