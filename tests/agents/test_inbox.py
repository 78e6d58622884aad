"""Messages have their effect once, in order, whoever handles them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from corral.agents import inbox, mail, results, starting
from corral.agents.mail import Letter, MessageType
from corral.base.errors import Conflict, Unavailable
from corral.platform import database
from corral.runs.hints import decide
from tests.agents.office import PERSON, Office, pass_time


async def test_messages_are_handled_once_and_in_order_with_many_at_it(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents = [await office.agent(f"Agent {n}") for n in range(3)]
    handled: list[tuple[str, int]] = []
    real = inbox._effect

    def noted(message: Any, *rest: Any) -> Any:
        handled.append((message["receiver"], message["inbox_seq"]))
        return (yield from real(message, *rest))

    monkeypatch.setattr(inbox, "_effect", noted)

    async def send(agent_id: str, n: int) -> None:
        letter = Letter(type=MessageType.BROADCAST, sender=PERSON, receiver=agent_id, text=str(n))
        await decide(lambda hints: mail.send(office.org_id, letter, hints))

    await asyncio.gather(
        *(send(agent.id, n) for n in range(10) for agent in agents),
        *(inbox.drain(agent.id) for agent in agents for _ in range(3)),
    )
    await asyncio.gather(*(inbox.drain(agent.id) for agent in agents for _ in range(3)))
    for agent in agents:
        # An effect that was begun for nothing, because another drain was quicker, is not counted: it never began.
        assert [seq for who, seq in handled if who == agent.id] == list(range(1, 11))
    rows = await database.fetch("SELECT count(*) AS n FROM messages WHERE handled_at IS NULL")
    assert rows[0]["n"] == 0


async def test_lost_hints_are_made_up_for(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada)
    await work.hands(bob)
    assert await office.claim() == []
    await office.post()
    assert len(await office.claim()) == 1


def broken(times: int, error: Callable[[], Exception] = RuntimeError) -> Any:
    """What fails so often before it does what `results.deliver` does."""
    real, left = results.deliver, [times]

    def deliver(*arguments: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise error()
        return (yield from real(*arguments))

    return deliver


async def result_for(office: Office) -> tuple[Any, Any]:
    """A run that waits for a result, which is in its agent's inbox; and a note behind it."""
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada)
    await work.hands(bob, "help", wait=True)
    await office.post()
    await (await office.work()).ends("42")
    await office.write(ada, "a note")
    return ada, work


