"""Pause and continue: an attempt ends, the run stays, and nothing it was told is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from corral.base.errors import BadRequest, Conflict, LeaseLost
from corral.platform import database
from corral.platform.database import Row, Unit
from corral.runs import feed, inputs, leases, outcomes, pausing, queue, reads
from corral.runs.hints import decide
from corral.wire.events import EventType
from corral.wire.runner import Assignment, CommandKind, CommandResult, CommandStatus, Pause, Resume
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


async def test_a_message_is_said_to_what_was_left_and_one_that_was_not_heard_is_told_again(world: World) -> None:
    box, work = await at_work(world)
    await queue.say(world.org_id, work.run_id, "the red one", "user:me")
    await pause(world, work)
    await world.send(work, 4, PAUSED)
    with pytest.raises(Conflict, match="Continue it"):
        await queue.say(world.org_id, work.run_id, "hello?", "user:me")
    again = await continued(world, box, work, "and with tests")
    assert again.prompt.startswith("You were paused")
    assert again.prompt.endswith("In the meantime a person said:\n\nthe red one\n\nand with tests")
    assert await told(world, work, "user.message") == ["the red one", "and with tests"]


async def test_a_run_that_was_paused_before_its_agent_said_a_word_begins_anew(world: World) -> None:
    box = await world.runner()
    await world.launch("do it")
    work = (await box.poll()).assignments[0]
    await world.send(work, 1, EventType.RUN_STARTED, INIT)
    await pause(world, work)
    await world.send(work, 3, PAUSED)
    again = await continued(world, box, work, "quickly")
    assert (again.session_id, again.resume) == (None, None)
    assert again.prompt == "do it\n\nIn the meantime a person said:\n\nquickly"


@pytest.mark.parametrize(
    ("last", "status"),
    [
        ((EventType.RUN_COMPLETED, {"text": "done"}), "completed"),
        ((EventType.RUN_FAILED, {"code": "cli_error", "message": "no"}), "failed"),
        (EventType.SESSION_INTERRUPTED, "paused"),
    ],
)
async def test_a_run_that_ends_by_itself_before_it_was_paused_has_ended(world: World, last: Any, status: str) -> None:
    box, work = await at_work(world)
    await pause(world, work)
    await world.send(work, 4, last)
    run = await world.run(work.run_id)
    assert (run.status, run.attempt_open) == (status, False)
    assert (await world.log(run))[-1] == f"run.{status}"
    assert (await box.poll(hold=False)).commands == []
    again = await continued(world, box, work, "go on")
    assert again.attempt == 2
    await world.send(again, 1, EventType.RUN_STARTED, INIT, MESSAGE, EventType.SESSION_INTERRUPTED)
    assert (await world.run(work.run_id)).status == RunStatus.QUEUED  # nobody asked for another pause


async def test_a_cancel_wins_over_a_pause_whichever_was_first(world: World) -> None:
    for first, second in ((pause, cancel), (cancel, pause)):
        _, work = await at_work(world)
        await first(world, work)
        await second(world, work)
        await world.send(work, 4, PAUSED)
        assert (await world.run(work.run_id)).status == RunStatus.CANCELLED


async def test_a_paused_run_can_be_cancelled(world: World) -> None:
    box, work = await at_work(world)
    await pause(world, work)
    await world.send(work, 4, PAUSED)
    await cancel(world, work)
    assert (await world.run(work.run_id)).status == RunStatus.CANCELLED
    again = await continued(world, box, work, None)
    assert (again.session_id, again.prompt.split(",")[0]) == ("s-1", "Continue where you left off")


async def test_a_pause_waits_for_a_runner_that_is_away_and_holds_when_it_never_comes_back(world: World) -> None:
    box, work = await at_work(world)
    await world.age_runner(box, 100)
    await leases.run_once(lost_after=600)
    await pause(world, work)
    run = await world.run(work.run_id)
    assert (run.status, run.unreachable_since is None) == (RunStatus.RUNNING, False)
    await database.fetch("UPDATE runs SET unreachable_since = unreachable_since - 700000")
    await leases.run_once(lost_after=600)
    run = await world.run(work.run_id)
    assert (run.status, run.attempt_open, run.unreachable_since) == (RunStatus.PAUSED, False, None)
    answer = await box.poll()
    assert [lost.run_id for lost in answer.lost] == [work.run_id]  # it still had it, and is told to end it
    with pytest.raises(LeaseLost):
        await world.send(work, 4, MESSAGE)
    again = await continued(world, box, work, None)
    assert again.session_id == "s-1"


async def test_a_runner_that_does_not_know_the_command_is_fenced(world: World) -> None:
    box, work = await at_work(world)
    await pause(world, work)
    (command,) = (await box.poll()).commands
    result = CommandResult(box.session, CommandStatus.UNSUPPORTED)
    for _ in range(2):
        await outcomes.finish(world.org_id, box.id, command.id, result)
    run = await world.run(work.run_id)
    assert (run.status, (await world.log(run)).count("run.paused")) == (RunStatus.PAUSED, 1)
    assert [lost.run_id for lost in (await box.poll()).lost] == [work.run_id]


async def test_the_word_of_a_person_stays_though_a_budget_was_quicker(world: World) -> None:
    _, work = await at_work(world)
    budget = Pause("budget", "The budget is used up", by="corral")
    await decide(lambda hints: within(world, work, lambda run: pausing.pause(run, budget, hints)))
    await pause(world, work)
    await world.send(work, 4, (EventType.RUN_PAUSED, msgspec.to_builtins(budget)))
    run = await world.run(work.run_id)
    assert run.reason
    assert msgspec.json.decode(run.reason)["code"] == "paused"
    assert (await reads.why(world.org_id, [run]))[run.id] == "Paused by a person"


async def waiting(world: World) -> tuple[Machine, Assignment]:
    """A run that has ended its turn and waits for two things it has to hear."""
    box, work = await at_work(world)
    for _ in range(2):
        await expect(world, work)
    await world.send(work, 4, (EventType.RUN_COMPLETED, {"text": "I wait"}))
    assert (await world.run(work.run_id)).status == RunStatus.WAITING
    box.held.clear()
    return box, work


async def expect(world: World, work: Assignment) -> None:
    await decide(lambda _hints: within(world, work, lambda run: inputs.expect(run["no"])))


async def tell(world: World, work: Assignment, text: str) -> None:
    await decide(lambda hints: within(world, work, lambda run: inputs.tell(run, text, hints, expected=True)))


async def test_a_run_that_waits_to_be_told_more_is_paused_at_once_and_hears_it_when_it_goes_on(world: World) -> None:
    box, work = await waiting(world)
    await pause(world, work)
    assert (await world.run(work.run_id)).status == RunStatus.PAUSED
    await pausing.continue_by(world.org_id, work.run_id, None, "user:me")
    assert (await world.run(work.run_id)).status == RunStatus.WAITING  # nothing has come yet
    await pause(world, work)
    await tell(world, work, "the result")
    assert (await world.run(work.run_id)).status == RunStatus.PAUSED
    again = await continued(world, box, work, "and hurry")
    assert (again.prompt, again.resume, again.session_id) == ("the result\n\nand hurry", Resume.CONTINUE, "s-1")
    await world.send(again, 1, EventType.RUN_STARTED, INIT, MESSAGE, (EventType.RUN_COMPLETED, {"text": "so far"}))
    assert (await world.run(work.run_id)).status == RunStatus.WAITING  # for the other one
    await tell(world, work, "the other")
    last = (await box.poll()).assignments[0]
    await world.send(last, 1, EventType.RUN_STARTED, INIT, MESSAGE, (EventType.RUN_COMPLETED, {"text": "all"}))
    run = await world.run(work.run_id)
    assert (run.status, run.awaits) == (RunStatus.COMPLETED, 0)


async def test_a_turn_that_ends_while_its_pause_is_asked_for_does_not_begin_another(world: World) -> None:
    box, work = await at_work(world)
    await tell(world, work, "heard in time?")
    await expect(world, work)
    await pause(world, work)
    await world.send(work, 4, (EventType.RUN_COMPLETED, {"text": "turn"}))
    run = await world.run(work.run_id)
    assert run.status == RunStatus.PAUSED
    assert (await world.log(run))[-2:] == ["session.waiting", "run.paused"]
    assert (await continued(world, box, work, None)).prompt == "heard in time?"


async def test_a_cancel_that_meets_the_end_of_a_turn_ends_the_run(world: World) -> None:
    _, work = await at_work(world)
    await expect(world, work)
    await cancel(world, work)
    await world.send(work, 4, (EventType.RUN_COMPLETED, {"text": "turn"}))
    assert (await world.run(work.run_id)).status == RunStatus.CANCELLED


async def test_an_ended_run_goes_on_beside_the_run_that_followed_it_up(world: World) -> None:
    box, work = await at_work(world)
    await world.send(work, 4, (EventType.RUN_COMPLETED, {"text": "done"}))
    with pytest.raises(BadRequest, match="message"):
        await pausing.continue_by(world.org_id, work.run_id, None, "user:me")
    child = await queue.follow_up(world.org_id, work.run_id, "more", "user:me")
    again = await continued(world, box, work, "on")
    assert (again.session_id, again.resume, again.fork, again.prompt) == ("s-1", Resume.CONTINUE, True, "on")
    # The fork has a name, and is cut off before there is anything in it: another is made of the same session.
    await world.send(again, 1, EventType.RUN_STARTED, (EventType.SESSION_INIT, {"session_id": "s-2"}))
    await world.send(again, 3, EventType.SESSION_INTERRUPTED)
    third = next(one for one in (await box.poll()).assignments if one.run_id == work.run_id)
    assert (third.session_id, third.fork, third.prompt) == ("s-1", True, "on")
    assert (await world.run(child.id)).session_id == "s-1"


async def continued(world: World, box: Machine, work: Assignment, message: str | None) -> Assignment:
    """Let the run go on; returns its next attempt."""
    await pausing.continue_by(world.org_id, work.run_id, message, "user:me")
    box.held.clear()
    return next(one for one in (await box.poll()).assignments if one.run_id == work.run_id)


async def cancel(world: World, work: Assignment) -> None:
    await queue.cancel(world.org_id, work.run_id, "user:me")


async def told(world: World, work: Assignment, kind: str) -> list[str]:
    run = await world.run(work.run_id)
    return [msgspec.json.decode(event.payload)["text"] for event in await feed.events(run.no) if event.type == kind]


def within(world: World, work: Assignment, unit: Callable[[Row], Unit[None]]) -> Unit[None]:
    """Do something to the locked run."""
    yield from unit((yield from queue.locked(world.org_id, work.run_id)))
