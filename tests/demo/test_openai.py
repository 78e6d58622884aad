"""The OpenAI faces: Responses and Chat Completions, by the official SDK and by hand."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from corral.demo.server import ModelServer
from tests.demo.conftest import PATIENCE, until

SCRIPT = '%think hm\n%say Hello\n%tool Look {"at": "a"}\n%tool Look {"at": "b"}\n%usage in=5 out=7 read=9 write=2\n'


@pytest.fixture
async def sdk(scripted: ModelServer) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client; it retries nothing by itself."""
    async with openai.AsyncOpenAI(
        api_key="any", base_url=f"{scripted.url}/v1", max_retries=0, timeout=PATIENCE
    ) as client:
        yield client


def result(call_id: str, output: str) -> Any:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


async def test_a_response_is_streamed_in_the_shape_of_the_real_one(sdk: openai.AsyncOpenAI) -> None:
    async with sdk.responses.stream(model="gpt-x", input=SCRIPT) as stream:
        told = [event async for event in stream]
        whole = await stream.get_final_response()
    assert [event.sequence_number for event in told if hasattr(event, "sequence_number")] == list(range(len(told)))
    kinds = [event.type for event in told]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[2:7] == [
        "response.output_item.added",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
    ]
    assert kinds[-5:] == [
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [item.type for item in whole.output] == ["reasoning", "message", "function_call", "function_call"]
    assert whole.output_text == "Hello"
    assert whole.usage is not None
    assert (whole.usage.input_tokens, whole.usage.output_tokens, whole.usage.total_tokens) == (16, 7, 23)
    assert whole.usage.input_tokens_details.cached_tokens == 9
    assert whole.usage.output_tokens_details.reasoning_tokens == 1


async def test_an_unstreamed_response_holds_the_same(sdk: openai.AsyncOpenAI) -> None:
    whole = await sdk.responses.create(model="gpt-x", input=SCRIPT)
    assert whole.status == "completed"
    thought, _, call, _ = whole.output
    assert thought.type == "reasoning"
    assert thought.summary[0].text == "hm"
    assert call.type == "function_call"
    assert (call.name, json.loads(call.arguments)) == ("Look", {"at": "a"})


async def test_a_script_goes_on_with_the_outputs_in_the_order_of_the_calls(sdk: openai.AsyncOpenAI) -> None:
    prompt = SCRIPT + "%say Got {{result}} in turn {{turn}}"
    first = await sdk.responses.create(model="gpt-x", input=prompt)
    calls = [item.call_id for item in first.output if item.type == "function_call"]
    said: list[Any] = [{"role": "user", "content": prompt}, *first.output]
    second = await sdk.responses.create(model="gpt-x", input=[*said, result(calls[1], "two"), result(calls[0], "one")])
    assert second.output_text == "Got one\ntwo in turn 2"


async def test_the_former_prompt_is_cached(sdk: openai.AsyncOpenAI) -> None:
    said: list[Any] = [{"role": "user", "content": '%tool Look {"at": "a"}\n%say done ' + "x" * 4000}]
    first = await sdk.responses.create(model="gpt-x", input=said, instructions="Be good. " * 100)
    [call] = [item for item in first.output if item.type == "function_call"]
    later = [*said, call, result(call.call_id, "seen")]
    second = await sdk.responses.create(model="gpt-x", input=later, instructions="Be good. " * 100)
    assert first.usage is not None
    assert second.usage is not None
    assert first.usage.input_tokens_details.cached_tokens == 0
    assert second.usage.input_tokens_details.cached_tokens == first.usage.input_tokens
    assert second.usage.input_tokens > first.usage.input_tokens


async def test_a_completion_is_streamed_with_its_usage_if_asked_for(sdk: openai.AsyncOpenAI) -> None:
    stream = await sdk.chat.completions.create(
        model="m", messages=[{"role": "user", "content": SCRIPT}], stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == "Hello"
    assert [delta.model_extra["reasoning"] for delta in deltas if delta.model_extra] == ["hm"]
    calls = [call for delta in deltas for call in delta.tool_calls or []]
    assert [call.index for call in calls] == [0, 0, 1, 1]
    assert [call.function.arguments for call in calls if call.function and call.function.arguments] == [
        '{"at": "a"}',
        '{"at": "b"}',
    ]
    assert chunks[-2].choices[0].finish_reason == "tool_calls"
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (16, 7)
    assert (usage.prompt_tokens_details.cached_tokens, usage.prompt_tokens_details.cache_write_tokens) == (9, 2)


async def test_a_completion_goes_on_with_its_tools_results(sdk: openai.AsyncOpenAI) -> None:
    said: list[Any] = [{"role": "system", "content": "s"}, {"role": "user", "content": SCRIPT + "%say Got {{result}}"}]
    first = (await sdk.chat.completions.create(model="m", messages=said)).choices[0].message
    assert first.content == "Hello"
    assert first.tool_calls is not None
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": f"r{at}"} for at, call in enumerate(first.tool_calls)
    ]
    live = {"role": "user", "content": "and hurry"}
    later = [*said, first, *reversed(results), live]
    second = await sdk.chat.completions.create(model="m", messages=later)
    assert second.choices[0].message.content == "Got r0\nr1"


async def test_openrouters_address_answers_too(scripted: ModelServer) -> None:
    async with openai.AsyncOpenAI(api_key="any", base_url=f"{scripted.url}/api/v1", max_retries=0) as sdk:
        answer = await sdk.chat.completions.create(
            model="vendor/model", messages=[{"role": "user", "content": "%say {{model}}"}]
        )
        assert answer.choices[0].message.content == "vendor/model"


async def test_errors_strike_as_often_as_asked_then_pass(sdk: openai.AsyncOpenAI) -> None:
    script = "%error 503 x1\n%error 429 x1 retry-after=3 Slow down\n%say fine"
    with pytest.raises(openai.InternalServerError):
        await sdk.responses.create(model="gpt-x", input=script)
    with pytest.raises(openai.RateLimitError, match="Slow down") as limited:
        await sdk.responses.create(model="gpt-x", input=script)
    assert (limited.value.code, limited.value.response.headers["retry-after"]) == ("rate_limit_exceeded", "3")
    assert (await sdk.responses.create(model="gpt-x", input=script)).output_text == "fine"


async def test_an_error_in_mid_stream_is_told_in_each_apis_way(sdk: openai.AsyncOpenAI) -> None:
    stream = await sdk.responses.create(model="gpt-x", input="%say part\n%error 500 Bad luck", stream=True)
    last = [event async for event in stream][-1]
    assert last.type == "error"
    assert (last.code, last.message) == ("server_error", "Bad luck")
    chunks = await sdk.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "%say part\n%error 500 Bad luck"}], stream=True
    )
    with pytest.raises(openai.APIError, match="Bad luck"):
        [chunk async for chunk in chunks]


