"""What Chat Completions is asked: decoded, checked as the real one does, and taken to pieces."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from corral.demo import decoding
from corral.demo.openai.errors import Refused
from corral.demo.openai.pieces import IMAGE_TOKENS, Piece, Request, size


class Part(msgspec.Struct):
    """A part of a message's content, of any type; the fields that matter here."""

    type: str = ""
    text: str = ""
    refusal: str = ""


class Function(msgspec.Struct):
    """A tool, or a call of one."""

    name: str = ""
    description: str | None = None
    parameters: dict[str, object] | None = None
    arguments: str = ""


class ToolCall(msgspec.Struct):
    """A call the model made."""

    id: str = ""
    function: Function = msgspec.field(default_factory=Function)


class ChatMessage(msgspec.Struct):
    """A message as it was sent."""

    role: str
    content: str | list[Part] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str = ""
    reasoning: str | None = None


class Tool(msgspec.Struct):
    """A tool the client offers."""

    type: str = ""
    function: Function = msgspec.field(default_factory=Function)


class StreamOptions(msgspec.Struct):
    """What a stream holds beside the answer."""

    include_usage: bool = False


class ChatRequest(msgspec.Struct):
    """A request for an answer."""

    model: str
    messages: list[ChatMessage]
    tools: list[Tool] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    prompt_cache_key: str | None = None
    user: str | None = None


def decode(body: bytes, session: str) -> tuple[Request, bool]:
    """The request of a body, and whether its stream is to end with what it cost. Raises Refused."""
    try:
        asked = decoding.decode(body, ChatRequest)
    except ValueError as error:
        raise Refused(str(error)) from None
    if not asked.messages:
        raise Refused("Invalid 'messages': empty array. Expected an array with minimum length 1.", "messages")
    _check_calls(asked.messages)
    tools = asked.tools or []
    request = Request(
        session=asked.prompt_cache_key or asked.user or session,
        model=asked.model,
        pieces=tuple(_pieces(asked.messages)),
        tools=tuple(tool.function.name for tool in tools if tool.function.name),
        head=sum(_function_size(tool.function) for tool in tools),
        system=next((_text(message.content) for message in asked.messages if message.role in _SYSTEM), ""),
        stream=bool(asked.stream),
    )
    return request, bool(asked.stream_options and asked.stream_options.include_usage)


_SYSTEM = frozenset({"system", "developer"})


def _pieces(messages: list[ChatMessage]) -> Iterator[Piece]:
    for message in messages:
        text, length = _text(message.content), _size(message.content)
        if message.role == "assistant":
            calls = message.tool_calls or []
            length += size(message.reasoning or "") + sum(_function_size(call.function) for call in calls)
            yield Piece("assistant", text, length, calls=tuple(call.id for call in calls))
        elif message.role == "tool":
            yield Piece("user", text, length, answers=message.tool_call_id)
        else:
            yield Piece("system" if message.role in _SYSTEM else "user", text, length)


def _check_calls(messages: list[ChatMessage]) -> None:
    """What the real API refuses and a careless client gets wrong: calls without results, and the reverse."""
    open_calls: set[str] = set()
    for at, message in enumerate([*messages, ChatMessage("user")]):
        if message.role == "tool":
            if message.tool_call_id not in open_calls:
                why = "messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
                raise Refused(f"Invalid parameter: {why}", f"messages.[{at}].role")
            open_calls.discard(message.tool_call_id)
        elif open_calls:
            missing = ", ".join(sorted(open_calls))
            raise Refused(
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                f"'tool_call_id'. The following tool_call_ids did not have response messages: {missing}",
                f"messages.[{at}].role",
            )
        elif message.role not in {*_SYSTEM, "user", "assistant"}:
            raise Refused(f"Invalid value: {message.role!r}", f"messages[{at}].role", "invalid_value")
        open_calls |= {call.id for call in message.tool_calls or []}


def _text(content: str | list[Part] | None) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.text or part.refusal for part in content or [])


def _size(content: str | list[Part] | None) -> int:
    if isinstance(content, str):
        return size(content)
    return sum(IMAGE_TOKENS if part.type == "image_url" else size(part.text, part.refusal) for part in content or [])


def _function_size(function: Function) -> int:
    schema = msgspec.json.encode(function.parameters).decode() if function.parameters else ""
    return size(function.name, function.description or "", schema, function.arguments)
