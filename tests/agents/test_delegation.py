"""Agents hand tasks to each other and get the results back, whatever happens in between."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from corral.agents import board
from corral.base.errors import LeaseLost
from corral.runs import approvals, life
from corral.wire.events import EventType
from corral.wire.runner import Command
from corral.wire.tools import ToolAnswer
from tests.agents.office import PERSON, Office, Work


async def worked(office: Office, result: str = "42", *, fails: bool = False) -> None:
    """Let the mail be handled, the one task that is ready be done, and its result arrive."""
    await office.post()
    work = await office.work()
    await (work.fails(result) if fails else work.ends(result))
    await office.post()


async def status(office: Office, work: Work) -> tuple[str, str]:
    run = await work.run()
    return run.status, (await office.look(run.task_id or "")).status


async def test_who_waits_gets_the_result_in_the_tools_answer(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada)
    assert await work.hands(bob, "help", wait=True) == ToolAnswer(done=False)
    assert await status(office, work) == ("waiting", "waiting")
    run = await work.run()
    assert (await life.spans(run))[-1].state == "waiting"
    assert await office.why(await office.look(run.task_id or "")) == "waits for Bob: help"
    await worked(office)
    assert await work.hands(bob, "help", wait=True, call_id="1-1") == ToolAnswer(done=True, text="42")
    assert await status(office, work) == ("running", "running")
    await work.ends()
    assert await status(office, work) == ("completed", "done")
    task = next(task for task in await board.page(office.org_id) if task.assignee_id == bob.id)
    assert (task.requester_id, task.parent_id, task.depth) == (ada.id, (await work.run()).task_id, 1)
    assert [told["type"] for told in await work.told()] == ["bus.delegated", "bus.result"]


async def test_an_answer_is_there_the_moment_it_comes(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada)
    waiting = asyncio.create_task(work.hands(bob, "help", wait=True, patience=20))
    while not await office.messages(type_="task.assigned"):  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.005)
    await worked(office)
    answer = await asyncio.wait_for(waiting, 15)
    assert answer == ToolAnswer(done=True, text="42")


async def test_a_failed_task_is_an_error_of_the_tool(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada)
    await work.hands(bob, "help", wait=True)
    await worked(office, "No disk", fails=True)
    answer = await work.hands(bob, "help", wait=True, call_id="1-1")
    assert answer == ToolAnswer(done=True, text="The task failed: No disk", is_error=True)


async def test_several_results_are_waited_for_at_the_same_time(office: Office) -> None:
    ada, bob, cleo = [await office.agent(name) for name in ("Ada", "Bob", "Cleo")]
    work = await office.at_work(ada)
    await work.hands(bob, "one", wait=True, call_id="a")
    await work.hands(cleo, "two", wait=True, call_id="b")
    await office.post()
    first, second = await office.claim()
    for one in (first, second):
        await one.say(EventType.RUN_STARTED)
    await first.ends("1")
    await office.post()
    assert (await work.run()).status == "waiting"
    assert (await work.hands(bob, "one", wait=True, call_id="a")).text == "1"
    await second.ends("2")
    await office.post()
    assert (await work.run()).status == "running"
    assert (await work.hands(cleo, "two", wait=True, call_id="b")).text == "2"


async def test_a_delegator_that_works_on_is_told_the_result_meanwhile(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada)
    answer = await work.hands(bob, "help")
    assert answer.done
    assert "was handed to Bob" in answer.text
    await worked(office)
    (command,) = await office.commands()
    assert command.kind == "message"
    assert b"42" in bytes(command.payload)
    number = (await told(command))["input"]
    await work.ends("all", inputs=[number])
    assert await status(office, work) == ("completed", "done")


async def test_a_delegator_that_ended_its_turn_is_resumed_with_the_result(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada)
    await work.say((EventType.SESSION_INIT, {"session_id": "ada's session"}))
    await work.hands(bob, "help")
    await work.ends("I wait for Bob")
    assert await status(office, work) == ("waiting", "waiting")
    assert not (await work.run()).attempt_open
    await worked(office)
    again = await office.work()
    assert again.run_id == work.run_id
    assert again.assignment.session_id == "ada's session"
    assert again.assignment.resume == "continue"
    assert "42" in again.assignment.prompt
    await again.ends("all")
    assert await status(office, work) == ("completed", "done")


async def test_a_result_that_came_too_late_for_the_turn_begins_another(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada)
    await work.hands(bob, "help")
    await worked(office)
    await work.ends("I did not listen")
    assert (await work.run()).status == "queued"
    again = await office.work()
    assert "42" in again.assignment.prompt
    await again.ends("all")
    assert await status(office, work) == ("completed", "done")


async def test_a_delegator_goes_on_only_when_all_it_handed_out_is_back(office: Office) -> None:
    ada, bob, cleo = [await office.agent(name) for name in ("Ada", "Bob", "Cleo")]
    work = await office.at_work(ada)
    await work.hands(bob, "one")
    await work.hands(cleo, "two")
    await work.ends("waiting")
    await office.post()
    one, two = await office.claim()
    for each in (one, two):
        await each.say(EventType.RUN_STARTED)
    await one.ends("1")
    await office.post()
    again = await office.work()
    assert "1" in again.assignment.prompt
    await again.ends("still waiting")
    assert await status(office, work) == ("waiting", "waiting")
    await two.fails("broken")
    await office.post()
    last = await office.work()
    assert "failed" in last.assignment.prompt
    await last.ends("all")
    assert await status(office, work) == ("completed", "done")


async def test_a_call_that_waits_is_taken_over_by_the_attempt_that_repeats_it(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada)
    await work.hands(bob, "help", wait=True)
    await work.is_cut_off()
    again = await office.work()
    assert again.assignment.attempt == 2
    assert await again.hands(bob, "help", wait=True) == ToolAnswer(done=False)
    assert (await again.run()).status == "waiting"
    await worked(office)
    assert await again.hands(bob, "help", wait=True, call_id="2-1") == ToolAnswer(done=True, text="42")
    assert len(await board.page(office.org_id, assignee=bob.id)) == 1


async def test_a_result_that_came_between_two_attempts_is_told_to_the_second(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada)
    await work.hands(bob, "help", wait=True)
    await office.post()
    help_ = await office.work()
    await work.is_cut_off()
    await help_.ends("42")
    await office.post()
    again = await office.work()
    assert [command.kind for command in await office.commands()] == ["message"]  # if it does not ask again
    assert await again.hands(bob, "help", wait=True) == ToolAnswer(done=True, text="42")  # and if it does
    assert len(await board.page(office.org_id, assignee=bob.id)) == 1


async def test_an_answer_that_was_lost_on_its_way_is_given_to_the_repeat(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada)
    lost = await work.hands(bob, "help")
    await work.is_cut_off()
    again = await office.work()
    assert await again.hands(bob, "help") == lost
    assert len(await board.page(office.org_id, assignee=bob.id)) == 1


async def test_the_same_words_once_more_are_a_new_task_if_the_first_answer_was_heard(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada)
    await work.hands(bob, "run the tests")
    await asyncio.sleep(0.002)  # what is said in the same millisecond counts as said before
    await work.ends("I handed it out")
    await worked(office, "red")
    again = await office.work()
    await again.hands(bob, "run the tests")
    assert len(await board.page(office.org_id, assignee=bob.id)) == 2


async def test_the_same_call_again_is_the_same_call(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada)
    answers = await asyncio.gather(*(work.hands(bob, "help", call_id="one") for _ in range(5)))
    assert len({answer.text for answer in answers}) == 1
    assert len(await board.page(office.org_id, assignee=bob.id)) == 1


async def test_looking_again_shows_what_is_new(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada)
    task_id = (await work.hands(bob, "help")).text.split()[1]
    seen = [(await work.calls_tool("check_task", id=task_id)).text]
    await work.is_cut_off()
    again = await office.work()
    await worked(office)
    seen.append((await again.calls_tool("check_task", id=task_id)).text)
    assert ['"pending"' in seen[0], '"done"' in seen[1], '"42"' in seen[1]] == [True, True, True]
    assert (await again.calls_tool("check_task", id="nonsense")).is_error


async def test_only_the_open_attempt_of_an_agents_run_may_call(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada)
    await work.ends()
    with pytest.raises(LeaseLost):
        await work.hands(bob)
    run = await office.launch()
    await office.claim()
    other = Work(office, work.assignment)
    other.assignment.run_id = run.id
    with pytest.raises(LeaseLost):
        await other.hands(bob)


async def test_an_end_of_the_delegator_ends_nothing_it_handed_out_and_its_log_stays_ended(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada)
    await work.hands(bob, "help")
    await work.fails()
    await office.post()
    help_ = await office.work()
    await help_.calls_tool("report_progress", text="half")
    await office.post()
    await help_.ends("42")
    await office.post()
    assert (await work.log())[-1][0] == "run.failed"
    (result,) = [one for one in await office.messages(type_="task.result") if one.receiver == ada.id]
    assert (result.text, result.handled_at is not None, result.read_at) == ("42", True, None)


async def test_a_task_that_is_run_again_tells_its_result_again_and_no_expectation_is_lost(office: Office) -> None:
    ada, bob, cleo = [await office.agent(name) for name in ("Ada", "Bob", "Cleo")]
    work = await office.at_work(ada)
    task_id = (await work.hands(bob, "one")).text.split()[1]
    await work.hands(cleo, "two")
    await office.post()
    one, two = await office.claim()
    for each in (one, two):
        await each.say(EventType.RUN_STARTED)
    await one.fails("no")
    await office.post()
    numbers = [(await told(command))["input"] for command in await office.commands()]
    await office.begin(task_id)
    await (await office.work()).ends("yes")
    await office.post()
    numbers += [(await told(command))["input"] for command in await office.commands()]
    await work.ends("Cleo is still at it", inputs=sorted(set(numbers)))
    assert (await work.run()).status == "waiting"
    await two.ends("2")
    await office.post()
    await (await office.work()).ends("all")
    assert await status(office, work) == ("completed", "done")


async def test_a_person_is_asked_and_answers_as_the_tool(office: Office) -> None:
    ada = await office.agent("Ada")
    work = await office.at_work(ada)
    asked: dict[str, Any] = {"question": "Which one?", "options": ["red", "blue"]}
    assert not (await work.calls_tool("ask_human", **asked)).done
    assert await status(office, work) == ("waiting", "waiting")
    (card,) = await approvals.page(office.org_id)
    assert (card.tool, card.kind, card.description, card.run_id) == ("ask_human", "question", "Which one?", work.run_id)
    await approvals.answer(office.org_id, card.id, "allow", PERSON, answers={"Which one?": "blue"})
    answer = await work.calls_tool("ask_human", call_id="1-1", **asked)
    assert answer == ToolAnswer(done=True, text="blue")
    assert await status(office, work) == ("running", "running")


async def test_a_question_to_people_outlives_the_attempt_that_asked(office: Office) -> None:
    ada = await office.agent("Ada")
    work = await office.at_work(ada)
    await work.calls_tool("ask_human", question="Which one?")
    await work.is_cut_off()
    again = await office.work()
    assert not (await again.calls_tool("ask_human", question="Which one?")).done
    (card,) = await approvals.page(office.org_id)
    await approvals.answer(office.org_id, card.id, "deny", PERSON, reason="Ask me tomorrow")
    answer = await again.calls_tool("ask_human", call_id="2-1", question="Which one?")
    assert (answer.is_error, "Ask me tomorrow" in answer.text) == (True, True)
    assert (await again.run()).status == "running"


async def test_a_question_to_an_agent_is_a_task_whose_result_answers_it(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada)
    await work.calls_tool("send_message", to="Bob", text="How far are you?\nTell me all.", type="question")
    (task,) = await board.page(office.org_id, assignee=bob.id)
    assert task.title == "How far are you?"
    await work.ends("I asked")
    await worked(office, "Done")
    assert "Done" in (await office.work()).assignment.prompt


async def test_progress_reaches_the_delegators_log(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada)
    await work.hands(bob, "help", wait=True)
    await office.post()
    await (await office.work()).calls_tool("report_progress", text="half of it")
    await office.post()
    assert (await work.told())[-1]["text"] == "half of it"
    assert (await work.run()).status == "waiting"


async def test_progress_of_a_persons_task_reaches_the_person(office: Office) -> None:
    work = await office.at_work(await office.agent())
    await work.calls_tool("report_progress", text="half of it")
    (message,) = await office.messages(type_="task.progress")
    assert (message.receiver, message.text) == (PERSON, "half of it")


@pytest.mark.parametrize(
    ("tool", "arguments", "word"),
    [
        ("delegate_task", {"to": "Bob"}, "title"),
        ("delegate_task", {"to": "Bob", "title": "t", "input": "i", "priority": "urgent"}, "priority"),
        ("delegate_task", {"to": "Bob", "title": "t\0", "input": "i"}, "NUL"),
        ("delegate_task", {"to": "Nobody", "title": "t", "input": "i"}, "Nobody"),
        ("send_message", {"to": "Bob", "text": ""}, "text"),
        ("check_task", {"id": "nonsense"}, "nonsense"),
        ("ask_human", {"question": "q", "colour": "red"}, "colour"),
        ("read_inbox", {"limit": 0}, "limit"),
    ],
)
async def test_a_mistake_is_an_answer_that_names_it(
    office: Office, tool: str, arguments: dict[str, Any], word: str
) -> None:
    await office.agent("Bob")
    work = await office.at_work(await office.agent("Ada"))
    answer = await work.calls_tool(tool, **arguments)
    assert (answer.done, answer.is_error) == (True, True)
    assert word in answer.text
    assert (await work.run()).status == "running"


async def test_agents_who_hand_work_to_each_other_all_at_once_do_not_stand_in_each_others_way(office: Office) -> None:
    agents = [await office.agent(name) for name in ("Ada", "Bob", "Cleo", "Dan")]
    works = [await office.at_work(agent) for agent in agents]
    await asyncio.gather(
        *(
            work.hands(other, f"{me.name} asks {other.name} {n}", wait=n % 2 == 0, call_id=f"{other.id}-{n}")
            for n in range(4)
            for work, me in zip(works, agents, strict=True)
            for other in agents
            if other is not me
        ),
        *(office.post() for _ in range(4)),
    )
    await office.post()
    assert len(await board.page(office.org_id)) == 4 + 4 * 4 * 3
    assert {(await work.run()).status for work in works} == {"waiting"}
    assert len(await office.claim()) == 4


async def told(command: Command) -> dict[str, Any]:
    payload: dict[str, Any] = msgspec.json.decode(command.payload)
    return payload