async def test_what_fails_is_tried_again_after_a_pause_and_keeps_its_place(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, work = await result_for(office)
    monkeypatch.setattr(results, "deliver", broken(2))
    for tries in (1, 2):
        await office.post()
        result, note = [one for one in await office.messages() if one.receiver == ada.id][-2:]
        assert (result.tries, result.error, result.handled_at, note.handled_at) == (tries, "RuntimeError()", None, None)
        await inbox.drain(ada.id)  # rests
        await pass_time("messages", "retry_at", 100, id=result.id)
    await office.post()
    result, note = [one for one in await office.messages() if one.receiver == ada.id][-2:]
    assert result.handled_at is not None
    assert note.handled_at is not None
    assert (await work.hands("Bob", call_id="1-1")).text == "42"


async def test_what_fails_too_often_is_given_up_and_can_be_replayed(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, work = await result_for(office)
    monkeypatch.setattr(results, "deliver", broken(inbox.MOST_TRIES))
    for _ in range(inbox.MOST_TRIES):
        await office.post()
        await database.fetch("UPDATE messages SET retry_at = 0 WHERE retry_at IS NOT NULL")
    (dead,) = await office.messages(dead=True)
    assert (dead.type, dead.receiver, dead.error, dead.tries) == ("task.result", ada.id, "RuntimeError()", 5)
    note = (await office.messages(type_="note"))[-1]
    assert note.handled_at is not None  # the others go on
    await inbox.replay(office.org_id, dead.id)
    await office.post()
    assert await office.messages(dead=True) == []
    assert (await work.hands("Bob", call_id="1-1")).text == "42"
    with pytest.raises(Conflict, match="not given up"):
        await inbox.replay(office.org_id, dead.id)


async def test_an_outage_is_no_fault_of_a_message(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    await result_for(office)
    monkeypatch.setattr(results, "deliver", broken(10, Unavailable))
    for _ in range(10):
        with pytest.raises(Unavailable):
            await office.post()
    await office.post()
    assert {message.tries for message in await office.messages()} == {0}


async def test_a_task_whose_start_is_given_up_is_an_error_and_starts_when_it_is_replayed(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada)
    await work.hands(bob, "help")
    with monkeypatch.context() as patched:

        async def broken(*_: Any) -> Any:
            raise RuntimeError("no luck")

        patched.setattr(starting, "prepare", broken)
        for _ in range(inbox.MOST_TRIES):
            await office.post()
            await database.fetch("UPDATE messages SET retry_at = 0 WHERE retry_at IS NOT NULL")
    (dead,) = await office.messages(dead=True)
    task = await office.look(dead.task_id or "")
    assert (task.status, task.error) == ("error", "It could not be started: no luck")
    await inbox.replay(office.org_id, dead.id)
    await office.post()
    assert (await office.look(task)).status == "pending"
    assert len(await office.claim()) == 1


async def test_a_task_that_nobody_could_take_ends_with_the_reason(office: Office) -> None:
    ada = await office.agent("Ada")
    lost = await office.agent("Lost", provider_config={"cwd": "/elsewhere"})
    work = await office.at_work(ada)
    await work.hands(lost, "help", wait=True)
    await office.post()
    answer = await work.hands(lost, "help", wait=True, call_id="1-1")
    assert (answer.done, answer.is_error) == (True, True)
    assert "/elsewhere" in answer.text


async def test_a_persons_message_to_an_idle_agent_begins_a_run_that_answers_it(office: Office) -> None:
    ada = await office.agent()
    asked = await office.write(ada, "How are you?", MessageType.QUESTION)
    await office.post()
    work = await office.work()
    assert work.assignment.prompt == "How are you?"
    await work.ends("Fine")
    (answer,) = await office.messages(type_="answer")
    assert (answer.sender, answer.receiver, answer.text, answer.reply_to, answer.run_id) == (
        ada.id,
        PERSON,
        "Fine",
        asked.id,
        work.run_id,
    )


async def test_a_persons_message_to_a_busy_agent_reaches_its_run(office: Office) -> None:
    ada = await office.agent()
    work = await office.at_work(ada)
    await office.write(ada, "Hurry")
    asked = await office.write(ada, "How far are you?", MessageType.QUESTION)
    await office.post()
    assert len(await office.commands()) == 2
    assert [told["text"] for told in await work.told()] == ["Hurry", "How far are you?"]
    await work.ends("At the end", inputs=[1, 2])
    (answer,) = await office.messages(type_="answer")
    assert (answer.reply_to, answer.text) == (asked.id, "At the end")


async def test_a_message_to_an_agent_that_cannot_work_is_given_up_with_the_reason(office: Office) -> None:
    lost = await office.agent(provider_config={"cwd": "/elsewhere"})
    await office.write(lost, "Hello")
    await office.post()
    (dead,) = await office.messages(dead=True)
    assert "/elsewhere" in (dead.error or "")


async def test_an_agents_note_is_read_when_the_other_looks_and_once(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada)
    for text in ("one", "two", "three"):
        assert (await work.calls_tool("send_message", to="Bob", text=text)).text == "Sent to Bob."
    reader = await office.at_work(bob)
    first = (await reader.calls_tool("read_inbox", limit=2)).text
    assert [word in first for word in ("one", "two", "three", ada.id)] == [True, True, False, True]
    assert "three" in (await reader.calls_tool("read_inbox")).text
    assert (await reader.calls_tool("read_inbox", call_id="again")).text == "No new messages."


async def test_an_agents_answer_reaches_the_others_run(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada)
    other = await office.at_work(bob)
    await other.calls_tool("send_message", to=ada.id, text="It is blue", type="answer")
    await office.post()
    assert [told["text"] for told in await work.told()] == ["It is blue"]
    assert (await work.calls_tool("read_inbox")).text == "No new messages."


async def test_a_broadcast_reaches_everybody_but_its_sender_and_the_archived(office: Office) -> None:
    ada, bob, gone = [await office.agent(name) for name in ("Ada", "Bob", "Gone")]
    await database.fetch("UPDATE agents SET state = 'archived' WHERE id = $1", gone.id)
    work = await office.at_work(ada)
    assert (await work.calls_tool("send_message", to="*", text="All hands")).text == "Sent to 1 agents."
    sent = await office.write("*", "From above")
    assert sent.type == "broadcast"
    assert [(one.receiver, one.text) for one in await office.messages(type_="broadcast")] == [
        (bob.id, "All hands"),
        *((agent.id, "From above") for agent in sorted((ada, bob), key=lambda agent: agent.id)),
    ]
    assert await office.claim() == []  # nobody begins a run for it


async def test_a_message_is_sent_once_though_it_is_asked_for_twice(office: Office) -> None:
    ada = await office.agent()
    letter = Letter(type=MessageType.NOTE, sender=PERSON, receiver=ada.id, text="once")
    await asyncio.gather(*(mail.post(office.org_id, letter) for _ in range(2)), return_exceptions=True)
    await mail.post(office.org_id, letter)
    assert len(await office.messages()) == 1


async def test_messages_are_found_by_agent_type_and_time(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    sent = [await office.write(agent, text) for agent, text in ((ada, "1"), (bob, "2"), (ada, "3"))]
    await pass_time("messages", "created_at", 60, id=sent[0].id)
    now = sent[1].created_at

    async def found(**which: Any) -> list[str]:
        return [one.text for one in await mail.page(office.org_id, **which)]

    assert await found() == ["3", "2", "1"]
    assert await found(agent=ada.id) == ["3", "1"]
    assert await found(type_="question") == []
    assert await found(since=now - 1000) == ["3", "2"]
    assert await found(until=now - 1000) == ["1"]
    assert await found(before=sent[2].id, limit=1) == ["2"]
    assert [one.text for one in await mail.later(office.org_id, after=sent[0].no)] == ["2", "3"]
    assert await mail.later(office.org_id + 1, after=0) == []


async def test_who_watches_sees_every_message_though_they_commit_out_of_order(office: Office) -> None:
    agents = [await office.agent(f"Agent {n}") for n in range(5)]
    seen: list[str] = []

    async def watch() -> None:
        after = 0
        while len(seen) < 100:
            found = await mail.later(office.org_id, after=after)
            seen.extend(one.text for one in found)
            after = found[-1].no if found else after
            await asyncio.sleep(0.001)

    async def write(n: int) -> None:
        for m in range(20):
            await office.write(agents[(n + m) % 5], f"{n}-{m}")

    await asyncio.gather(watch(), *(write(n) for n in range(5)))
    assert len(set(seen)) == len(seen) == 100
