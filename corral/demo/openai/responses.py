"""What the Responses API is asked: decoded, checked as the real one does, and taken to pieces."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from corral.demo import decoding
from corral.demo.openai.errors import Refused
from corral.demo.openai.pieces import IMAGE_TOKENS, Piece, Request, size


class Part(msgspec.Struct):
    """A part of an item's content, of any type; the fields that matter here."""

    type: str = ""
    text: str = ""
    refusal: str = ""


class Item(msgspec.Struct):
    """An item of the input: a message, a call, a call's output, or what the model had thought."""

    type: str = "message"
    role: str = ""
    content: str | list[Part] | None = None
    call_id: str = ""
    name: str = ""
    arguments: str = ""
    output: str | list[Part] | None = None
    summary: list[Part] = []
    id: str | None = None
    encrypted_content: str | None = None


class Tool(msgspec.Struct):
    """A tool the client offers."""

    type: str = ""
    name: str = ""
    description: str | None = None
    parameters: dict[str, object] | None = None


class ResponsesRequest(msgspec.Struct):
    """A request for an answer."""

    model: str
    input: str | list[Item]
    instructions: str | None = None
    tools: list[Tool] | None = None
    stream: bool | None = None
    prompt_cache_key: str | None = None
    previous_response_id: str | None = None


def decode(body: bytes, session: str) -> Request:
    """The request of a body. `session` is the client's id of it if the request holds none. Raises Refused."""
    try:
        asked = decoding.decode(body, ResponsesRequest)
    except ValueError as error:
        raise Refused(str(error)) from None
    if asked.previous_response_id:
        raise Refused("Nothing is stored here: send the whole input each time", "previous_response_id")
    items = [Item(role="user", content=asked.input)] if isinstance(asked.input, str) else asked.input
    if not items:
        raise Refused("One of 'input' or 'prompt' must be provided.", "input")
    _check_calls(items)
    tools = asked.tools or []
    return Request(
        session=asked.prompt_cache_key or session,
        model=asked.model,
        pieces=tuple(_pieces(items)),
        tools=tuple(tool.name for tool in tools if tool.name),
        head=size(asked.instructions or "") + sum(_tool_size(tool) for tool in tools),
        system=asked.instructions or "",
        stream=bool(asked.stream),
    )


def _pieces(items: list[Item]) -> Iterator[Piece]:
    for item in items:
        match item.type:
            case "function_call" | "custom_tool_call":
                yield Piece("assistant", size=size(item.name, item.arguments), calls=(item.call_id,))
            case "function_call_output" | "custom_tool_call_output":
                yield Piece("user", _text(item.output), _size(item.output), answers=item.call_id)
            case "reasoning":
                yield Piece("assistant", size=size(*(part.text for part in item.summary)))
            case _ if item.role in {"system", "developer"}:
                yield Piece("system", _text(item.content), _size(item.content))
            case _:
                role = "assistant" if item.role == "assistant" else "user"
                yield Piece(role, _text(item.content), _size(item.content))  # type: ignore[arg-type]


def _check_calls(items: list[Item]) -> None:
    """What the real API refuses and a careless client gets wrong: calls without output, and the reverse."""
    calls = {item.call_id for item in items if item.type == "function_call"}
    outputs = {item.call_id for item in items if item.type == "function_call_output"}
    for item in items:
        if item.type == "function_call_output" and item.call_id not in calls:
            raise Refused(f"No tool call found for function call output with call_id {item.call_id}.", "input")
        if item.type == "function_call" and item.call_id not in outputs:
            raise Refused(f"No tool output found for function call {item.call_id}.", "input")
        if item.type == "reasoning" and not item.encrypted_content:
            raise Refused(f"Item with id '{item.id}' not found. Nothing is stored here.", "input")


def _text(content: str | list[Part] | None) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.text or part.refusal for part in content or [])


def _size(content: str | list[Part] | None) -> int:
    if isinstance(content, str):
        return size(content)
    return sum(IMAGE_TOKENS if part.type == "input_image" else size(part.text, part.refusal) for part in content or [])


def _tool_size(tool: Tool) -> int:
    return size(tool.name, tool.description or "", msgspec.json.encode(tool.parameters).decode())
