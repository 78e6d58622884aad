"""A run's life beside its conversation: cancelled, told something, followed up, handed from process to process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from corral.base.errors import Unavailable
from corral.platform import database
from corral.providers import conversation
from corral.providers.entries import Answer, Prompt
from corral.providers.journal import Journal
from corral.providers.loop import Loop
from corral.providers.provider import Reply
from corral.runs import approvals, deleting, ingest, inputs, leases, pausing, queue
from corral.runs.hints import decide
from corral.runs.models import Run
from corral.wire.events import EventType
from corral.wire.purse import Purse
from corral.wire.runner import Assignment
from corral.wire.runs import Engine, PermissionMode, RunStatus
from tests.providers.world import World

BOTH = pytest.mark.parametrize("store", ["sqlite", "postgres"], indirect=True)


async def prompts(world: World, run: Run) -> list[str]:
    """What is stored of what a run was told."""
    return [one.entry.text for one in await world.kept(run) if isinstance(one.entry, Prompt)]


async def streaming(world: World, run: Run) -> None:
    """Wait until an answer of the run comes."""
    await world.happens(
        lambda: any(one.status == "open" and one.usage.output_tokens for one in world.served(session=run.id))
    )


async def count(sql: str, *args: Any) -> int:
    return int((await database.fetch(f"SELECT count(*) AS n FROM {sql}", *args))[0]["n"])


# Cancelled


async def test_a_run_is_cancelled_in_mid_answer_and_pays_for_what_came(world: World, provider: str) -> None:
    await world.start()
    run = await world.ask("%say some words\n%stall", provider)
    await streaming(world, run)
    await queue.cancel(world.org_id, run.id, "user:me")
    assert (await world.until(run)).status == RunStatus.CANCELLED
    [told] = await world.told(run, "run.cancelled")
    assert told["by"] == "user:me"
    assert (await world.spent(run)).output_tokens >= 2
    await world.happens(lambda: world.served()[-1].status == "cut")
    assert await count("commands WHERE done_at IS NULL") == 0


async def test_a_run_is_cancelled_while_a_tool_runs(world: World) -> None:
    engine = await world.start()
    run = await world.ask("%tool files__hang {}\n%say never")
    await world.server.hanging.wait()
    await queue.cancel(world.org_id, run.id, "user:me")
    assert (await world.until(run)).status == RunStatus.CANCELLED
    await world.happens(lambda: not engine._attempts)
    assert world.server.closed == 1


async def test_a_run_is_cancelled_while_it_waits_for_somebody(world: World) -> None:
    await world.start()
    run = await world.ask("%tool ask {}\n%say never")
    await world.until(run, RunStatus.WAITING)
    await queue.cancel(world.org_id, run.id, "user:me")
    assert (await world.until(run)).status == RunStatus.CANCELLED


async def test_a_run_that_is_told_to_stop_while_it_is_asked_to_wait_stops(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corral.providers.loop.FIRST_PAUSE", 60.0)
    await world.start()
    run = await world.ask("%error 529\n%say never")
    await world.happens(lambda: len(world.served()) == 1)
    await queue.cancel(world.org_id, run.id, "user:me")
    assert (await world.until(run)).status == RunStatus.CANCELLED


# Paused


async def paused(world: World, run: Run) -> None:
    await pausing.pause_by(world.org_id, run.id, "user:me")
    await world.until(run, RunStatus.PAUSED)


async def test_a_run_that_is_paused_in_mid_answer_pays_for_it_and_asks_again_when_it_goes_on(
    world: World, provider: str
) -> None:
    await world.start()
    run = await world.ask("%say some words\n%stall x1", provider)
    await streaming(world, run)
    await paused(world, run)
    assert (await world.spent(run)).output_tokens >= 2
    assert await count("commands WHERE done_at IS NULL") == 0
    await pausing.continue_by(world.org_id, run.id, None, "user:me")
    done = await world.until(run)
    assert (done.status, done.attempt, await world.text(done)) == (RunStatus.COMPLETED, 2, "some words")
    assert await prompts(world, run) == [run.prompt]
    assert done.last_seq == len(await world.events(run))


async def test_a_run_that_is_paused_in_a_call_of_its_own_makes_it_again_and_hears_what_is_said(world: World) -> None:
    await world.start()
    run = await world.ask("%keep\n%tool ask {}\n%say {{result}} and {{user}}")
    await world.until(run, RunStatus.WAITING)
    await paused(world, run)
    await pausing.continue_by(world.org_id, run.id, "hurry", "user:me")
    await world.happens(lambda: max(world.own.asked.values()) == 2)
    world.own.answers.put_nowait("yes")
    done = await world.until(run)
    text = await world.text(done)
    assert (text.startswith("yes and "), text.endswith("hurry"), "paused" in text) == (True, True, False)
    assert world.own.done.total() == 1


@BOTH
async def test_a_run_that_goes_on_after_a_follow_up_has_a_conversation_of_its_own(world: World) -> None:
    await world.start()
    first = await world.done("%say one")
    child = await world.until(await queue.follow_up(world.org_id, first.id, "%say two", "user:me"))
    await pausing.continue_by(world.org_id, first.id, "%say three", "user:me")
    await pausing.continue_by(world.org_id, child.id, "%say four", "user:me")
    first, child = await world.until(first), await world.until(child)
    assert (first.session_id != first.id, child.session_id) == (True, first.id)
    assert await prompts(world, first) == ["%say one", "%say three"]
    assert await prompts(world, child) == ["%say one", "%say two", "%say four"]
    await pausing.continue_by(world.org_id, first.id, "%say five", "user:me")
    again = await world.until(first)
    assert (again.attempt, again.session_id) == (3, first.session_id)
    assert await prompts(world, first) == ["%say one", "%say three", "%say five"]


# Told something


async def test_what_is_said_while_a_tool_runs_is_part_of_the_next_request(world: World, provider: str) -> None:
    await world.start()
    run = await world.ask("%tool ask {}\n%say {{result}} and {{user}}", provider)
    await world.until(run, RunStatus.WAITING)
    await queue.say(world.org_id, run.id, "hurry", "user:me")
    await world.happens(lambda: len(world.own.held) == 1)
    while await count("commands WHERE status = 'done'") == 0:  # noqa: ASYNC110 - a row has no event to set
        await asyncio.sleep(0.01)
    world.own.answers.put_nowait("yes")
    assert await world.text(await world.until(run)) == "yes and hurry"


async def test_what_is_said_while_the_last_answer_comes_is_answered_as_well(
    world: World, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Loop._keep

    async def keep(loop: Loop, reply: Reply, seen: int) -> bool:
        if seen == 0:
            await world.happens(lambda: loop.talk.newest > seen)
        return await real(loop, reply, seen)

    monkeypatch.setattr(Loop, "_keep", keep)
    await world.start()
    run = await world.ask("%say first", provider)
    await world.happens(lambda: len(world.served()) == 1)
    await queue.say(world.org_id, run.id, "%say second", "user:me")
    await world.until(run)
    assert await world.text(run) == "second"
    said = [type(one.entry).__name__ for one in await world.kept(run)]
    assert said == ["Prompt", "Prompt", "Answer", "Answer"]
    [first, second] = [one.entry for one in await world.kept(run) if isinstance(one.entry, Answer)]
    assert (first.seen, second.seen) == (0, 2)


async def test_what_comes_as_an_input_is_heard_once_and_named_at_the_end(world: World) -> None:
    await world.start()
    run = await world.ask("%keep\n%tool ask {}\n%say {{result}} and {{user}}")
    await world.until(run, RunStatus.WAITING)
    await tell(world, run, "a result")
    await world.happens(lambda: world.writes >= 3)
    world.own.answers.put_nowait("yes")
    done = await world.until(run)
    assert (done.status, await world.text(done)) == (RunStatus.COMPLETED, "yes and a result")
    assert await count("inputs WHERE done_at IS NULL") == 0


@BOTH
async def test_a_turn_ends_and_the_run_goes_on_with_what_it_waited_for(world: World) -> None:
    await world.start()
    run = await world.ask("%keep\n%tool ask {}\n%say until then\n%next\n%say {{user}} came")
    await world.until(run, RunStatus.WAITING)
    await database.fetch("UPDATE runs SET awaits = awaits + 1 WHERE id = $1", run.id)
    world.own.answers.put_nowait("go")
    await world.happens(lambda: len(world.served()) == 2)
    while not await world.events(run, "session.waiting"):  # noqa: ASYNC110 - a row has no event to set
        await asyncio.sleep(0.01)
    assert (await world.run(run.id)).status == RunStatus.WAITING
    await tell(world, run, "the result", expected=True)
    done = await world.until(run)
    assert (done.status, await world.text(done)) == (RunStatus.COMPLETED, "the result came")
    assert await prompts(world, run) == [run.prompt, "the result"]


async def tell(world: World, run: Run, text: str, *, expected: bool = False) -> None:
    def unit(hints: Any) -> Any:
        row = yield from queue.locked(world.org_id, run.id)
        yield from inputs.tell(row, text, hints, expected=expected)

    await decide(unit)


# Followed up


async def test_a_follow_up_goes_on_with_the_conversation(world: World, provider: str) -> None:
    await world.start()
    first = await world.done("%think Hm\n%say one", provider)
    second = await world.until(await queue.follow_up(world.org_id, first.id, "%say two", "user:me"))
    assert (second.status, second.session_id) == (RunStatus.COMPLETED, first.id)
    assert await prompts(world, second) == ["%think Hm\n%say one", "%say two"]
    assert world.served()[-1].usage.cache_read_tokens > 0 or provider == "anthropic"


@BOTH
async def test_a_second_follow_up_forks_from_where_its_parent_ended(world: World) -> None:
    await world.start()
    first = await world.done("%say one")
    await world.until(await queue.follow_up(world.org_id, first.id, "%say two", "user:me"))
    fork = await world.until(await queue.follow_up(world.org_id, first.id, "%say three", "user:me"))
    assert fork.session_id == fork.id
    assert await prompts(world, fork) == ["%say one", "%say three"]
    last = await world.until(await queue.follow_up(world.org_id, fork.id, "%say four", "user:me"))
    assert await prompts(world, last) == ["%say one", "%say three", "%say four"]


async def test_another_provider_goes_on_with_what_was_said_and_called(world: World) -> None:
    """As when an agent's provider was changed between two runs."""
    await world.start()
    order = ["anthropic", "openai", "openrouter", "anthropic"]
    run = await world.done('%think Hm\n%say one\n%tool note {"text": "x"}\n%say two', order[0])
    for at, name in enumerate(order[1:]):
        child = await queue.follow_up(world.org_id, run.id, f'%tool note {{"text": "{at}"}}\n%say {{{{result}}}}', "me")
        await world.becomes(child, name)
        run = await world.until(child)
        assert (run.status, await world.text(run)) == (RunStatus.COMPLETED, f"noted {at}"), run.reason


