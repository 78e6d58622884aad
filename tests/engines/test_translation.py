"""Raw messages → events and ledger lines, where a real run shows a shape too seldom or too big."""

import json
from typing import Any

from corral.runner.engines.claude_events import KEPT_CHARACTERS, Translator, flatten
from corral.runner.engines.claude_outcome import judge
from corral.runner.engines.claude_sdk import ProcessError
from corral.runner.engines.claude_usage import Meter
from corral.runner.engines.protocol import Emit
from corral.wire.events import EventType


def told(*messages: dict[str, Any]) -> list[tuple[EventType, Any]]:
    translator = Translator()
    lines = [line for message in messages for line in translator.translate(message)]
    return [(line.type, json.loads(bytes(line.payload))) for line in lines if isinstance(line, Emit)]


def result_of(content: Any) -> dict[str, Any]:
    block = {"type": "tool_result", "tool_use_id": "t1", "content": content}
    return {"type": "user", "message": {"content": [block]}, "parent_tool_use_id": None}


def test_a_huge_output_keeps_its_head_and_its_tail_and_says_what_is_left_out() -> None:
    ((_, payload),) = told(result_of("a" * 150_000 + "the end"))
    assert len(payload["output"]) < KEPT_CHARACTERS + 100
    assert "… 50,007 characters left out …" in payload["output"]
    assert payload["output"].endswith("the end")


def test_root_learns_how_to_bypass_permissions() -> None:
    said = ["--dangerously-skip-permissions cannot be used with root/sudo privileges for security reasons"]
    failure = json.loads(bytes(judge(None, None, ProcessError("x", exit_code=1), said).payload))
    assert (failure["code"], failure["message"]) == ("cli_error", "Claude Code does not bypass permissions for root")
    assert "IS_SANDBOX=1" in failure["hint"]


def test_half_an_emoji_does_not_lose_the_event() -> None:
    ((_, payload),) = told(result_of("cut \ud83d here"))
    assert payload["output"] == "cut ? here"


def test_results_of_every_shape_become_text() -> None:
    image = {"type": "image", "source": {"media_type": "image/png", "data": "QUFB"}}
    assert flatten(None) == ""
    assert flatten([{"type": "text", "text": "one"}, image]) == "one\n[image image/png, 3 bytes]"
    assert flatten([{"type": "tool_reference", "name": "x"}]) == '{"type": "tool_reference", "name": "x"}'


def test_messages_of_kinds_nobody_knows_mean_nothing() -> None:
    unknown: list[dict[str, Any]] = [
        {"type": "new"},
        {"type": "system", "subtype": "new"},
        {"type": "stream_event", "event": {"type": "new"}},
    ]
    assert told(*unknown) == []


def test_an_api_failure_is_told_by_the_runs_end_and_not_as_the_agents_words() -> None:
    said = {"model": "<synthetic>", "id": "m", "content": [{"type": "text", "text": "API Error: 500"}]}
    assert told({"type": "assistant", "message": said, "is_api_error_message": True}) == []


def test_a_sub_agent_that_never_said_it_ended_is_stopped_with_the_attempt() -> None:
    translator = Translator()
    start = {
        "type": "system",
        "subtype": "task_started",
        "task_type": "local_agent",
        "task_id": "a",
        "tool_use_id": "t1",
    }
    assert len(list(translator.translate(start))) == 1
    (stop,) = translator.finish()
    assert json.loads(bytes(stop.payload))["status"] == "stopped"
    assert list(translator.finish()) == []


def sums(model: str = "m", **counts: float) -> dict[str, Any]:
    return {"type": "result", "modelUsage": {model: {"inputTokens": 1, **counts}}}


def answer(name: str, text: str = "", **usage: int) -> dict[str, Any]:
    content = [{"type": "text", "text": text}]
    return {"type": "assistant", "message": {"id": name, "model": "m", "content": content, "usage": usage}}


def test_sums_of_a_claude_code_that_tells_no_deltas_are_told_apart() -> None:
    meter = Meter(1, resumed=False)
    (first,) = meter.settle(sums(outputTokens=10, costUSD=0.1))
    (second,) = meter.settle(sums(outputTokens=15, costUSD=0.15))
    assert (first.output_tokens, second.output_tokens) == (10, 5)
    assert (first.cost_micros, second.cost_micros) == (100_000, 50_000)
    assert (first.source, second.source) == ("1/turn-1/m", "1/turn-2/m")


def test_the_first_sums_of_a_resumed_session_without_deltas_are_replaced_by_an_estimate() -> None:
    meter = Meter(2, resumed=True)
    meter.watch(answer("m1", "x" * 400, input_tokens=3, output_tokens=1))
    (first,) = meter.settle(sums(outputTokens=1000, costUSD=9.0))
    assert (first.source, first.estimated, first.input_tokens, first.output_tokens) == ("2/message-m1", True, 3, 100)
    (second,) = meter.settle(sums(outputTokens=1005, costUSD=9.1))
    assert (second.output_tokens, second.estimated) == (5, False)


def test_a_message_that_goes_on_after_its_turn_was_settled_is_not_counted_again() -> None:
    meter = Meter(1, resumed=False)
    meter.watch(answer("m1", "begin", output_tokens=1))
    meter.settle(sums(outputTokens=10))
    meter.watch(answer("m1", "and end", output_tokens=1))
    assert meter.cut() == []


def test_cost_is_rounded_so_that_the_lines_sum_up() -> None:
    meter = Meter(1, resumed=False)
    lines = [line for n in range(1, 11) for line in meter.settle(sums(costUSD=n * 0.0000004, outputTokens=n))]
    assert sum(line.cost_micros or 0 for line in lines) == 4
