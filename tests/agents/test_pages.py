"""What pages ask the services for: how much everybody has to do, and who said what to whom."""

from __future__ import annotations

from corral.agents import board, mail
from corral.agents.mail import MessageType
from tests.agents.office import Office


async def test_the_load_of_an_agent_is_its_tasks_without_an_end(office: Office) -> None:
    ada, bob, idle = await office.agent("Ada"), await office.agent("Bob"), await office.agent("Idle")
    await office.task(ada, "One")
    await office.at_work(ada, "Two")
    done = await office.task(bob, "Done")
    await office.task(bob, "Open")
    await board.update(office.org_id, done.id, {"status": board.DONE})
    load = await board.load(office.org_id)
    assert (load[ada.id], load[bob.id]) == (2, 1)
    assert idle.id not in load


async def test_a_thread_is_the_question_and_its_answers_whichever_of_them_is_asked_for(office: Office) -> None:
    ada = await office.agent("Ada")
    question = await office.write(ada, "How far?", MessageType.QUESTION)
    await office.write(ada, "By the way")
    await office.post()
    await (await office.work()).ends("Nearly there")
    answer = (await office.messages(type_="answer"))[0]
    for one in (question, answer):
        assert [said.id for said in await mail.thread(office.org_id, one.id)] == [question.id, answer.id]


async def test_talk_is_between_people_and_agents_and_no_task(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada)
    await work.calls_tool("send_message", to=bob.id, text="Among ourselves")
    await work.ends("A result")
    await office.write(ada, "Between us")
    assert [one.text for one in await office.messages(agent=ada.id, talk=True)] == ["Between us"]


async def test_what_was_given_up_is_counted(office: Office) -> None:
    nowhere = await office.agent("Nowhere", provider_config={"labels": ["of nobody"]})
    await office.write(nowhere, "Hello?", MessageType.QUESTION)
    await office.post()
    assert await mail.count_dead(office.org_id) == 1
