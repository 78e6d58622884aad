"""Anthropic's Messages API, through its official SDK."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

import msgspec

from corral.providers import catalog
from corral.providers.catalog import Thinking
from corral.providers.entries import Answer, Call, Prompt, Result, Stop, View
from corral.providers.provider import (
    TOO_LONG,
    Ask,
    Hearer,
    Reply,
    Spent,
    Trouble,
    Words,
    arguments,
    encode,
    trouble,
    unreachable,
)

if TYPE_CHECKING:
    import anthropic

_STOPS = {
    "tool_use": Stop.CALLS,
    "max_tokens": Stop.LENGTH,
    "model_context_window_exceeded": Stop.LENGTH,
    "pause_turn": Stop.PAUSED,
    "refusal": Stop.REFUSED,
}
#: An error's type, where it comes in mid-stream, → the status it would have had.
_STATUSES = {"overloaded_error": 529, "rate_limit_error": 429, "api_error": 500, "timeout_error": 504}
_CACHED = {"type": "ephemeral"}
_BUDGET = 8_000
#: What the API takes as the id of a call.
_NO_ID = re.compile(r"[^a-zA-Z0-9_-]")
_TOO_LONG = re.compile(r"prompt is too long|exceed context limit|context window", re.IGNORECASE)
_CONNECT_SECONDS = 15.0


class AnthropicProvider:
    """The API with one key."""

    name = "anthropic"

    def __init__(self, api_key: str, base_url: str | None) -> None:
        """Take the key, and where the API is if not at its maker's."""
        import anthropic

        # Asking again is the loop's decision, and so is giving up on what says nothing.
        self._client = anthropic.AsyncAnthropic(
            api_key=api_key,
            base_url=base_url or "https://api.anthropic.com",
            max_retries=0,
            timeout=anthropic.Timeout(None, connect=_CONNECT_SECONDS),
        )
        self._plain: set[str] = set()  #: models that refused to be asked to think

    async def close(self) -> None:
        """Let its connections go."""
        await self._client.close()

    async def answer(self, ask: Ask, hearer: Hearer) -> Reply:
        """Return the next answer."""
        thinking = _thinking(ask) if ask.model not in self._plain else None
        try:
            return await self._answer(ask, hearer, thinking)
        except Trouble as error:
            if error.status != 400 or thinking is None or "thinking" not in error.message:
                raise
        self._plain.add(ask.model)
        return await self._answer(ask, hearer, None)

    async def _answer(self, ask: Ask, hearer: Hearer, thinking: dict[str, Any] | None) -> Reply:
        import anthropic
        import httpx2

        message = _Message(hearer)
        options: dict[str, Any] = {"thinking": thinking} if thinking else {}
        if ask.system.strip():
            options["system"] = [{"type": "text", "text": ask.system, "cache_control": _CACHED}]
        if ask.tools:
            options["tools"] = [
                {"name": tool.name, "description": tool.description, "input_schema": tool.input_schema}
                for tool in ask.tools
            ]
        try:
            stream = await self._client.messages.create(
                model=ask.model,
                max_tokens=ask.most,
                messages=cast("Any", _messages(ask.view)),
                metadata={"user_id": ask.session_id},
                stream=True,
                **options,
            )
            async with stream:
                async for event in stream:
                    message.take(event)
        except anthropic.APIStatusError as error:
            raise _trouble(error) from error
        except (anthropic.APIConnectionError, httpx2.TransportError) as error:
            raise unreachable("Anthropic", error) from error
        if not message.is_whole:
            raise unreachable("Anthropic", EOFError("the answer broke off"))
        return message.reply()


