"""OpenRouter, through OpenAI's SDK and its Chat Completions."""

from __future__ import annotations

import uuid
from typing import Any, cast

import msgspec

from corral.providers.entries import Answer, Call, Prompt, Stop, View
from corral.providers.openai import client, failed
from corral.providers.openai_errors import told, translated
from corral.providers.provider import Ask, Hearer, Reply, Spent, Words, arguments, encode, unreachable

_NAME = "OpenRouter"
_STOPS = {"tool_calls": Stop.CALLS, "length": Stop.LENGTH, "content_filter": Stop.REFUSED}
_CACHED = {"type": "ephemeral"}


class OpenRouterProvider:
    """The API with one key."""

    name = "openrouter"

    def __init__(self, api_key: str, base_url: str | None) -> None:
        """Take the key, and where the API is if not at its maker's."""
        self._client = client(api_key, base_url or "https://openrouter.ai/api/v1", {"X-Title": "Corral"})

    async def close(self) -> None:
        """Let its connections go."""
        await self._client.close()

    async def answer(self, ask: Ask, hearer: Hearer) -> Reply:
        """Return the next answer."""
        import openai

        completion = _Completion(hearer, ask.call_ids)
        options: dict[str, Any] = {}
        if ask.tools:
            options["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": tool.name,
                        "description": tool.description,
                        "parameters": tool.input_schema,
                    },
                }
                for tool in ask.tools
            ]
        try:
            stream = await self._client.chat.completions.create(
                model=ask.model,
                messages=cast("Any", _messages(ask)),
                max_tokens=ask.most,
                stream=True,
                stream_options={"include_usage": True},
                user=ask.session_id,
                # OpenRouter's own: what it cost, and thoughts of the models that have some.
                extra_body={"usage": {"include": True}, "reasoning": {"enabled": True}},
                **options,
            )
            async with stream:
                async for chunk in stream:
                    completion.take(chunk)
        except openai.OpenAIError as error:
            raise translated(_NAME, error) from error
        return completion.reply()


class _Completion:
    """An answer as it grows."""

    def __init__(self, hearer: Hearer, taken: frozenset[str]) -> None:
        self._hearer = hearer
        self._taken = set(taken)
        self._id = ""
        self._said: list[str] = []
        self._thought: list[str] = []
        self._details: list[dict[str, Any]] = []
        self._calls: dict[int, dict[str, Any]] = {}
        self._finished = ""
        self._spent = Spent()

    def take(self, chunk: Any) -> None:
        self._hearer.beat()
        self._id = self._id or chunk.id
        if chunk.usage is not None:
            self._spend(chunk.usage)
        if not chunk.choices:
            return
        choice = chunk.choices[0]
        self._finished = choice.finish_reason or self._finished
        if self._finished == "error":
            raise told(_NAME, (choice.model_extra or {}).get("error") or (chunk.model_extra or {}).get("error"))
        self._grow(choice.delta)

    def reply(self) -> Reply:
        if not self._finished:
            raise unreachable(_NAME, EOFError("the answer broke off"))
        said, thought = "".join(self._said), "".join(self._thought)
        words = [Words(f"{self._id}/thought", thought, is_thought=True)] if thought.strip() else []
        if said.strip():
            words.append(Words(f"{self._id}/said", said))
        raw = [call for _, call in sorted(self._calls.items())]
        if self._finished == "length":
            raw = raw[:-1]  # the last one may be half a call
        calls = [Call(call["id"], call["name"], encode(arguments("".join(call["arguments"])))) for call in raw]
        native: dict[str, Any] = {"role": "assistant", "content": said or None}
        if self._details:
            native["reasoning_details"] = self._details
        if calls:
            native["tool_calls"] = [_tool_call(call) for call in calls]
        stop = _STOPS.get(self._finished, Stop.CALLS if calls else Stop.END)
        return Reply(self._id, words, calls, stop, encode(native), self._spent)

    def _grow(self, delta: Any) -> None:
        extra = delta.model_extra or {}
        if thought := extra.get("reasoning") or extra.get("reasoning_content"):
            self._thought.append(thought)
            self._hearer.piece(f"{self._id}/thought", thought, is_thought=True)
        for detail in extra.get("reasoning_details") or []:
            _merge(self._details, detail)
        if delta.content:
            self._said.append(delta.content)
            self._hearer.piece(f"{self._id}/said", delta.content, is_thought=False)
        for piece in delta.tool_calls or []:
            call = self._calls.setdefault(piece.index, {"id": "", "name": "", "arguments": []})
            if piece.id and not call["id"]:
                call["id"] = self._unique(piece.id)
            if piece.function is not None:
                call["name"] = call["name"] or piece.function.name or ""
                call["arguments"].append(piece.function.arguments or "")
            call["id"] = call["id"] or self._unique("")

    def _unique(self, call_id: str) -> str:
        """Some models count their calls from 0 in each answer, or don't name them at all."""
        if not call_id or call_id in self._taken:
            call_id = f"call_{uuid.uuid4().hex[:24]}"
        self._taken.add(call_id)
        return call_id

    def _spend(self, usage: Any) -> None:
        details = usage.prompt_tokens_details
        read = (details.cached_tokens or 0) if details else 0
        write = (details.cache_write_tokens or 0) if details else 0
        cost = (usage.model_extra or {}).get("cost")
        self._spent = Spent(
            input_tokens=max(0, usage.prompt_tokens - read - write),
            output_tokens=usage.completion_tokens,
            cache_read_tokens=read,
            cache_write_tokens=write,
            cost_micros=round(cost * 1_000_000) if isinstance(cost, int | float) else None,
        )
        self._hearer.spent(self._spent)


def _messages(ask: Ask) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = [{"role": "system", "content": ask.system}] if ask.system else []
    messages += _said(ask.view)
    if "claude" in ask.model or "gemini" in ask.model:
        _cache(messages)
    return messages


def _said(view: View) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for step in view:
        if isinstance(step, Prompt):
            messages.append({"role": "user", "content": step.text})
            continue
        messages.append(_answered(step.answer))
        messages += [
            {"role": "tool", "tool_call_id": result.call_id, "content": failed(result.text, result.is_error)}
            for result in step.results
        ]
    return messages


def _cache(messages: list[dict[str, Any]]) -> None:
    """Let the makers that want to be told so keep what they are shown; the others do so by themselves."""
    told = [message for message in messages if message["role"] in {"system", "user", "tool"} and message["content"]]
    for message in [*told[:1], *told[1:][-2:]]:
        message["content"] = [{"type": "text", "text": message["content"], "cache_control": _CACHED}]


def _answered(answer: Answer) -> dict[str, Any]:
    if answer.provider == OpenRouterProvider.name:
        native: dict[str, Any] = msgspec.json.decode(answer.native)
        return native
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
    if answer.calls:
        message["tool_calls"] = [_tool_call(call) for call in answer.calls]
    return message


def _tool_call(call: Call) -> dict[str, Any]:
    function = {"name": call.name, "arguments": bytes(call.input).decode()}
    return {"id": call.id, "type": "function", "function": function}


def _merge(details: list[dict[str, Any]], piece: dict[str, Any]) -> None:
    """Put the pieces of what a model thought together again, as it has to be sent back."""
    last = details[-1] if details else None
    if last is None or (last.get("type"), last.get("index")) != (piece.get("type"), piece.get("index")):
        details.append(dict(piece))
        return
    for name, value in piece.items():
        if name in {"text", "summary", "data"} and isinstance(value, str):
            last[name] = (last.get(name) or "") + value
        elif value is not None:
            last[name] = value
