"""The process dies at every single write of a run: what comes after is as if it had not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from corral.mcp.pool import User
from corral.runs import queue
from corral.wire.agents import McpServer
from corral.wire.runs import RunStatus
from tests.providers.world import Server, World

#: Two turns with calls, one of them with two at the same time: one of Corral's own tools, and one of an MCP server.
SCRIPT = (
    '%think First.\n%say Start\n%tool note {"text": "one"}\n%tool files__look {"at": "a"}\n'
    '%tool files__look {"at": "b"}\n%next\n%tool files__look {"at": "c"}\n%say Got {{result}}'
)


async def writes_of(world: World) -> int:
    """How many writes the run has without a crash."""
    world.crash_at(0)
    engine = await world.start()
    run = await world.done(SCRIPT)
    assert await world.text(run) == "Got saw c"
    await engine.stop()
    return world.writes


BOTH = pytest.mark.parametrize("store", ["sqlite", "postgres"], indirect=True)


@BOTH
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_kill_at_any_write_changes_nothing_in_the_end(
    world: World, after: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    writes = await writes_of(world)
    with capsys.disabled():
        print(f" [{writes} kill points]", end="")  # noqa: T201 - so that a fall in their number is seen
    assert writes == 8
    for at in range(1, writes + 1):
        world.own.done.clear()
        world.server.calls.clear()
        engine = await world.start()
        world.crash_at(at, after=after)
        run = await world.ask(SCRIPT)
        await world.crashed(engine)
        engine = await world.start()
        done = await world.until(run)
        where = f"{'after' if after else 'before'} write {at}"
        assert done.status == RunStatus.COMPLETED, where
        assert len(set(world.server.calls)) == len(world.server.calls), where  # never twice
        assert list(world.own.done.values()) == [1], where
        results = await world.told(run, "agent.tool_result")
        calls = [call["tool_use_id"] for call in await world.told(run, "agent.tool_call")]
        assert sorted(result["tool_use_id"] for result in results) == sorted(calls), where
        assert len(set(calls)) == len(calls) == 4, where
        kinds = [event.type for event in await world.events(run)]
        assert (kinds.count("agent.thinking"), kinds.count("agent.message")) == (1, 2), where
        assert kinds.count("session.interrupted") == (0 if after and at == writes else 1), where
        numbers = [event.seq for event in await world.events(run)]
        assert numbers == list(range(1, len(numbers) + 1)), where
        # A call that may have happened is told as such; every other has its true result.
        known = {result["output"].removeprefix("saw ") for result in results if "saw" in result["output"]}
        unknown = [result["output"] for result in results if "cut off" in result["output"]]
        assert known <= {call.removeprefix("look ") for call in world.server.calls}, where
        assert (len(known) + len(unknown), len(unknown) <= 2) == (3, True), where
        assert await world.text(run) == f"Got {results[-1]['output']}", where
        lines = await world.spent(run)
        assert lines.output_tokens > 0, where
        await engine.stop()


@BOTH
async def test_a_kill_right_after_a_message_was_taken_tells_it_once(world: World) -> None:
    engine = await world.start()
    run = await world.ask("%keep\n%tool ask {}\n%say {{result}} and {{user}}")
    await world.until(run, RunStatus.WAITING)
    world.crash_at(1, after=True)
    await queue.say(world.org_id, run.id, "hurry", "user:me")
    await world.crashed(engine)
    await world.start()
    world.own.answers.put_nowait("yes")
    assert await world.text(await world.until(run)) == "yes and hurry"
    assert sum("hurry" in str(one.entry) for one in await world.kept(run)) == 2  # as it was told, and in the answer


async def test_a_message_that_a_killed_server_had_not_taken_is_told_by_the_next(world: World) -> None:
    engine = await world.start()
    run = await world.ask("%keep\n%tool ask {}\n%say {{result}} and {{user}}")
    await world.until(run, RunStatus.WAITING)
    world.crash_at(1)
    await queue.say(world.org_id, run.id, "hurry", "user:me")
    await world.crashed(engine)
    await world.start()
    world.own.answers.put_nowait("yes")
    text = await world.text(await world.until(run))
    assert text.startswith("yes and ")
    assert "hurry" in text


@BOTH
async def test_a_follow_up_that_is_killed_at_once_is_told_once(world: World) -> None:
    first_engine = await world.start()
    first = await world.done("%say one")
    for after in (False, True):
        world.crash_at(1, after=after)
        child = await queue.follow_up(world.org_id, first.id, "%say two", "user:me")
        await world.crashed(first_engine)
        first_engine = await world.start()
        done = await world.until(child)
        assert await world.text(done) == "two"
        assert sum("%say two" in str(one.entry) for one in await world.kept(child)) == 1


async def test_a_refusal_is_one_after_a_kill_as_well(world: World) -> None:
    engine = await world.start()
    world.crash_at("agent.message", after=True)
    run = await world.ask("%say I will not\n%stop refusal")
    await world.crashed(engine)
    await world.start()
    done = await world.until(run)
    assert (done.status, len(world.served())) == (RunStatus.FAILED, 1)
    assert "model_refused" in (done.reason or "")


async def test_a_slow_goodbye_of_a_server_keeps_nobody_from_going_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tool's server that does not end when it should must not keep the run from the next process."""
    leaving = asyncio.Event()

    @asynccontextmanager
    async def slow(_server: McpServer, _user: User) -> AsyncIterator[Server]:
        try:
            yield world.server
        finally:
            leaving.set()
            await asyncio.sleep(60)

    monkeypatch.setattr(world.server, "connect", slow)
    engine = await world.start()
    run = await world.ask("%tool files__hang {}\n%say never")
    await world.server.hanging.wait()
    await engine.stop()
    assert leaving.is_set()
    assert (await world.run(run.id)).status == RunStatus.QUEUED
    assert len(await world.told(run, "session.interrupted")) == 1
