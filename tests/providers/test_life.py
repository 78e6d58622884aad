"""A run's life beside its conversation: cancelled, told something, followed up, handed from process to process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from corral.platform import database
from corral.providers import conversation
from corral.providers.entries import Answer
from corral.providers.loop import Loop
from corral.providers.provider import Reply
from corral.runs import approvals, deleting, inputs, pausing, queue
from corral.runs.hints import decide
from corral.runs.models import Run
from corral.wire.runs import PermissionMode, RunStatus
from tests.providers.world import BOTH, World, count, prompts, streaming

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
