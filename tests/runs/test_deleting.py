"""A run that is deleted leaves nothing but what it cost; its machine is told, and told which runs go on with it."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from corral.base.errors import Conflict, NotFound
from corral.platform import database
from corral.runs import deleting, feed, queue
from corral.runs.outcomes import finish
from corral.wire.events import EventType, Usage
from corral.wire.runner import Assignment, Command, CommandKind, CommandResult, CommandStatus, Forget
from tests.runs.world import Machine, World
from tests.support.waiting import PATIENCE

BY = "user:me"
INIT = (EventType.SESSION_INIT, {"session_id": "s-1"})
STARTED = (EventType.RUN_STARTED, {"runner": "box"})
DONE = (EventType.RUN_COMPLETED, {"text": "done"})
USED = Usage("1/turn-1/m", "m", output_tokens=7)
#: Where rows of a run are, whatever they are.
TABLES = ("events", "runs", "approvals", "calls", "inputs", "commands", "usage_drafts", "reservations", "remains")


async def ended(world: World, machine: Machine) -> Assignment:
    await world.launch()
    work = (await machine.poll()).assignments[0]
    asked = {"request_id": "a", "kind": "tool", "tool": "Bash", "input": {}, "cwd": "/code", "description": ""}
    await world.send(work, 1, STARTED, INIT, (EventType.PERMISSION_REQUESTED, asked), DONE, usage=[USED])
    machine.held.clear()
    return work


async def rows(run_no: int) -> dict[str, int]:
    found = {}
    for table in TABLES:
        column = "no" if table == "runs" else "run_no"
        (row,) = await database.fetch(f"SELECT count(*) AS n FROM {table} WHERE {column} = $1", run_no)
        found[table] = row["n"]
    return {table: n for table, n in found.items() if n}


async def told(machine: Machine) -> dict[str, Forget]:
    """What the machine is asked to forget, by the command's id."""
    asked: list[Command] = (await machine.poll()).commands
    assert {one.kind for one in asked} <= {CommandKind.FORGET}
    return {one.id: msgspec.json.decode(one.payload, type=Forget) for one in asked}


async def test_a_run_that_has_ended_is_deleted_with_all_but_what_it_cost(world: World) -> None:
    box = await world.runner()
    work = await ended(world, box)
    other = await ended(world, box)
    no, other_no = (await world.run(work.run_id)).no, (await world.run(other.run_id)).no
    assert {"events", "runs", "approvals"} <= (await rows(no)).keys()
    before = await rows(other_no)
    await deleting.delete(world.org_id, work.run_id, BY)
    assert await rows(no) == {}
    assert await rows(other_no) == before
    with pytest.raises(NotFound):
        await world.run(work.run_id)
    with pytest.raises(NotFound):
        await deleting.delete(world.org_id, work.run_id, BY)
    lines = await database.fetch("SELECT run_id FROM usage_lines ORDER BY run_no")
    assert [row["run_id"] for row in lines] == [work.run_id, other.run_id]


async def test_the_machine_is_told_until_it_says_that_it_is_done(world: World) -> None:
    box = await world.runner()
    work = await ended(world, box)
    await deleting.delete(world.org_id, work.run_id, BY)
    asked = await told(box)
    assert list(asked.values()) == [Forget(work.run_id)]
    await box.register()  # it was restarted, and did not come to it
    assert await told(box) == asked
    (command_id,) = asked
    await finish(world.org_id, box.id, command_id, CommandResult(box.session, CommandStatus.DONE))
    assert await told(box) == {}


async def test_every_machine_that_had_an_attempt_is_told(world: World) -> None:
    first, second = await world.runner("first"), await world.runner("second")
    await world.launch()
    work = (await first.poll()).assignments[0]
    await world.send(work, 1, (EventType.RUN_STARTED, {"runner": "first"}), INIT, (EventType.SESSION_INTERRUPTED, {}))
    first.held.clear()
    again = (await second.poll()).assignments[0]
    assert again.run_id == work.run_id
    await world.send(again, 1, (EventType.RUN_STARTED, {"runner": "second"}), INIT, DONE)
    second.held.clear()
    await deleting.delete(world.org_id, work.run_id, BY)
    for machine in (first, second):
        assert list((await told(machine)).values()) == [Forget(work.run_id)]