async def test_a_follow_up_of_a_run_that_was_cut_off_in_a_tool_says_so(world: World, provider: str) -> None:
    await world.start()
    run = await world.ask('%tool files__hang {}\n%tool note {"text": "x"}\n%say never', provider)
    await world.server.hanging.wait()
    await world.happens(lambda: world.own.done.total() == 1)
    await queue.cancel(world.org_id, run.id, "user:me")
    await world.until(run)
    child = await world.until(await queue.follow_up(world.org_id, run.id, "%say again", "user:me"))
    assert await world.text(child) == "again"
    assert ["cut off" in told["output"] for told in await world.told(child, "agent.tool_result")] == [True]
    assert world.server.calls == ["hang"]


async def test_a_conversation_that_is_gone_is_said_to_be(world: World) -> None:
    await world.start()
    run = await world.done("%say one")
    await database.fetch("DELETE FROM conversation")
    child = await world.until(await queue.follow_up(world.org_id, run.id, "%say two", "user:me"))
    assert "session_not_found" in (child.reason or "")


# From process to process


async def test_a_server_that_stops_hands_its_runs_on(world: World, provider: str, tmp_path: Path) -> None:
    engine = await world.start()
    run = await world.ask('%tool note {"text": "x"}\n%say part\n%stall x1\n%say whole', provider)
    await world.happens(lambda: len(world.served()) == 2)
    await streaming(world, run)
    await engine.stop()
    assert (await world.run(run.id)).status == RunStatus.QUEUED
    assert [told["message"] for told in await world.told(run, "session.interrupted")] == [
        "The server process that executed it is ending"
    ]
    await world.start(data=tmp_path / "another")
    done = await world.until(run)
    assert (done.status, done.attempt) == (RunStatus.COMPLETED, 2)
    assert world.own.done.total() == 1
    assert (await world.spent(run)).output_tokens > world.served()[-1].usage.output_tokens


