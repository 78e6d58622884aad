"""Tasks: what their status says, whatever their runs and people do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from corral.agents import board, epics, roster, starting, waits
from corral.base.errors import BadRequest, Conflict
from corral.base.ids import new_id
from corral.platform import database
from corral.runs import queue
from corral.wire.events import EventType
from tests.agents.office import PERSON, Office, pass_time


async def change(office: Office, task: board.Task, **more: Any) -> board.Task:
    blocked_by = more.pop("blocked_by", None)
    return await board.update(office.org_id, task.id, more, blocked_by=blocked_by)


async def test_a_tasks_status_follows_its_run(office: Office) -> None:
    ada = await office.agent()
    task = await office.task(ada)
    seen = [task.status]
    await starting.start(office.org_id, task.id, PERSON)
    seen.append((await office.look(task)).status)
    (work,) = await office.claim()
    seen.append((await office.look(task)).status)
    await work.say(EventType.RUN_STARTED)
    seen.append((await office.look(task)).status)
    question = {"request_id": "r", "kind": "tool", "tool": "Bash", "input": {}, "cwd": "/code"}
    await work.say((EventType.PERMISSION_REQUESTED, question))
    seen.append((await office.look(task)).status)
    await work.say((EventType.PERMISSION_WITHDRAWN, {"request_id": "r"}))
    seen.append((await office.look(task)).status)
    await work.is_cut_off()
    seen.append((await office.look(task)).status)
    await (await office.work()).ends("All done")
    seen.append((await office.look(task)).status)
    assert seen == ["pending", "pending", "pending", "running", "waiting", "running", "pending", "done"]
    assert (await office.look(task)).result == "All done"


async def test_a_failed_or_cancelled_run_is_an_error_of_its_task(office: Office) -> None:
    ada = await office.agent()
    failed = await office.at_work(ada, "fail")
    await failed.fails("No disk")
    queued = await office.started(ada, "cancel")
    await queue.cancel(office.org_id, queued.run_id or "", PERSON)
    tasks = await board.page(office.org_id)
    assert {task.input: (task.status, task.error) for task in tasks} == {
        "fail": ("error", "No disk"),
        "cancel": ("error", "Cancelled by a person"),
    }


async def test_a_task_is_started_once_while_it_is_live_and_anew_when_it_has_ended(office: Office) -> None:
    ada = await office.agent()
    task = await office.task(ada)
    runs = await asyncio.gather(*(starting.start(office.org_id, task.id, PERSON) for _ in range(5)))
    assert len({run.id for run in runs}) == 1
    await (await office.work()).ends("one")
    again = await starting.start(office.org_id, task.id, PERSON, run_id := new_id())
    assert again.id == run_id != runs[0].id
    assert (await office.look(task)).status == "pending"
    assert (await office.look(task)).result is None
    await (await office.work()).fails()
    assert (await starting.start(office.org_id, task.id, PERSON, run_id)).id == run_id
    assert (await office.look(task)).status == "error"


async def test_a_status_set_by_hand_is_refused_while_a_run_is_live(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    task = await office.started(ada)
    for fields in ({"status": "done"}, {"assignee_id": bob.id}):
        with pytest.raises(Conflict, match="live run"):
            await change(office, task, **fields)
    await change(office, task, status="pending", assignee_id=ada.id, title="New")
    work = await office.work()
    with pytest.raises(Conflict, match="live run"):
        await change(office, task, status="error")
    await work.ends()
    assert (await change(office, task, status="error")).status == "error"
    assert (await change(office, task, status="pending", assignee_id=bob.id)).ended_at is None


async def test_what_is_changed_before_the_run_is_claimed_changes_the_run(office: Office) -> None:
    ada = await office.agent()
    await office.at_work(ada, "busy")
    task = await office.started(ada, "old")
    await change(office, task, input="new", priority=1)
    run = await office.run_of(task)
    assert (run.prompt, run.priority) == ("new", 1)
    work = await office.run_of((await board.page(office.org_id, statuses=["running"]))[0])
    with pytest.raises(Conflict, match="input"):
        await board.update(office.org_id, work.task_id or "", {"input": "too late"})


async def test_a_person_who_ends_a_task_tells_whoever_waits_for_it(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    first, then = await office.task(ada, "first"), await office.task(bob, "then")
    await change(office, then, blocked_by=[first.id])
    await starting.start(office.org_id, then.id, PERSON)
    assert await office.claim() == []
    ended = await change(office, first, status="done")
    assert ended.ended_at is not None
    assert [work.assignment.prompt for work in await office.claim()] == ["then"]
    (message,) = await office.messages(type_="task.result")
    assert (message.receiver, message.task_id) == (PERSON, first.id)


async def test_blocked_tasks_wait_in_the_queue_and_say_for_what(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    first = await office.started(ada, "first")
    then = await office.started(bob, "then", blocked_by=[first.id])
    assert await office.why(then) == "blocked by first"
    (work,) = await office.claim()
    await work.say(EventType.RUN_STARTED)
    await work.fails()
    assert await office.why(then) == "blocked by first"
    await starting.start(office.org_id, first.id, PERSON)
    await (await office.work()).ends()
    assert [work.assignment.prompt for work in await office.claim()] == ["then"]


async def test_a_task_is_unblocked_by_hand(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    first = await office.task(ada, "first")
    then = await office.started(bob, "then", blocked_by=[first.id])
    await change(office, then, blocked_by=[])
    assert await waits.blockers(office.org_id, [then.id]) == {}
    assert len(await office.claim()) == 1


async def test_a_circle_of_blocked_tasks_is_refused(office: Office) -> None:
    ada = await office.agent()
    one = await office.task(ada, "one")
    two = await office.task(ada, "two", blocked_by=[one.id])
    three = await office.task(ada, "three", blocked_by=[two.id, one.id])
    for task, others in ((one, [three.id]), (one, [one.id]), (two, [three.id]), (one, [two.id])):
        with pytest.raises(BadRequest, match="wait for itself") as error:
            await change(office, task, blocked_by=others)
        assert error.value.field == "blocked_by"
    with pytest.raises(BadRequest, match="blocked_by"):
        await change(office, one, blocked_by=[new_id()])


async def test_two_halves_of_a_circle_at_once_leave_one(office: Office) -> None:
    ada = await office.agent()
    one, two = await office.task(ada, "one"), await office.task(ada, "two")
    pairs = (one, two), (two, one)
    halves = await asyncio.gather(
        *(change(office, task, blocked_by=[other.id]) for task, other in pairs), return_exceptions=True
    )
    assert [type(half) for half in halves].count(BadRequest) == 1


async def test_a_failure_is_tried_again_after_a_pause_that_grows(office: Office) -> None:
    ada = await office.agent()
    task = await office.started(ada, retries=2)
    pauses = []
    for tries in (1, 2):
        await (await office.work()).fails(f"No {tries}")
        shown = await office.look(task)
        assert (shown.status, shown.tries, shown.error) == ("pending", tries, f"No {tries}")
        assert await office.why(task) == f"tries again soon: No {tries}"
        pauses.append(round(((shown.retry_at or 0) - shown.updated_at) / 1000))
        assert await starting.retry_due(0) == 0
        await pass_time("tasks", "retry_at", 100, id=task.id)
        await asyncio.gather(*(starting.retry_due(0) for _ in range(3)))
    assert pauses == [10, 20]
    await (await office.work()).fails("No 3")
    assert (await office.look(task)).status == "error"
    await starting.start(office.org_id, task.id, PERSON)
    await (await office.work()).fails("No 4")
    assert (await office.look(task)).tries == 1


async def test_a_cancelled_run_is_not_tried_again(office: Office) -> None:
    task = await office.started(await office.agent(), retries=3)
    await board.cancel(office.org_id, task.id, PERSON)
    assert (await office.look(task)).status == "error"
    assert await office.claim() == []


async def test_a_task_that_waits_to_be_tried_again_can_be_cancelled(office: Office) -> None:
    task = await office.started(await office.agent(), retries=3)
    await (await office.work()).fails()
    await board.cancel(office.org_id, task.id, PERSON)
    await pass_time("tasks", "updated_at", 100, id=task.id)
    assert await starting.retry_due(0) == 0
    assert (await office.look(task)).status == "error"


async def test_a_task_that_cannot_be_started_again_says_why(office: Office) -> None:
    ada = await office.agent()
    task = await office.started(ada, retries=1)
    await (await office.work()).fails()
    await roster.update(office.org_id, ada.id, {"provider_config": {"cwd": "/elsewhere"}})
    await pass_time("tasks", "retry_at", 100, id=task.id)
    await starting.retry_due(0)
    shown = await office.look(task)
    assert shown.status == "error"
    assert "/elsewhere" in (shown.error or "")


async def test_cancelling_a_task_leaves_what_it_handed_out_and_a_tree_does_not(office: Office) -> None:
    ada, bob, cleo = [await office.agent(name) for name in ("Ada", "Bob", "Cleo")]
    top = await office.at_work(ada, "top")
    await top.hands(bob, "middle")
    await office.post()
    middle = await office.work()
    await middle.hands(cleo, "low")
    await office.post()
    top_task = (await top.run()).task_id or ""
    assert await board.cancel(office.org_id, top_task, PERSON) == 1
    await top.is_cancelled()
    statuses = {task.input: task.status for task in await board.page(office.org_id)}
    assert statuses == {"top": "error", "middle": "running", "low": "pending"}
    assert await board.cancel(office.org_id, top_task, PERSON, tree=True) == 2
    assert [(one.run_id, one.kind) for one in await office.commands()] == [(middle.run_id, "cancel")]
    assert (await middle.hands(cleo, "more")).text == "This run is being cancelled"
    await middle.is_cancelled()
    assert {task.status for task in await board.page(office.org_id)} == {"error"}
    assert await office.claim() == []
    with pytest.raises(Conflict, match="already ended"):
        await board.cancel(office.org_id, top_task, PERSON, tree=True)


async def test_a_delegated_task_without_an_end_is_ended_when_it_is_due(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    work = await office.at_work(ada)
    await work.hands(bob, "slow", wait=True)
    await office.post()
    slow = await office.work()
    task_id = (await slow.run()).task_id or ""
    assert await starting.end_overdue(0) == 0
    await pass_time("tasks", "due_at", 25 * 3600, id=task_id)
    assert await starting.end_overdue(0) == 1
    await office.post()
    answer = await work.hands(bob, "slow", wait=True, call_id="1-1")
    assert (answer.done, answer.is_error) == (True, True)
    assert "not done in time" in answer.text
    assert [one.kind for one in await office.commands()] == ["cancel"]
    await slow.ends("too late")
    assert (await office.look(task_id)).status == "error"
    assert await starting.end_overdue(0) == 0


async def test_tasks_are_found_by_what_they_are(office: Office) -> None:
    ada, bob = await office.agent("Ada"), await office.agent("Bob")
    epic = await epics.create(office.org_id, new_id(), "Launch")
    one = await office.task(ada, "one", epic_id=epic.id, priority=1)
    two = await office.task(bob, "two", parent_id=one.id)
    three = await office.task(bob, "three")
    await change(office, three, status="done")

    async def found(**which: Any) -> list[str]:
        return [task.input for task in await board.page(office.org_id, **which)]

    assert await found() == ["three", "two", "one"]
    assert await found(assignee=bob.id) == ["three", "two"]
    assert await found(epic=epic.id) == ["two", "one"]  # a part of a task is in its epic
    assert await found(priority=1) == ["one"]
    assert await found(parent=one.id) == ["two"]
    assert await found(root=one.id) == ["two", "one"]
    assert await found(statuses=["done", "running"]) == ["three"]
    assert await found(before=two.id) == ["one"]
    assert await found(limit=1) == ["three"]


async def test_an_epic_tells_how_far_it_is_and_leaves_its_tasks_when_it_goes(office: Office) -> None:
    ada = await office.agent()
    epic = await epics.create(office.org_id, new_id(), "Launch")
    tasks = [await office.task(ada, f"task {n}", epic_id=epic.id) for n in range(3)]
    await change(office, tasks[0], status="done")
    await change(office, tasks[1], status="error")
    shown = await epics.get(office.org_id, epic.id)
    assert (shown.tasks, shown.done, shown.failed) == (3, 1, 1)
    await epics.remove(office.org_id, epic.id)
    assert (await office.look(tasks[2])).epic_id is None
    with pytest.raises(BadRequest, match="epic_id"):
        await change(office, tasks[2], epic_id=epic.id)


async def test_a_task_waits_for_a_machine_that_may_take_it_and_says_so(office: Office) -> None:
    gpu = await office.agent("Gpu", provider_config={"cwd": "/code", "labels": ["gpu"]})
    task = await office.started(gpu)
    assert await office.why(task) == "no runner has the label gpu"
    with pytest.raises(BadRequest, match="/elsewhere"):
        await office.started(await office.agent("Else", provider_config={"cwd": "/elsewhere"}))


async def test_an_agent_without_a_directory_works_where_a_machine_lets_it(office: Office) -> None:
    ada = await office.agent(provider_config={})
    assert (await office.run_of(await office.started(ada))).cwd == "/code"
    codex = await office.agent(provider_config={}, cli_name="codex")
    with pytest.raises(BadRequest, match=r"provider_config\.cwd"):
        await office.started(codex)


async def test_tasks_of_an_agent_that_starts_by_itself_start_by_themselves(office: Office) -> None:
    ada = await office.agent(autostart=True)
    task = await office.task(ada)
    assert await office.why(task) == "about to start"
    await office.post()
    assert len(await office.claim()) == 1
    cancelled = await office.task(ada, "other")
    await board.cancel(office.org_id, cancelled.id, PERSON)
    await office.post()
    assert (await office.look(cancelled)).run_id is None


async def test_a_task_given_to_an_agent_that_starts_by_itself_starts(office: Office) -> None:
    ada, eager = await office.agent("Ada"), await office.agent("Eager", autostart=True)
    task = await office.task(ada)
    await change(office, task, assignee_id=eager.id)
    await office.post()
    (work,) = await office.claim()
    assert work.assignment.agent is not None
    assert work.assignment.agent.name == "Eager"


async def test_no_race_of_an_end_and_a_person_leaves_a_task_in_between(office: Office) -> None:
    ada = await office.agent()
    for n in range(6):
        work = await office.at_work(ada, f"race {n}")
        task_id = (await work.run()).task_id or ""
        await asyncio.gather(
            work.ends("mine"),
            board.update(office.org_id, task_id, {"priority": 1}),
            board.update(office.org_id, task_id, {"status": "pending"}),
            starting.start(office.org_id, task_id, PERSON),
            return_exceptions=True,
        )
        task = await office.look(task_id)
        run = await office.run_of(task)
        told = {"completed": {"done", "pending"}, "queued": {"pending"}}[run.status]
        assert task.status in told
        if run.status == "queued":
            await board.cancel(office.org_id, task_id, PERSON)
    rows = await database.fetch("SELECT count(*) AS n FROM runs WHERE status NOT IN ('completed', 'cancelled')")
    assert rows[0]["n"] == 0
