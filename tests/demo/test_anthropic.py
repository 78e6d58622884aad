"""The Anthropic Messages face, over HTTP."""

import json
import time
from typing import Any

import httpx
import pytest

from corral.demo.server import ModelServer
from tests.demo.conftest import until
from tests.support.waiting import PATIENCE

CACHED = {"type": "ephemeral"}


def asking(prompt: str, **more: object) -> dict[str, Any]:
    return {"model": "claude-x", "max_tokens": 1000, "messages": [{"role": "user", "content": prompt}], **more}


async def events(http: httpx.AsyncClient, prompt: str) -> list[dict[str, Any]]:
    answer = await http.post("/v1/messages", json=asking(prompt, stream=True))
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in answer.text.removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        body = json.loads(data.removeprefix("data: "))
        assert name == f"event: {body['type']}"
        found.append(body)
    return found


async def test_a_stream_has_the_shape_of_the_real_one(http: httpx.AsyncClient) -> None:
    told = await events(http, '%think hm\n%say Hello\n%tool Bash {"command": "ls"}\n%usage in=5 out=7 read=9 write=11')
    assert [body["type"] for body in told] == [
        *("message_start", "ping"),
        *("content_block_start", "content_block_delta", "content_block_delta", "content_block_stop"),
        *("content_block_start", "content_block_delta", "content_block_stop") * 2,
        *("message_delta", "message_stop"),
    ]
    assert told[0]["message"]["usage"]["input_tokens"] == 5
    assert [body["content_block"]["type"] for body in told if "content_block" in body] == [
        "thinking",
        "text",
        "tool_use",
    ]
    deltas = [body["delta"] for body in told if body["type"] == "content_block_delta"]
    assert [delta["type"] for delta in deltas] == [
        *("thinking_delta", "signature_delta", "text_delta", "input_json_delta"),
    ]
    assert json.loads(deltas[-1]["partial_json"]) == {"command": "ls"}
    assert told[-2]["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    usage = told[-2]["usage"]
    assert (usage["output_tokens"], usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (
        7,
        9,
        11,
    )


async def test_an_unstreamed_answer_holds_the_same(http: httpx.AsyncClient) -> None:
    answer = (await http.post("/v1/messages", json=asking("%say Hello\n%bash ls"))).json()
    assert answer["content"][0] == {"type": "text", "text": "Hello"}
    assert (answer["content"][1]["name"], answer["content"][1]["input"]) == ("Bash", {"command": "ls"})
    assert answer["stop_reason"] == "tool_use"


async def test_chunks_are_as_large_as_asked(http: httpx.AsyncClient) -> None:
    told = await events(http, "%chunk 1\n%say 12345678ABCD")
    assert [body["delta"]["text"] for body in told if body["type"] == "content_block_delta"] == ["1234", "5678", "ABCD"]


async def test_a_text_comes_at_the_pace_asked_for(http: httpx.AsyncClient) -> None:
    started = time.monotonic()
    await events(http, "%pace 1000\n%say " + "x" * 1200)  # 300 tokens
    assert 0.3 <= time.monotonic() - started < 3 * PATIENCE


async def test_a_wait_before_the_first_block_holds_back_the_headers(http: httpx.AsyncClient) -> None:
    started = time.monotonic()
    async with http.stream("POST", "/v1/messages", json=asking("%wait 0.2\n%say x", stream=True)):
        assert time.monotonic() - started >= 0.2


async def test_errors_strike_as_often_as_asked_then_pass(http: httpx.AsyncClient) -> None:
    script = asking("%error 529 x2\n%error 429 x1 retry-after=3 Slow down\n%say fine")
    answers = [await http.post("/v1/messages", json=script) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [529, 529, 429, 200]
    assert answers[0].json()["error"] == {"type": "overloaded_error", "message": "Scripted overloaded_error"}
    assert answers[2].headers["retry-after"] == "3"


async def test_an_error_in_mid_stream_is_an_event_in_an_open_block(http: httpx.AsyncClient) -> None:
    told = await events(http, "%say part\n%error 529")
    assert [body["type"] for body in told[-3:]] == ["content_block_start", "content_block_delta", "error"]


async def test_a_drop_cuts_the_connection_at_once_or_in_mid_stream(http: httpx.AsyncClient) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await http.post("/v1/messages", json=asking("%drop", stream=True))
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await http.post("/v1/messages", json=asking("%say part\n%drop", stream=True))


async def test_a_stall_lasts_until_the_client_leaves_and_is_noted_as_cut(
    http: httpx.AsyncClient, scripted: ModelServer
) -> None:
    async with http.stream("POST", "/v1/messages", json=asking("%say part\n%stall", stream=True)) as answer:
        seen = ""
        async for text in answer.aiter_text():
            seen += text
            if '"part"' in seen:
                break
        assert [entry.status for entry in scripted.ledger.served] == ["open"]
    await until(lambda: scripted.ledger.served[-1].status == "cut")
    assert scripted.ledger.served[-1].usage.output_tokens == 1


async def test_the_cache_grows_from_turn_to_turn(http: httpx.AsyncClient) -> None:
    def usage(answer: httpx.Response) -> tuple[int, int, int]:
        told = answer.json()["usage"]
        return told["cache_read_input_tokens"], told["cache_creation_input_tokens"], told["input_tokens"]

    system = [{"type": "text", "text": "Be good. " * 100, "cache_control": CACHED}]
    first = asking("%bash ls\n%say done", system=system)
    read, write, plain = usage(await http.post("/v1/messages", json=first))
    assert (read, plain) == (0, 3)
    call = {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "Bash", "input": {}}]}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "x" * 400}]}
    later = first | {"messages": [*first["messages"], call, result]}
    read_later, write_later, _ = usage(await http.post("/v1/messages", json=later))
    assert read_later == write + plain
    assert 90 < write_later < 110