async def test_a_killed_servers_runs_go_on_as_soon_as_it_starts_again(world: World) -> None:
    engine = await world.start()
    run = await world.ask("%tool ask {}\n%say {{result}}")
    await world.until(run, RunStatus.WAITING)
    await world.kill(engine)
    await world.start()
    world.own.answers.put_nowait("yes")
    assert await world.text(await world.until(run)) == "yes"
    assert list(world.own.asked.values()) == [2]  # the same call, asked again
    assert await count("runners WHERE org_id = 0") == 1


@BOTH
async def test_a_killed_servers_runs_go_on_elsewhere_after_its_lease(world: World, tmp_path: Path) -> None:
    engine = await world.start()
    run = await world.ask("%say part\n%stall x1\n%say whole")
    await streaming(world, run)
    await world.kill(engine)
    await world.start(data=tmp_path / "another")
    assert await leases.run_once(7200) == 0
    await database.fetch("UPDATE runners SET seen_at = seen_at - 100000 WHERE uid = $1", engine._uid)
    assert await leases.run_once(7200) == 1
    done = await world.until(run)
    assert (done.status, done.attempt) == (RunStatus.COMPLETED, 2)


async def test_two_processes_of_one_data_directory_are_two_runners(world: World) -> None:
    one, two = await world.start(), await world.start()
    assert one._uid != two._uid
    await one.stop()
    three = await world.start()
    assert three._uid == one._uid