async def test_a_drop_cuts_the_connection(sdk: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.APIConnectionError):
        await sdk.responses.create(model="gpt-x", input="%drop")


async def test_a_stall_is_noted_as_cut_once_the_client_has_left(sdk: openai.AsyncOpenAI, scripted: ModelServer) -> None:
    stream = await sdk.responses.create(model="gpt-x", input="%say part\n%stall", stream=True)
    async for event in stream:
        if event.type == "response.output_text.delta":
            break
    await stream.close()
    await until(lambda: scripted.ledger.served[-1].status == "cut")


async def test_an_answer_may_be_incomplete(sdk: openai.AsyncOpenAI) -> None:
    whole = await sdk.responses.create(model="gpt-x", input="%say too long\n%stop max_tokens")
    assert whole.incomplete_details is not None
    assert (whole.status, whole.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    chat = await sdk.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "%say too long\n%stop max_tokens"}]
    )
    assert chat.choices[0].finish_reason == "length"


async def test_all_faces_are_in_one_ledger(sdk: openai.AsyncOpenAI, scripted: ModelServer) -> None:
    whole = await sdk.responses.create(model="gpt-x", input="%say Hello", prompt_cache_key="s-1")
    chat = await sdk.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "%say Hello"}], user="s-2"
    )
    first, second = scripted.ledger.served
    assert (first.id, first.session, second.id, second.session) == (whole.id, "s-1", chat.id, "s-2")
    assert [entry.status for entry in scripted.ledger.served] == ["finished", "finished"]
    assert whole.usage is not None
    assert first.usage.input_tokens == whole.usage.input_tokens


@pytest.mark.parametrize(
    ("path", "body", "why"),
    [
        ("responses", {"input": "x"}, "model: Field required"),
        ("responses", {"model": "m", "input": "%say"}, "%say takes a text"),
        ("responses", {"model": "m", "input": [result("c", "x")]}, "No tool call found for function call output"),
        ("responses", {"model": "m", "input": "x", "previous_response_id": "r"}, "Nothing is stored"),
        (
            "responses",
            {"model": "m", "input": [{"type": "function_call", "call_id": "c", "name": "n", "arguments": "{}"}]},
            "No tool output found for function call c.",
        ),
        ("chat/completions", {"model": "m", "messages": []}, "empty array"),
        ("chat/completions", {"model": "m", "messages": [{"role": "tool", "tool_call_id": "c"}]}, "preceding message"),
        (
            "chat/completions",
            {"model": "m", "messages": [{"role": "assistant", "tool_calls": [{"id": "c"}]}]},
            "did not have response messages: c",
        ),
        ("chat/completions", {"model": "m", "messages": [{"role": "robot"}]}, "Invalid value: 'robot'"),
    ],
)
async def test_a_bad_request_is_told_why(http: httpx.AsyncClient, path: str, body: dict[str, Any], why: str) -> None:
    answer = await http.post(f"/v1/{path}", json=body, headers={"authorization": "Bearer any"})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert why in error["message"]


async def test_a_key_is_asked_for(scripted: ModelServer) -> None:
    async with openai.AsyncOpenAI(api_key="sk-invalid", base_url=f"{scripted.url}/v1", max_retries=0) as sdk:
        with pytest.raises(openai.AuthenticationError) as refused:
            await sdk.responses.create(model="gpt-x", input="%say x")
    assert refused.value.code == "invalid_api_key"


async def test_the_models_are_listed_for_both_sdks(sdk: openai.AsyncOpenAI) -> None:
    assert "gpt-5.5" in [model.id async for model in sdk.models.list()]
    assert (await sdk.models.retrieve("anything/else")).id == "anything/else"


async def test_answers_that_a_client_left_out_count_as_given(sdk: openai.AsyncOpenAI) -> None:
    said: list[Any] = [
        {"role": "user", "content": "%bash a\n%bash b\n%next\n%bash c\n%next\n%say {{turn}}"},
        {"role": "user", "content": "[Corral: 2 earlier answers are left out] They were about letters."},
    ]
    assert (await sdk.responses.create(model="gpt-x", input=said)).output_text == "3"


async def test_a_summary_is_no_turn_of_the_script(sdk: openai.AsyncOpenAI, scripted: ModelServer) -> None:
    said: list[Any] = [
        {"role": "user", "content": "%say a\n%next\n%say b"},
        {"role": "user", "content": "Now create a detailed summary of this conversation."},
    ]
    assert (await sdk.responses.create(model="gpt-x", input=said)).output_text.startswith("<summary>")
    assert [entry.kind for entry in scripted.ledger.served] == ["side"]