async def test_who_goes_on_with_its_session_keeps_it(world: World) -> None:
    box = await world.runner()
    work = await ended(world, box)
    child = await queue.follow_up(world.org_id, work.run_id, "and now?", BY)
    await deleting.delete(world.org_id, work.run_id, BY)
    assert list((await told(box)).values()) == [Forget(work.run_id, [child.id])]
    box.held.clear()
    (resumed,) = [one for one in (await box.poll()).assignments if one.run_id == child.id]
    assert resumed.session_id == "s-1"
    # Cut off before its agent has said a word, it begins with the session that it was given.
    await world.send(resumed, 1, STARTED, INIT, (EventType.SESSION_INTERRUPTED, {}))
    box.held.clear()
    (resumed,) = (await box.poll()).assignments
    assert resumed.session_id == "s-1"


async def test_a_live_run_is_not_deleted_nor_one_that_is_about_to_start(world: World) -> None:
    box = await world.runner()
    run = await world.launch()
    work = (await box.poll()).assignments[0]
    with pytest.raises(Conflict, match="about to start; cancel it first"):
        await deleting.delete(world.org_id, run.id, BY)
    await world.send(work, 1, STARTED)
    with pytest.raises(Conflict, match="running; cancel it first"):
        await deleting.delete(world.org_id, run.id, BY)
    assert (await world.run(run.id)).attempt_open


async def test_one_that_waits_in_the_queue_is_cancelled_and_deleted_and_who_watches_hears_of_it(world: World) -> None:
    run = await world.launch()
    sink = _Sink()
    watching = asyncio.create_task(feed.feeds().watch(run.no, run.id, 0, sink))
    await caught_up(run.no)
    await deleting.delete(world.org_id, run.id, BY)
    await asyncio.wait_for(watching, 15)
    assert b"run.cancelled" in b"".join(sink.heard)
    assert await rows(run.no) == {}


async def caught_up(run_no: int) -> None:
    """Wait until somebody watches this run who has seen all that there is."""
    async with asyncio.timeout(20 * PATIENCE):
        while not (run_no in feed.feeds()._feeds and feed.feeds()._feeds[run_no]._live):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def test_who_watches_a_log_that_is_gone_is_let_go(world: World) -> None:
    run = await world.launch()
    watching = asyncio.create_task(feed.feeds().watch(run.no, run.id, 1, _Sink()))
    await caught_up(run.no)
    await database.fetch("DELETE FROM runs WHERE no = $1", run.no)  # and the hint was lost
    await feed.feeds().reread()
    await asyncio.wait_for(watching, 15)


async def test_what_a_stopped_server_left_of_a_log_another_removes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = await world.runner()
    work = await ended(world, box)
    no = (await world.run(work.run_id)).no
    monkeypatch.setattr(deleting, "_PIECE", 2)
    monkeypatch.setattr(deleting, "clear", _nothing)
    await deleting.delete(world.org_id, work.run_id, BY)
    assert await rows(no) == {"events": 5, "remains": 1}
    monkeypatch.undo()
    await deleting.clear()
    assert await rows(no) == {}


async def test_an_attempt_of_a_deleted_run_stores_nothing_any_more(world: World) -> None:
    box = await world.runner()
    work = await ended(world, box)
    no = (await world.run(work.run_id)).no
    await deleting.delete(world.org_id, work.run_id, BY)
    with pytest.raises(NotFound):
        await world.send(work, 5, EventType.AGENT_MESSAGE)
    assert await rows(no) == {}


async def _nothing(_now: float = 0.0) -> None:
    return


class _Sink:
    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def write(self, chunk: bytes) -> bool:
        self.heard.append(chunk)
        return True

    async def drained(self) -> None:
        return

    def close(self) -> None:
        return
