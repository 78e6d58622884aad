"""OpenAI's Responses API, through its official SDK. It stores nothing: each request shows the whole conversation."""

from __future__ import annotations

import re
from typing import Any, cast

import msgspec

from corral.providers import catalog
from corral.providers.entries import Answer, Call, Prompt, Stop, View
from corral.providers.openai_errors import CONNECT_SECONDS, told, translated
from corral.providers.provider import Ask, Hearer, Reply, Spent, Trouble, Words, arguments, encode, unreachable

_NAME = "OpenAI"
_REASONING = re.compile(r"reasoning|encrypted_content|include", re.IGNORECASE)


class OpenAIProvider:
    """The API with one key."""

    name = "openai"

    def __init__(self, api_key: str, base_url: str | None) -> None:
        """Take the key, and where the API is if not at its maker's."""
        self._client = client(api_key, base_url or "https://api.openai.com/v1")
        self._plain: set[str] = set()  #: models that refused to be asked what they thought

    async def close(self) -> None:
        """Let its connections go."""
        await self._client.close()

    async def answer(self, ask: Ask, hearer: Hearer) -> Reply:
        """Return the next answer."""
        reasons = catalog.reasons(ask.model) and ask.model not in self._plain
        try:
            return await self._answer(ask, hearer, reasons=reasons)
        except Trouble as error:
            if error.status != 400 or not reasons or not _REASONING.search(error.message):
                raise
        self._plain.add(ask.model)
        return await self._answer(ask, hearer, reasons=False)

    async def _answer(self, ask: Ask, hearer: Hearer, *, reasons: bool) -> Reply:
        import openai

        response = _Response(hearer)
        options: dict[str, Any] = {}
        if reasons:
            options |= {"reasoning": {"summary": "auto"}, "include": ["reasoning.encrypted_content"]}
        if ask.tools:
            options["tools"] = [
                {
                    "type": "function",
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.input_schema,
                    "strict": False,
                }
                for tool in ask.tools
            ]
        try:
            stream = await self._client.responses.create(
                model=ask.model,
                instructions=ask.system or None,
                input=cast("Any", _items(ask.view)),
                max_output_tokens=ask.most,
                prompt_cache_key=ask.session_id,
                store=False,
                stream=True,
                **options,
            )
            async with stream:
                async for event in stream:
                    response.take(event)
        except openai.OpenAIError as error:
            raise translated(_NAME, error) from error
        return response.reply()


def client(api_key: str, base_url: str, headers: dict[str, str] | None = None) -> Any:
    """Return the SDK's client, which asks once: asking again is the loop's decision, as is giving up on silence."""
    import openai

    made = openai.AsyncOpenAI(
        api_key=api_key,
        base_url=base_url,
        max_retries=0,
        timeout=openai.Timeout(None, connect=CONNECT_SECONDS),
        default_headers=headers,
    )
    # Of the server's environment, where they belong to somebody else's key.
    made.organization = made.project = None
    return made


class _Response:
    """An answer as it grows."""

    def __init__(self, hearer: Hearer) -> None:
        self._hearer = hearer
        self._id = ""
        self._whole: dict[str, Any] | None = None
        self._items: dict[int, dict[str, Any]] = {}

    def take(self, event: Any) -> None:
        self._hearer.beat()
        match event.type:
            case "response.created":
                self._id = event.response.id
            case "response.output_text.delta" | "response.refusal.delta":
                self._hearer.piece(self._block(event.output_index), event.delta, is_thought=False)
            case "response.reasoning_summary_text.delta":
                self._hearer.piece(self._block(event.output_index), event.delta, is_thought=True)
            case "response.reasoning_summary_part.added" if event.summary_index:
                self._hearer.piece(self._block(event.output_index), "\n\n", is_thought=True)
            case "response.output_item.done":
                self._items[event.output_index] = _dict(event.item)
            case "response.completed" | "response.incomplete":
                self._whole = _dict(event.response)
                self._hearer.spent(self._spent())
            case "response.failed":
                raise told(_NAME, _dict(event.response).get("error"))
            case "error":
                body = _dict(event)
                raise told(_NAME, body.get("error") or body)
            case _:
                return

    def reply(self) -> Reply:
        if self._whole is None:
            raise unreachable(_NAME, EOFError("the answer broke off"))
        words: list[Words] = []
        calls: list[Call] = []
        native: list[dict[str, Any]] = []
        for at, item in sorted(self._items.items()):
            match item["type"]:
                case "message" if text := _text(item):
                    words.append(Words(self._block(at), text))
                case "reasoning" if text := "\n\n".join(part["text"] for part in item.get("summary") or []):
                    words.append(Words(self._block(at), text, is_thought=True))
                case "function_call" if item.get("status") != "incomplete":
                    calls.append(Call(item["call_id"], item["name"], encode(arguments(item["arguments"]))))
                case "function_call":
                    continue
                case _:
                    pass
            native.append(_said_again(item))
        stop = self._stop(calls)
        return Reply(self._id, words, calls, stop, encode(native), self._spent())

    def _stop(self, calls: list[Call]) -> Stop:
        assert self._whole is not None
        match (self._whole.get("incomplete_details") or {}).get("reason"):
            case "content_filter":
                return Stop.REFUSED
            case None:
                return Stop.CALLS if calls else Stop.END
            case _:
                return Stop.LENGTH

    def _block(self, at: int) -> str:
        return f"{self._id}/{at}"

    def _spent(self) -> Spent:
        assert self._whole is not None
        usage = self._whole.get("usage") or {}
        details = usage.get("input_tokens_details") or {}
        read, write = details.get("cached_tokens") or 0, details.get("cache_write_tokens") or 0
        return Spent(
            input_tokens=max(0, (usage.get("input_tokens") or 0) - read - write),
            output_tokens=usage.get("output_tokens") or 0,
            cache_read_tokens=read,
            cache_write_tokens=write,
        )


def _items(view: View) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    for step in view:
        if isinstance(step, Prompt):
            items.append({"role": "user", "content": step.text})
            continue
        items += _answered(step.answer)
        items += [
            {"type": "function_call_output", "call_id": result.call_id, "output": failed(result.text, result.is_error)}
            for result in step.results
        ]
    return items


def failed(text: str, is_error: bool) -> str:
    """Return a result as an API is told that has no word for errors."""
    return f"Error: {text}" if is_error else text


def _answered(answer: Answer) -> list[dict[str, Any]]:
    if answer.provider == OpenAIProvider.name:
        native: list[dict[str, Any]] = msgspec.json.decode(answer.native)
        return native
    said: list[dict[str, Any]] = [{"role": "assistant", "content": answer.text}] if answer.text else []
    return said + [
        {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": bytes(call.input).decode()}
        for call in answer.calls
    ]


def _said_again(item: dict[str, Any]) -> dict[str, Any]:
    """An item as the API takes it back, where it has stored none: by its content, not by its id."""
    return item if item["type"] == "reasoning" else {name: value for name, value in item.items() if name != "id"}


def _text(item: dict[str, Any]) -> str:
    parts = item.get("content") or []
    return "\n".join(part.get("text") or part.get("refusal") or "" for part in parts).strip()


def _dict(model: Any) -> dict[str, Any]:
    told: dict[str, Any] = model.to_dict(mode="json", exclude_none=True)
    return told