class _Message:
    """An answer as it grows."""

    def __init__(self, hearer: Hearer) -> None:
        self.is_whole = False
        self._hearer = hearer
        self._id = ""
        self._blocks: list[dict[str, Any]] = []
        self._inputs: dict[int, list[str]] = {}
        self._usage: dict[str, int] = {}
        self._stop = ""

    def take(self, event: Any) -> None:
        self._hearer.beat()
        match event.type:
            case "message_start":
                self._id = event.message.id
                self._spend(event.message.usage)
            case "content_block_start":
                self._blocks.append(event.content_block.to_dict())
            case "content_block_delta":
                self._grow(event.index, event.delta)
            case "message_delta":
                self._stop = event.delta.stop_reason or self._stop
                self._spend(event.usage)
            case "message_stop":
                self.is_whole = True
            case _:
                return

    def reply(self) -> Reply:
        for at, pieces in self._inputs.items():
            self._blocks[at]["input"] = arguments("".join(pieces))
        words, calls = [], []
        for at, block in enumerate(self._blocks):
            match block["type"]:
                case "text" if block["text"].strip():
                    words.append(Words(self._block(at), block["text"]))
                case "thinking" if block["thinking"].strip():
                    words.append(Words(self._block(at), block["thinking"], is_thought=True))
                case "tool_use" if self._is_whole_call(at):
                    calls.append(Call(block["id"], block["name"], encode(block["input"])))
                case _:
                    continue
        kept = [block for at, block in enumerate(self._blocks) if self._is_said_again(at, block)]
        stop = _STOPS.get(self._stop, Stop.CALLS if calls else Stop.END)
        return Reply(self._id, words, calls, stop, encode(kept), self._spent())

    def _grow(self, at: int, delta: Any) -> None:
        block = self._blocks[at]
        match delta.type:
            case "text_delta":
                block["text"] += delta.text
                self._hearer.piece(self._block(at), delta.text, is_thought=False)
            case "thinking_delta":
                block["thinking"] += delta.thinking
                self._hearer.piece(self._block(at), delta.thinking, is_thought=True)
            case "signature_delta":
                block["signature"] = delta.signature
            case "input_json_delta":
                self._inputs.setdefault(at, []).append(delta.partial_json)
            case _:
                return

    def _is_whole_call(self, at: int) -> bool:
        """The last block of an answer that grew too long may be half a call."""
        return self._stop != "max_tokens" or at < len(self._blocks) - 1

    def _is_said_again(self, at: int, block: Mapping[str, Any]) -> bool:
        """The API takes no empty texts, and half a call is none."""
        if block["type"] == "text":
            return bool(block["text"].strip())
        return block["type"] != "tool_use" or self._is_whole_call(at)

    def _block(self, at: int) -> str:
        return f"{self._id}/{at}"

    def _spend(self, usage: Any) -> None:
        told = usage.to_dict()
        self._usage |= {name: count for name, count in told.items() if isinstance(count, int)}
        self._hearer.spent(self._spent())

    def _spent(self) -> Spent:
        return Spent(
            input_tokens=self._usage.get("input_tokens", 0),
            output_tokens=self._usage.get("output_tokens", 0),
            cache_read_tokens=self._usage.get("cache_read_input_tokens", 0),
            cache_write_tokens=self._usage.get("cache_creation_input_tokens", 0),
        )


def _messages(view: View) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for step in view:
        if isinstance(step, Prompt):
            text = {"type": "text", "text": step.text or "…"}
            if messages and messages[-1]["content"][0]["type"] == "tool_result":
                messages[-1]["content"].append(text)  # said while the tools ran
            else:
                messages.append({"role": "user", "content": [text]})
            continue
        if content := _content(step.answer):
            messages.append({"role": "assistant", "content": content})
        if step.results:
            messages.append({"role": "user", "content": [_result(result) for result in step.results]})
    _cache(messages)
    return messages


def _cache(messages: Iterable[dict[str, Any]]) -> None:
    """Let the API keep all it is shown: it looks for what it kept some 20 blocks back from each mark."""
    said = [message for message in messages if message["role"] == "user"]
    for message in said[-2:]:
        message["content"][-1]["cache_control"] = _CACHED


def _content(answer: Answer) -> list[dict[str, Any]]:
    if answer.provider == AnthropicProvider.name:
        native: list[dict[str, Any]] = msgspec.json.decode(answer.native)
        return native
    said = [{"type": "text", "text": answer.text}] if answer.text.strip() else []
    return said + [
        {"type": "tool_use", "id": _NO_ID.sub("_", call.id), "name": call.name, "input": arguments(bytes(call.input))}
        for call in answer.calls
    ]


def _result(result: Result) -> dict[str, Any]:
    content = [{"type": "text", "text": result.text}] if result.text.strip() else []
    return {
        "type": "tool_result",
        "tool_use_id": _NO_ID.sub("_", result.call_id),
        "content": content,
        "is_error": result.is_error,
    }


def _thinking(ask: Ask) -> dict[str, Any] | None:
    match catalog.find(ask.model).thinking:
        case Thinking.ADAPTIVE:
            return {"type": "adaptive", "display": "summarized"}
        case Thinking.BUDGET if ask.most > 2 * _BUDGET:
            return {"type": "enabled", "budget_tokens": _BUDGET}
        case _:
            return None


def _trouble(error: anthropic.APIStatusError) -> Trouble:
    body = error.body if isinstance(error.body, dict) else {}
    told = body.get("error") if isinstance(body.get("error"), dict) else body
    message = str((told or {}).get("message") or error.message)
    status = error.status_code if error.status_code >= 400 else _STATUSES.get(str((told or {}).get("type")), 400)
    headers = error.response.headers if error.status_code >= 400 else {}
    if status == 400 and _TOO_LONG.search(message):
        return Trouble(TOO_LONG, f"Anthropic answered {status}: {message}", status=status)
    return trouble("Anthropic", status, message, headers)