async def test_an_attempt_that_is_anothers_ends_without_a_word(world: World) -> None:
    engine = await world.start()
    run = await world.ask("%tool files__hang {}\n%say never")
    await world.server.hanging.wait()
    before = len(await world.events(run))
    await database.fetch("UPDATE runs SET lease = 'another', runner_no = NULL WHERE id = $1", run.id)
    engine._again.set()  # the next poll says so
    await world.happens(lambda: not engine._attempts)
    assert len(await world.events(run)) == before


async def test_whoever_streams_finds_out_that_the_lease_is_gone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corral.providers.journal.CHECK_SECONDS", 0.1)
    engine = await world.start()
    run = await world.ask("%pace 50\n%say " + "word " * 500)
    await streaming(world, run)
    await database.fetch("UPDATE runs SET lease = 'another', runner_no = NULL WHERE id = $1", run.id)
    await world.happens(lambda: not engine._attempts)
    await world.happens(lambda: world.served()[-1].status == "cut")


@BOTH
async def test_many_runs_at_once(world: World, tmp_path: Path) -> None:
    await world.start()
    await world.start(data=tmp_path / "another")
    runs = [await world.ask(f'%tool note {{"text": "{n}"}}\n%say {{{{result}}}}') for n in range(30)]
    for n, run in enumerate(runs):
        assert await world.text(await world.until(run)) == f"noted {n}"
    assert world.own.done.total() == 30