async def test_what_was_served_is_listed_to_the_token(http: httpx.AsyncClient) -> None:
    user = json.dumps({"session_id": "s-1"})
    answer = await http.post("/v1/messages", json=asking("%say Hello", metadata={"user_id": user}))
    [served] = (await http.get("/served", params={"session": "s-1"})).json()
    assert (served["id"], served["status"], served["model"]) == (answer.json()["id"], "finished", "claude-x")
    assert served["usage"]["output_tokens"] == answer.json()["usage"]["output_tokens"] == 2
    assert (await http.get("/served", params={"session": "other"})).json() == []


async def test_what_was_asked_is_kept_without_keys(http: httpx.AsyncClient) -> None:
    await http.post("/v1/messages", json=asking("%say x"))
    [asked] = (await http.get("/requests", params={"path": "/v1/messages"})).json()
    assert asked["body"]["messages"][0]["content"] == "%say x"
    assert "x-api-key" not in asked["headers"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{", "not valid JSON"),
        (b'{"max_tokens": 1, "messages": []}', "model: Field required"),
        (b'{"model": "m", "messages": [{"role": "user", "content": "x"}]}', "max_tokens: Field required"),
        (b'{"model": "m", "max_tokens": 1, "messages": []}', "at least one message"),
        (b'{"model": "m", "max_tokens": 1, "messages": [{"role": "user"}]}', "messages.0.content: Field required"),
        (b'{"model": "m", "max_tokens": 1, "messages": [{"role": "assistant", "content": "x"}]}', "first message"),
        (b'{"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "%say"}]}', "%say takes a text"),
    ],
)
async def test_a_bad_request_is_told_why(http: httpx.AsyncClient, body: bytes, why: str) -> None:
    answer = await http.post("/v1/messages", content=body)
    assert (answer.status_code, answer.json()["type"]) == (400, "error")
    assert why in answer.json()["error"]["message"]


async def test_calls_must_have_their_results(http: httpx.AsyncClient) -> None:
    call = {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "Bash", "input": {}}]}
    messages = [{"role": "user", "content": "%say x"}, call, {"role": "user", "content": "and?"}]
    answer = await http.post("/v1/messages", json=asking("") | {"messages": messages})
    assert "`tool_use` ids were found without `tool_result` blocks immediately after: a" in answer.text


async def test_a_key_is_asked_for(http: httpx.AsyncClient) -> None:
    for key in ("", "sk-ant-invalid"):
        answer = await http.post("/v1/messages", json=asking("%say x"), headers={"x-api-key": key})
        assert (answer.status_code, answer.json()["error"]["type"]) == (401, "authentication_error")


async def test_the_rest_of_the_api_answers(http: httpx.AsyncClient) -> None:
    assert (await http.head("/")).status_code == 200
    assert (await http.get("/v1/models")).json()["data"][0]["type"] == "model"
    assert (await http.get("/v1/models/anything")).json()["id"] == "anything"
    counted = await http.post(
        "/v1/messages/count_tokens", json={"model": "m", "messages": asking("x" * 40)["messages"]}
    )
    assert counted.json() == {"input_tokens": 10}
    assert (await http.post("/api/event_logging/batch", json={})).status_code == 200
    missing = await http.get("/v1/nothing")
    assert (missing.status_code, missing.json()["error"]["type"]) == (404, "not_found_error")
    assert (await http.delete("/v1/messages")).json()["type"] == "error"


async def test_a_title_is_no_turn_of_the_script(http: httpx.AsyncClient) -> None:
    schema = {"type": "object", "properties": {"title": {"type": "string"}}}
    asked = asking(
        "%say x",
        system="You are Claude Code. Write a title for this session.",
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )
    answer = await http.post("/v1/messages", json=asked)
    assert json.loads(answer.json()["content"][0]["text"]) == {"title": "A scripted run"}
    assert [entry["kind"] for entry in (await http.get("/served")).json()] == ["side"]
