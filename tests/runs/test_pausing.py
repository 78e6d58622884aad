"""Pause and continue: an attempt ends, the run stays, and nothing it was told is lost."""

from __future__ import annotations

import msgspec
import pytest

from corral.base.errors import Conflict
from corral.runs import pausing
from corral.wire.events import EventType
from corral.wire.runner import Assignment, CommandKind, Pause, Resume
from corral.wire.runs import RunStatus
from tests.runs.world import Machine, World

INIT = (EventType.SESSION_INIT, {"session_id": "s-1"})
MESSAGE = EventType.AGENT_MESSAGE
PAUSED = (EventType.RUN_PAUSED, msgspec.to_builtins(Pause(by="user:me")))


async def at_work(world: World) -> tuple[Machine, Assignment]:
    """A run whose agent has said a word in its session."""
    box = await world.runner()
    await world.launch()
    work = (await box.poll()).assignments[0]
    await world.send(work, 1, EventType.RUN_STARTED, INIT, MESSAGE)
    return box, work


async def pause(world: World, work: Assignment) -> None:
    await pausing.pause_by(world.org_id, work.run_id, "user:me")


async def test_a_run_at_work_is_paused_by_its_runner_and_goes_on_in_its_session(world: World) -> None:
    box, work = await at_work(world)
    await pause(world, work)
    await pause(world, work)  # twice is once
    (command,) = (await box.poll()).commands
    assert (command.kind, msgspec.json.decode(command.payload)["by"]) == (CommandKind.PAUSE, "user:me")
    assert (await world.run(work.run_id)).status == RunStatus.RUNNING
    await world.send(work, 4, PAUSED)
    run = await world.run(work.run_id)
    assert run.status == RunStatus.PAUSED
    assert not run.attempt_open
    assert not run.pause_requested
    assert msgspec.json.decode(run.reason)["message"] == "Paused by a person"
    with pytest.raises(Conflict, match="paused already"):
        await pause(world, work)
    box.held.clear()
    assert not (await box.poll()).assignments
    await pausing.continue_by(world.org_id, work.run_id, None, "user:me")
    again = (await box.poll()).assignments[0]
    assert (again.attempt, again.session_id, again.resume) == (2, "s-1", Resume.INTERRUPTED)
    assert again.prompt.startswith("You were paused")
    await world.send(again, 1, EventType.RUN_STARTED, INIT, MESSAGE, (EventType.RUN_COMPLETED, {"text": "done"}))
    run = await world.run(work.run_id)
    assert run.status == RunStatus.COMPLETED
    assert not run.reason
    assert run.last_seq == len(await world.log(run))