async def test_no_more_than_its_slots_are_taken(world: World) -> None:
    engine = await world.start(max_pods=2)
    for _ in range(4):
        await world.ask("%say x\n%stall")
    await world.happens(lambda: len(world.served()) == 2)
    engine._again.set()
    await asyncio.sleep(0.1)
    assert len(engine._attempts) == 2


async def test_a_database_that_is_away_is_waited_for(world: World) -> None:
    await world.start()
    world.away = 3
    run = await world.done('%tool note {"text": "x"}\n%say done')
    assert await world.text(run) == "done"
    assert world.own.asked.total() == 1
    numbers = [event.seq for event in await world.events(run)]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_a_write_that_is_cut_off_is_looked_for_before_the_end_is_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await world.ask("x")
    await database.fetch("UPDATE runs SET attempt = 1, lease = 'mine', attempt_open = TRUE WHERE id = $1", run.id)
    work = Assignment(run.id, 1, "mine", Engine.PROVIDER, "x", "")
    journal = Journal(world.org_id, run.no, work, purse=Purse(work.limits, None), on_lost=lambda: None)
    real, stored = ingest.ingest, asyncio.Event()

    async def slow(*args: Any) -> Any:
        await real(*args)
        stored.set()
        raise Unavailable

    monkeypatch.setattr(ingest, "ingest", slow)
    writing = asyncio.create_task(journal.write([(EventType.RUN_STARTED, {})]))
    await stored.wait()
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    monkeypatch.setattr(ingest, "ingest", real)
    await journal.end([(EventType.RUN_FAILED, {"code": "x", "message": "y"})])
    assert [event.type for event in await world.events(run)] == ["run.created", "run.started", "run.failed"]


@pytest.mark.parametrize("mode", list(PermissionMode))
async def test_what_is_decided_about_tools_of_servers_holds_in_every_permission_mode(
    world: World, mode: PermissionMode
) -> None:
    world.rules = {"ask": ("look",), "deny": ("fail", "mu*")}
    await world.start()
    run = await world.ask(
        '%tool files__look {"at": "a"}\n%tool files__fail {}\n%next\n%tool files__look {"at": "b"}\n%say end',
        permission_mode=mode,
    )
    for decision in ("allow", "deny"):
        await world.until(run, RunStatus.WAITING)
        (asked,) = await approvals.page(world.org_id)
        assert (asked.tool, asked.run_id) == ("files__look", run.id)
        await approvals.answer(world.org_id, asked.id, decision, "user:me", reason="because")
    await world.until(run, RunStatus.COMPLETED)
    assert world.server.calls == ["look a"]
    results = [told["output"] for told in await world.told(run, "agent.tool_result")]
    assert sorted(results)[1:] == ["because", "saw a"]
    assert "There is no tool files__fail" in min(results)
    answered = await approvals.page(world.org_id, pending_only=False)
    assert all(one.applied_at is not None for one in answered)


async def test_a_conversation_is_deleted_with_the_last_run_that_goes_on_with_it(world: World) -> None:
    deleting.on_deletion(conversation.forget)
    await world.start()
    first = await world.done("%say one")
    second = await world.until(await queue.follow_up(world.org_id, first.id, "%say two", "user:me"))
    fork = await world.until(await queue.follow_up(world.org_id, first.id, "%say three", "user:me"))
    await deleting.delete(world.org_id, first.id, "user:me")
    assert len(await world.kept(second)) == 4
    third = await world.until(await queue.follow_up(world.org_id, second.id, "%say four", "user:me"))
    assert await world.text(third) == "four"
    await deleting.delete(world.org_id, second.id, "user:me")
    assert len(await world.kept(third)) == 6
    await deleting.delete(world.org_id, third.id, "user:me")
    assert {row["session_id"] for row in await database.fetch("SELECT session_id FROM conversation")} == {fork.id}
    await deleting.delete(world.org_id, fork.id, "user:me")
    assert not await database.fetch("SELECT 1 FROM conversation")
