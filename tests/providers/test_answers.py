"""One run by each provider: what is said, thought and called, what the provider is shown, and what it costs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from corral import bus
from corral.base.errors import Unavailable
from corral.providers.provider import Spent
from corral.runs.hints import log_topic
from corral.usage.prices import BUILTIN
from corral.wire.events import Usage
from corral.wire.prices import Book
from tests.providers.world import MODELS, World
from tests.support.waiting import PATIENCE

PATHS = {"anthropic": "/v1/messages", "openai": "/v1/responses", "openrouter": "/api/v1/chat/completions"}
LOOK = "files__look"


async def test_a_text_is_the_runs_result(world: World, provider: str) -> None:
    await world.start()
    run = await world.done("%think Let me see.\n%say Hello there", provider)
    assert await world.text(run) == "Hello there"
    assert [event.type for event in await world.events(run)] == [
        "run.created",
        "run.started",
        "session.init",
        "agent.thinking",
        "agent.message",
        "run.result",
        "run.completed",
    ]
    [begun] = await world.told(run, "session.init")
    assert (begun["session_id"], begun["model"]) == (run.id, MODELS[provider])
    assert (begun["tools"], begun["mcp_servers"]) == (["note", "ask"], [{"name": "files", "status": "pending"}])
    assert [told["text"] for told in await world.told(run, "agent.thinking")] == ["Let me see."]


async def test_tools_run_at_the_same_time_and_their_results_go_back(world: World, provider: str) -> None:
    await world.start()
    run = await world.done(
        f'%think Both.\n%tool note {{"text": "one"}}\n%tool {LOOK} {{"at": "two"}}\n%say {{{{result}}}}', provider
    )
    assert await world.text(run) == "noted one\nsaw two"
    calls, results = await world.told(run, "agent.tool_call"), await world.told(run, "agent.tool_result")
    assert [(call["name"], call["input"]) for call in calls] == [("note", {"text": "one"}), (LOOK, {"at": "two"})]
    assert {call["tool_use_id"] for call in calls} == {result["tool_use_id"] for result in results}
    assert (world.own.asked.total(), world.server.calls) == (1, ["look two"])
    assert (world.server.opened, world.server.closed) == (1, 1)
    assert world.own.held[0].run_id == run.id


async def test_what_it_cost_is_in_the_ledger_to_the_token(world: World, provider: str) -> None:
    await world.start()
    run = await world.done(
        f'%think Hm\n%tool {LOOK} {{"at": "a"}}\n%usage in=100 out=20 read=1000 write=50\n%say done', provider
    )
    served = world.served(session=run.id)
    spent = await world.spent(run)
    assert len(served) == 2
    assert spent.input_tokens == sum(one.usage.input_tokens for one in served)
    assert spent.output_tokens == sum(one.usage.output_tokens for one in served)
    assert spent.cache_read_tokens == sum(one.usage.cache_read_tokens for one in served) > 1000
    assert spent.cache_write_tokens == sum(one.usage.cache_write_tokens for one in served) >= 50
    if provider == "openrouter":
        assert spent.cost_micros == 0  # nobody knows
    else:
        lines = [
            Spent(u.input_tokens, u.output_tokens, u.cache_read_tokens, u.cache_write_tokens)
            for u in (one.usage for one in served)
        ]
        assert spent.cost_micros == sum(cost(MODELS[provider], line) or 0 for line in lines) > 0
        [result] = await world.told(run, "run.result")
        assert (result["turns"], result["cost_usd"]) == (2, spent.cost_usd)


async def test_the_provider_is_shown_instructions_tools_and_what_it_thought(world: World, provider: str) -> None:
    await world.start()
    run = await world.done(f'%think Hm\n%say First.\n%tool {LOOK} {{"at": "a"}}\n%say done', provider)
    first, second = world.requests(PATHS[provider])
    assert "A careful helper" in json.dumps(first)
    assert LOOK in json.dumps(first["tools"])
    shown = json.dumps(second)
    assert "saw a" in shown
    if provider == "anthropic":
        assert first["thinking"] == {"type": "adaptive", "display": "summarized"}
        assert [block["type"] for block in second["messages"][1]["content"]] == ["thinking", "text", "tool_use"]
        assert second["messages"][1]["content"][0]["signature"]
        marks = [m["content"][-1].get("cache_control") for m in second["messages"] if m["role"] == "user"]
        assert marks == [{"type": "ephemeral"}] * 2
        assert second["system"][0]["cache_control"] == {"type": "ephemeral"}
    elif provider == "openai":
        assert (first["store"], first["prompt_cache_key"], first["reasoning"]) == (False, run.id, {"summary": "auto"})
        kinds = [item.get("type", "message") for item in second["input"]]
        assert kinds == ["message", "reasoning", "message", "function_call", "function_call_output"]
        assert second["input"][1]["encrypted_content"]
    else:
        assert first["stream_options"] == {"include_usage": True}
        assert second["messages"][2]["reasoning_details"][0]["text"] == "Hm"


async def test_what_is_written_is_shown_as_it_comes(world: World, provider: str) -> None:
    await world.start()
    run = await world.ask("%chunk 1\n%pace 200\n%think I think\n%say " + "word " * 40, provider)
    seen: list[dict[str, Any]] = []

    def hear(hint: bytes) -> None:
        for line in hint.splitlines():
            told = json.loads(line[6:]) if line.startswith(b"data: ") else {}
            if told.get("event_type") == "agent.token":
                seen.append(told["payload"])

    bus.current().listen(log_topic(run.no), hear)
    await world.until(run)
    [message] = await world.told(run, "agent.message")
    frames = [frame for frame in seen if frame["block"] == message["block"]]
    assert len(frames) > 2
    streamed = "".join(frame["text"] for frame in frames)
    assert message["text"].startswith(streamed.strip())
    assert [frame["offset"] for frame in frames] == [
        sum(len(before["text"]) for before in frames[:at]) for at in range(len(frames))
    ]
    assert {frame["kind"] for frame in seen} == {"text", "thinking"}


async def test_a_mistake_with_a_tool_is_told_to_the_model(world: World, provider: str) -> None:
    await world.start()
    run = await world.done("%tool nothing {}\n%tool files__fail {}\n%say {{result}}", provider)
    first, second = sorted(await world.told(run, "agent.tool_result"), key=lambda told: str(told["name"]), reverse=True)
    assert (first["is_error"], second["is_error"]) == (True, True)
    assert "There is no tool nothing" in first["output"]
    assert second["output"] == "files__fail failed: it broke"
    assert "it broke" in await world.text(run)


async def test_a_long_result_keeps_its_beginning_and_its_end(world: World) -> None:
    await world.start()
    run = await world.done("%tool files__much {}\n%say done")
    [result] = await world.told(run, "agent.tool_result")
    assert len(result["output"]) < 110_000
    assert "characters left out" in result["output"]


async def test_a_server_that_cannot_be_reached_is_done_without(world: World) -> None:
    world.mcp_servers = ["broken", "files"]
    await world.start()
    run = await world.done(f'%tool {LOOK} {{"at": "a"}}\n%say {{{{result}}}}')
    assert await world.text(run) == "saw a"
    [told] = await world.told(run, "agent.needs_attention")
    assert told["message"] == "The MCP server broken cannot be used: no such command"


async def test_a_tool_that_hangs_is_given_up(world: World) -> None:
    await world.start()
    idle = 0.5 * PATIENCE
    run = await world.done("%tool files__hang {}\n%say {{result}}", limits=world.limits(idle_seconds=idle))
    assert f"gave no answer in {idle:g} seconds" in await world.text(run)


async def test_an_own_tool_is_asked_again_when_the_database_was_away(world: World) -> None:
    world.own.trouble = [Unavailable()]
    await world.start()
    run = await world.done('%tool note {"text": "x"}\n%say {{result}}')
    assert await world.text(run) == "noted x"
    assert list(world.own.asked.values()) == [2]


@pytest.mark.parametrize(
    ("model", "spent", "micros"),
    [
        ("claude-sonnet-5", Spent(1_000_000), 2_000_000),
        ("claude-haiku-4-5-20251001", Spent(0, 1_000_000), 5_000_000),
        ("claude-haiku-5-5", Spent(100_000, 0), 10_000),
        ("claude-haiku-5-5", Spent(100_001, 0), 50_001),
        ("gpt-5.6-terra", Spent(0, 0, 1_000_000, 1_000_000), 250_000 + 3_125_000),
        ("gpt-5.5", Spent(300_000, 100_000), 3_000_000 + 4_500_000),
        ("maker/some-model", Spent(1, 1, cost_micros=7), 7),
        ("some-model", Spent(1, 1), None),
    ],
)
def test_a_price_is_of_the_model_and_of_the_requests_length(model: str, spent: Spent, micros: int | None) -> None:
    assert cost(model, spent) == micros


def cost(model: str, spent: Spent) -> int | None:
    if spent.cost_micros is not None:
        return spent.cost_micros
    classes = (spent.input_tokens, spent.output_tokens, spent.cache_read_tokens, spent.cache_write_tokens)
    return Book(1, (), BUILTIN).cost(Usage("1", model, *classes), day=20_000)
