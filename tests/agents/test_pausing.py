"""Agents whose runs are paused and go on: their tasks follow, and what comes meanwhile waits."""

from __future__ import annotations

import msgspec
import pytest

from corral.agents import mail, starting
from corral.agents.mail import Letter, MessageType
from corral.runs import life, pausing
from corral.runs.hints import decide
from corral.wire.events import EventType
from corral.wire.runner import Message, Pause
from corral.wire.tools import ToolAnswer
from tests.agents.office import PERSON, Office, Work, pass_time

WORD = ((EventType.SESSION_INIT, {"session_id": "s-1"}), EventType.AGENT_MESSAGE)


async def state(office: Office, work: Work) -> tuple[str, str]:
    run = await work.run()
    return run.status, (await office.look(run.task_id or "")).status


async def pause(office: Office, work: Work) -> None:
    """Pause a run whose machine obeys."""
    await pausing.pause_by(office.org_id, work.run_id, PERSON)
    if (await work.run()).attempt_open:
        await work._let_go((EventType.RUN_PAUSED, msgspec.to_builtins(Pause(by=PERSON))))


async def message(office: Office) -> Message:
    """The one thing that a run is told now."""
    (command,) = await office.commands()
    return msgspec.json.decode(command.payload, type=Message)


async def go_on(office: Office, work: Work, message: str | None = None) -> None:
    await pausing.continue_by(office.org_id, work.run_id, message, PERSON)


async def test_a_paused_run_lets_its_agent_work_on_other_things_and_waits_for_its_turn(office: Office) -> None:
    ada = await office.agent()
    work = await office.at_work(ada, "first")
    await work.say(*WORD)
    then = await office.started(ada, "then")
    await pause(office, work)
    assert await state(office, work) == ("paused", "waiting")
    assert await office.why(await office.look((await work.run()).task_id or "")) == "Paused by a person"
    assert (await life.spans(await work.run()))[-1].state == "paused"
    other = await office.work()
    assert (await other.run()).task_id == then.id
    await go_on(office, work)
    assert await state(office, work) == ("queued", "pending")
    assert await office.why(await office.look((await work.run()).task_id or "")) == "agent Ada is busy"
    await other.ends()
    again = await office.work()
    assert (again.run_id, again.assignment.attempt) == (work.run_id, 2)
    await again.ends()
    assert await state(office, work) == ("completed", "done")


async def test_a_result_that_comes_while_its_delegator_is_paused_is_heard_when_that_goes_on(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada)
    await work.say(*WORD)
    await work.hands(bob, "help", wait=False)
    await work.ends("I wait")
    assert await state(office, work) == ("waiting", "waiting")
    await pause(office, work)
    await office.post()
    part = await office.work()
    await part.ends("42")
    await office.post()
    assert await state(office, work) == ("paused", "waiting")
    await go_on(office, work)
    again = await office.work()
    assert again.assignment.prompt.endswith("42")
    await again.ends("heard")
    assert await state(office, work) == ("completed", "done")


async def test_a_delegator_paused_in_the_middle_of_its_call_has_the_answer_when_it_goes_on(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada)
    await work.say(*WORD)
    assert await work.hands(bob, "help", wait=True) == ToolAnswer(done=False)
    await pause(office, work)
    await office.post()
    part = await office.work()
    await part.ends("42")
    await office.post()
    assert await state(office, work) == ("paused", "waiting")
    await go_on(office, work)
    again = await office.work()
    told = await message(office)
    assert "42" in told.text
    assert await again.hands(bob, "help", wait=True) == ToolAnswer(done=True, text="42")
    await again.ends("heard", inputs=[told.input])
    assert await state(office, work) == ("completed", "done")


async def test_an_answer_waits_for_the_paused_run_that_asked_and_a_person_has_another(
    office: Office,
) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada)
    await work.say(*WORD)
    await pause(office, work)
    answer = Letter(type=MessageType.ANSWER, sender=bob.id, receiver=ada.id, text="It is blue")
    await decide(lambda hints: mail.send(office.org_id, answer, hints))
    await office.write(ada, "Who are you?", MessageType.QUESTION)
    await office.post()
    other = await office.work()
    assert (other.run_id != work.run_id, other.assignment.prompt) == (True, "Who are you?")
    await other.ends("Ada")
    assert (await work.run()).awaits == 1
    await go_on(office, work)
    await office.work()
    assert (await message(office)).text == "It is blue"


@pytest.mark.parametrize("ending", ["ends", "fails", "is_cancelled"])
async def test_a_run_that_goes_on_after_its_end_opens_its_task_again(office: Office, ending: str) -> None:
    ada = await office.agent()
    work = await office.at_work(ada, "first", retries=1)
    await work.say(*WORD)
    await getattr(work, ending)()
    await go_on(office, work, "And now?")
    task = await office.look((await work.run()).task_id or "")
    assert (task.status, task.result, task.error, task.ended_at) == ("pending", None, None, None)
    assert (task.run_id, task.retry_at) == (work.run_id, None)  # the next try is this one
    assert await starting.retry_due(0) == 0
    again = await office.work()
    assert await state(office, work) == ("running", "running")
    await again.ends("Twice")
    task = await office.look(task.id)
    assert (task.status, task.result) == ("done", "Twice")


async def test_a_run_that_goes_on_after_its_end_still_hears_what_it_handed_out(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada)
    await work.say(*WORD)
    for text in ("one", "two", "three"):
        await work.hands(bob, text, wait=False)
    await office.post()
    first = await office.work()
    await work.is_cancelled()
    await first.ends("missed")
    await office.post()  # nobody is there to hear it: it stays in the inbox
    second = await office.work()
    await second.ends("on its way")
    await go_on(office, work, "Go on")
    assert (await work.run()).awaits == 2
    third, again = sorted(await office.claim(), key=lambda one: one.run_id == work.run_id)
    await third.say(EventType.RUN_STARTED)
    await again.say(EventType.RUN_STARTED)
    await office.post()
    told = await message(office)
    assert "on its way" in told.text
    await again.ends("turn", inputs=[told.input])
    assert await state(office, work) == ("waiting", "waiting")
    await third.ends("late")
    await office.post()
    last = await office.work()
    assert last.assignment.prompt.endswith("late")
    await last.ends("all")
    assert await state(office, work) == ("completed", "done")


async def test_a_task_of_its_own_time_is_not_overdue_again_when_its_run_goes_on(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada)
    await work.hands(bob, "help", wait=False)
    await office.post()
    part = await office.work()
    await part.say(*WORD)
    task_id = (await part.run()).task_id or ""
    await pass_time("tasks", "due_at", 10**6, id=task_id)
    assert await starting.end_overdue(0) == 1
    await part.is_cancelled()
    await go_on(office, part, "It is still of use")
    assert await starting.end_overdue(0) == 0
    assert await state(office, part) == ("queued", "pending")
