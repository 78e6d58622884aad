"""What the Messages API is asked: decoded, checked as the real one does, and read as a conversation."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from corral.demo import decoding, voices
from corral.demo.conversation import Conversation, Message, ToolResult


class ContentBlock(msgspec.Struct):
    """A block of a message, of any type; the fields that matter here."""

    type: str
    text: str = ""
    thinking: str = ""
    id: str = ""
    name: str = ""
    input: object = None
    tool_use_id: str = ""
    content: str | list[ContentBlock] | None = None
    is_error: bool | None = None
    cache_control: dict[str, object] | None = None


class RequestMessage(msgspec.Struct):
    """A message as it was sent."""

    role: str
    content: str | list[ContentBlock]

    @property
    def blocks(self) -> list[ContentBlock]:
        return [ContentBlock("text", text=self.content)] if isinstance(self.content, str) else self.content


class Tool(msgspec.Struct):
    """A tool the client offers."""

    name: str = ""
    description: str = ""
    input_schema: object = None
    cache_control: dict[str, object] | None = None


class Metadata(msgspec.Struct):
    """What the client says about itself."""

    user_id: str | None = None


class OutputFormat(msgspec.Struct):
    """A JSON schema the answer has to fit."""

    type: str = ""
    schema: dict[str, object] = {}


class OutputConfig(msgspec.Struct):
    """How the answer is to be."""

    format: OutputFormat | None = None


class MessagesRequest(msgspec.Struct):
    """A request for an answer (or, without `max_tokens`, for a count)."""

    model: str
    messages: list[RequestMessage]
    max_tokens: int | None = None
    stream: bool = False
    system: str | list[ContentBlock] | None = None
    tools: list[Tool] | None = None
    metadata: Metadata | None = None
    output_config: OutputConfig | None = None

    @property
    def system_text(self) -> str:
        blocks = [ContentBlock("text", text=self.system)] if isinstance(self.system, str) else self.system or []
        return "\n".join(block.text for block in blocks)


class Refused(Exception):
    """A request the API would not take; says which field and why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def decode(body: bytes, *, counting: bool = False) -> MessagesRequest:
    """The request of a body. Raises Refused."""
    try:
        request = decoding.decode(body, MessagesRequest)
    except ValueError as error:
        raise Refused(400, str(error)) from None
    if not counting and request.max_tokens is None:
        raise Refused(400, "max_tokens: Field required")
    if not request.messages:
        raise Refused(400, "messages: at least one message is required")
    _check_turns(request.messages)
    return request


def conversation(request: MessagesRequest, session: str) -> Conversation:
    """The request in no provider's shape. `session` is the client's id of it if the request holds none."""
    return Conversation(
        session=_session(request) or session,
        model=request.model,
        messages=tuple(_messages(request.messages)),
        tools=tuple(tool.name for tool in request.tools or []),
        system=request.system_text,
    )


def _messages(messages: list[RequestMessage]) -> Iterator[Message]:
    order: dict[str, int] = {}
    for message in messages:
        # Parallel tools answer in any order; a script must see always the same one: that of the calls.
        results = [block for block in message.blocks if block.type == "tool_result"]
        results.sort(key=lambda block: order.get(block.tool_use_id, 0))
        texts = [block.text for block in message.blocks if block.type == "text"]
        answers = tuple(ToolResult(_text(block.content), bool(block.is_error)) for block in results)
        yield from voices.tell_apart(message.role, "\n".join(texts), answers)
        order.update({block.id: len(order) + at for at, block in enumerate(message.blocks) if block.type == "tool_use"})


def _text(value: str | list[ContentBlock] | None) -> str:
    if isinstance(value, str):
        return value
    return "\n".join(block.text for block in value or [] if block.type == "text")


def _session(request: MessagesRequest) -> str:
    """Claude Code hides its session id in a JSON object within `user_id`."""
    user_id = (request.metadata.user_id if request.metadata else None) or ""
    try:
        return str(msgspec.json.decode(user_id, type=dict[str, object]).get("session_id") or "")
    except msgspec.DecodeError:
        return user_id


def _check_turns(messages: list[RequestMessage]) -> None:
    """What the real API refuses and a careless client gets wrong: roles, and calls without results."""
    if messages[0].role != "user":
        raise Refused(400, 'messages: first message must use the "user" role')
    open_calls: set[str] = set()
    for at, message in enumerate(messages):
        if message.role not in ("user", "assistant", "system"):
            raise Refused(400, f"messages.{at}.role: Input should be 'user' or 'assistant'")
        if message.role == "system":
            continue
        answered = {block.tool_use_id for block in message.blocks if block.type == "tool_result"}
        if missing := open_calls - answered:
            ids = ", ".join(sorted(missing))
            raise Refused(
                400, f"messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately after: {ids}"
            )
        if stray := answered - open_calls:
            ids = ", ".join(sorted(stray))
            raise Refused(400, f"messages.{at}: unexpected `tool_use_id` found in `tool_result` blocks: {ids}")
        open_calls = {block.id for block in message.blocks if block.type == "tool_use"}
