"""What goes wrong at the provider, and what a run may take: what is asked again, and how a run fails."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from corral.runs import queue
from corral.runs.models import Run
from corral.wire.runs import RunStatus
from tests.providers.test_answers import PATHS
from tests.providers.world import MODELS, World
from tests.support.waiting import PATIENCE


async def failed(world: World, prompt: str, provider: str = "anthropic", **more: Any) -> tuple[Run, dict[str, str]]:
    run = await world.until(await world.ask(prompt, provider, **more))
    assert run.status == RunStatus.FAILED
    assert run.reason is not None
    return run, msgspec.json.decode(run.reason)


async def test_what_may_pass_is_asked_again(world: World, provider: str) -> None:
    await world.start()
    run = await world.done("%error 529 x1\n%error 500 x1\n%error 429 x1 retry-after=0.2 Slow down\n%say fine", provider)
    told = await world.told(run, "session.retry")
    assert [(one["status"], one["attempt"]) for one in told] == [(529, 1), (500, 2), (429, 3)]
    assert told[2]["delay_seconds"] == 0.2
    assert "Slow down" in told[2]["message"]
    assert await world.text(run) == "fine"


async def test_what_breaks_off_in_mid_stream_is_asked_again_and_billed_as_an_estimate(
    world: World, provider: str
) -> None:
    await world.start()
    run = await world.done("%say part of it\n%error 529 x1\n%say whole", provider)
    assert len(await world.told(run, "session.retry")) == 1
    assert "whole" in await world.text(run)
    cut, whole = world.served(session=run.id)
    assert (cut.status, whole.status) == ("error", "finished")
    spent = await world.spent(run)
    assert spent.output_tokens == whole.usage.output_tokens + cut.usage.output_tokens
    assert spent.input_tokens > whole.usage.input_tokens


async def test_a_connection_that_is_cut_is_asked_again(world: World, provider: str) -> None:
    await world.start()
    run = await world.done("%drop x1\n%say a\n%drop x1\n%say b", provider)
    assert [told["status"] for told in await world.told(run, "session.retry")] == [None, None]
    assert (await world.text(run)).split() == (["ab"] if provider == "openrouter" else ["a", "b"])


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        ("%error 400 Nonsense", "model_api_error", "answered 400: Nonsense"),
        ("%error 401", "provider_key_refused", "answered 401"),
        ("%error 403", "model_api_error", "answered 403"),
        ("%error 404", "model_not_found", "answered 404"),
    ],
)
async def test_what_does_not_pass_is_not_asked_again(
    world: World, provider: str, script: str, code: str, words: str
) -> None:
    await world.start()
    run, reason = await failed(world, f"{script}\n%say never", provider)
    assert (reason["code"], len(world.served())) == (code, 1)
    assert words in reason["message"]
    assert reason["hint"]
    [result] = await world.told(run, "run.result")
    assert result["is_error"]


async def test_an_account_without_credit_is_not_asked_again(world: World) -> None:
    await world.start()
    _, reason = await failed(world, "%error 429 insufficient_quota Pay first", "openai")
    assert (reason["code"], len(world.served())) == ("provider_no_credit", 1)


async def test_trouble_without_an_end_ends_the_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corral.providers.loop.LONGEST_PAUSE", 0.01)
    await world.start()
    run, reason = await failed(world, "%error 529")
    assert "529" in reason["message"]
    assert len(await world.told(run, "session.retry")) == 8


async def test_a_missing_key_is_named(world: World, provider: str) -> None:
    world.secrets = {}
    await world.start()
    _, reason = await failed(world, "%say x", provider)
    assert reason["code"] == "no_provider_key"
    assert f"{provider.upper()}_API_KEY" in reason["hint"]


async def test_a_provider_nobody_knows_is_named(world: World) -> None:
    await world.start()
    _, reason = await failed(world, "%say x", "acme", model="m")
    assert reason["code"] == "unknown_provider"
    assert "anthropic, openai, openrouter" in reason["hint"]


async def test_an_agent_without_a_model_fails(world: World) -> None:
    await world.start()
    assert (await failed(world, "%say x", model=None))[1]["code"] == "no_model"


@pytest.mark.parametrize(
    ("provider", "wish", "words"),
    [
        ("anthropic", "thinking", "thinking is not supported by this model"),
        ("openai", "reasoning", "Your organization must be verified to generate reasoning summaries."),
    ],
)
async def test_a_model_that_takes_no_wish_for_thoughts_is_asked_without(
    world: World, provider: str, wish: str, words: str
) -> None:
    await world.start()
    run = await world.done(f"%error 400 x1 {words}\n%say fine", provider)
    with_it, without = world.requests(PATHS[provider])
    assert wish in with_it
    assert wish not in without
    assert await world.told(run, "session.retry") == []


async def test_a_stall_is_noticed_and_what_it_cost_is_kept(world: World, provider: str) -> None:
    await world.start()
    idle = 0.5 * PATIENCE
    run, reason = await failed(world, "%say some words\n%stall", provider, limits=world.limits(idle_seconds=idle))
    assert reason["code"] == "idle_timeout"
    assert f"{idle:g} seconds" in reason["message"]
    spent = await world.spent(run)
    assert spent.output_tokens >= 2
    assert spent.input_tokens > 0


async def test_a_run_has_a_limit_of_time(world: World) -> None:
    await world.start()
    _, reason = await failed(world, "%pace 1\n%say " + "word " * 50, limits=world.limits(run_seconds=0.3))
    assert reason["code"] == "run_timeout"


async def test_waiting_for_somebody_counts_against_no_limit_and_holds_no_slot(world: World) -> None:
    engine = await world.start(max_pods=1)
    most = 0.5 * PATIENCE
    run = await world.ask("%tool ask {}\n%say {{result}}", limits=world.limits(run_seconds=most, idle_seconds=most))
    await world.happens(lambda: world.own.asked.total() == 1)
    began = time.monotonic()
    other = await world.done("%say meanwhile")
    assert await world.text(other) == "meanwhile"
    await world.happens(lambda: len(engine._attempts) == 1)  # the other has let go of its slot
    [attempt] = engine._attempts.values()
    assert attempt._clocks.left() is None
    await world.happens(lambda: time.monotonic() - began > 1.2 * most)
    world.own.answers.put_nowait("yes")
    assert await world.text(await world.until(run)) == "yes"


async def test_turns_have_a_limit_which_a_follow_up_renews(world: World) -> None:
    await world.start()
    script = '%keep\n%repeat 3\n%tool note {"text": "x"}\n%end\n%say done'
    run, reason = await failed(world, script, limits=world.limits(max_turns=2))
    assert reason["code"] == "max_turns"
    assert world.own.asked.total() == 2
    child = await queue.follow_up(world.org_id, run.id, "Go on", "user:me")
    done = await world.until(child)
    assert (done.status, await world.text(done)) == (RunStatus.COMPLETED, "done")
    assert world.own.asked.total() == 3


async def test_cost_has_a_limit(world: World) -> None:
    await world.start()
    script = '%tool note {"text": "x"}\n%usage in=0 out=100000\n%next\n%tool note {"text": "y"}\n%say done'
    run, reason = await failed(world, script, limits=world.limits(max_cost_usd=1.0))
    assert (reason["code"], world.own.asked.total()) == ("max_budget", 1)
    assert (await world.spent(run)).cost_usd >= 1.0


async def test_an_answer_that_grew_too_long_is_gone_on_with(world: World, provider: str) -> None:
    await world.start()
    run = await world.done("%keep\n%say one\n%stop max_tokens\n%say two", provider)
    assert [told["text"] for told in await world.told(run, "agent.message")] == ["one", "two"]
    assert await world.text(run) == "two"


async def test_answers_that_always_grow_too_long_end_the_run(world: World) -> None:
    await world.start()
    _, reason = await failed(world, "%keep\n%repeat 9\n%say one\n%stop max_tokens\n%end")
    assert reason["code"] == "answer_too_long"


async def test_an_answer_that_promises_calls_and_has_none_is_the_last(world: World) -> None:
    await world.start()
    assert await world.text(await world.done("%say x\n%stop tool_use")) == "x"


async def test_a_refusal_fails_the_run(world: World, provider: str) -> None:
    await world.start()
    _, reason = await failed(world, "%say I will not\n%stop refusal", provider)
    assert reason["code"] == "model_refused"


async def test_a_keys_client_is_made_once(world: World) -> None:
    engine = await world.start()
    for _ in range(2):
        await world.done("%say x", "openai")
    world.secrets = {"OPENAI_API_KEY": "another"}
    await world.done("%say x", "openai")
    assert list(engine._clients._clients) == [("openai", "any"), ("openai", "another")]
    assert MODELS["openai"] == "gpt-5.6-terra"
