"""The Anthropic Messages face: requests → conversations, parts of an answer → server-sent events or one JSON body."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

import msgspec

from corral.demo import tokens, voices
from corral.demo.conversation import Conversation, Message, ToolResult
from corral.demo.play import Begin, Close, Delta, End, Open, Part, content, output_tokens
from corral.demo.script import error_type
from corral.demo.tokens import Usage
from corral.demo.turns import Block, Call, Say, Think, Turn

#: what is listed as available; any other name is answered as well
MODELS = ("claude-opus-5-5", "claude-sonnet-5", "claude-haiku-4-5")

#: tokens at the end of a cached prompt that the cache doesn't cover
UNCACHED_TAIL = 3
IMAGE_TOKENS = 1500


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
        request = msgspec.json.decode(body, type=MessagesRequest)
    except msgspec.ValidationError as error:
        raise Refused(400, f"{_where(str(error))}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(400, f"The request body is not valid JSON: {error}") from None
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


def side_answer(request: MessagesRequest) -> str | None:
    """The answer to what clients ask beside the conversation (a title, a summary, a warm-up), or None."""
    newest = "\n".join(block.text for block in request.messages[-1].blocks if block.type == "text")
    if request.max_tokens == 1:
        return "OK"
    if "create a detailed summary of the conversation" in newest or "create a detailed summary of the RECENT" in newest:
        return "<summary>The conversation so far, as a scripted model sums it up.</summary>"
    if request.tools:
        return None
    schema = request.output_config.format.schema if request.output_config and request.output_config.format else None
    if re.search(r"\b(title|isNewTopic|summari[sz]e|summary)\b", request.system_text[:4000]):
        return _json(_instance(schema, "A scripted run")) if schema else '{"title": "A scripted run"}'
    if schema and not any("%" in block.text for message in request.messages for block in message.blocks):
        return _json(_instance(schema, "scripted"))
    return None


def usage(request: MessagesRequest, turn: Turn, talk: Conversation) -> Usage:
    """What the whole answer costs: as the script says, else counted, the cache growing from turn to turn."""
    read, write, plain = _input_tokens(request)
    fixed = turn.usage
    cache_write = write if fixed.cache_write is None else fixed.cache_write
    hourly = _cached_for_an_hour(request) and fixed.cache_write is None
    return Usage(
        input=plain if fixed.input is None else fixed.input,
        output=max(1, output_tokens(turn, talk)) if fixed.output is None else fixed.output,
        cache_read=read if fixed.cache_read is None else fixed.cache_read,
        cache_write=cache_write,
        cache_write_1h=fixed.cache_write_1h if fixed.cache_write_1h is not None else (cache_write if hourly else 0),
    )


def input_tokens(request: MessagesRequest) -> int:
    """All of a request, cached or not."""
    return sum(_input_tokens(request))


def new_message_id() -> str:
    """A fresh id for an answer."""
    return f"msg_{uuid.uuid4().hex[:24]}"


def usage_body(used: Usage) -> dict[str, object]:
    """Usage as the API spells it."""
    return {
        "input_tokens": used.input,
        "cache_creation_input_tokens": used.cache_write,
        "cache_read_input_tokens": used.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": used.cache_write - used.cache_write_1h,
            "ephemeral_1h_input_tokens": used.cache_write_1h,
        },
        "output_tokens": used.output,
        "service_tier": "standard",
    }


def error_body(status: int, message: str, kind: str = "") -> bytes:
    """An error as the API shapes it."""
    error = {"type": kind or error_type(status), "message": message}
    return msgspec.json.encode({"type": "error", "error": error, "request_id": f"req_{uuid.uuid4().hex[:24]}"})


class Events:
    """Turns the parts of one answer into server-sent events."""

    def __init__(self, message_id: str, model: str, used: Usage) -> None:
        self.message_id = message_id
        self.model = model
        self.used = used

    def render(self, part: Part) -> bytes:
        return b"".join(_event(body) for body in self._bodies(part))

    def failure(self, status: int, kind: str, message: str) -> bytes:
        """An error in mid-stream."""
        return _event({"type": "error", "error": {"type": kind or error_type(status), "message": message}})

    def _bodies(self, part: Part) -> Iterator[dict[str, object]]:
        match part:
            case Begin():
                started = usage_body(msgspec.structs.replace(self.used, output=1))
                yield {"type": "message_start", "message": message_body(self.message_id, self.model, [], None, started)}
                yield {"type": "ping"}
            case Open(index, block):
                yield {"type": "content_block_start", "index": index, "content_block": _opened(block)}
            case Delta(index, block, text):
                yield {"type": "content_block_delta", "index": index, "delta": _delta(block, text)}
            case Close(index, block):
                if isinstance(block, Think):
                    signature = {"type": "signature_delta", "signature": _SIGNATURE}
                    yield {"type": "content_block_delta", "index": index, "delta": signature}
                yield {"type": "content_block_stop", "index": index}
            case End(stop_reason):
                ended = {"stop_reason": stop_reason, "stop_sequence": None}
                yield {"type": "message_delta", "delta": ended, "usage": usage_body(self.used)}
                yield {"type": "message_stop"}


def message_body(
    message_id: str, model: str, blocks: list[dict[str, object]], stop_reason: str | None, used: dict[str, object]
) -> dict[str, object]:
    """A message as the API shapes it."""
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": blocks,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": used,
    }


def whole_block(block: Block, talk: Conversation) -> dict[str, object]:
    """A block of an answer that isn't streamed."""
    text = content(block, talk)
    match block:
        case Say():
            return {"type": "text", "text": text}
        case Think():
            return {"type": "thinking", "thinking": text, "signature": _SIGNATURE}
        case Call(tool):
            return {"type": "tool_use", "id": _tool_id(), "name": tool, "input": msgspec.json.decode(text)}


#: clients send it back and don't look inside
_SIGNATURE = "c2NyaXB0ZWQgYnkgY29ycmFsLmRlbW8="


def _opened(block: Block) -> dict[str, object]:
    match block:
        case Say():
            return {"type": "text", "text": ""}
        case Think():
            return {"type": "thinking", "thinking": "", "signature": ""}
        case Call(tool):
            return {"type": "tool_use", "id": _tool_id(), "name": tool, "input": {}}


def _delta(block: Block, text: str) -> dict[str, object]:
    match block:
        case Say():
            return {"type": "text_delta", "text": text}
        case Think():
            return {"type": "thinking_delta", "thinking": text}
        case Call():
            return {"type": "input_json_delta", "partial_json": text}


def _tool_id() -> str:
    return f"toolu_{uuid.uuid4().hex[:24]}"


def _event(body: dict[str, object]) -> bytes:
    return f"event: {body['type']}\ndata: {_json(body)}\n\n".encode()


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


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


def _where(error: str) -> str:
    """Msgspec's "Expected … - at `$.messages[0].role`" as "messages.0.role: Expected …"; a missing field likewise."""
    what, _, at = error.partition(" - at `$")
    path = at.rstrip("`").replace("[", ".").replace("]", "").strip(".")
    if missing := re.fullmatch(r"Object missing required field `(\w+)`", what):
        return f"{'.'.join(filter(None, (path, missing[1])))}: Field required"
    return f"{path or 'body'}: {what}"


def _input_tokens(request: MessagesRequest) -> tuple[int, int, int]:
    """(cache read, cache write, neither). The former request's prompt was cached: all before the newest answer."""
    head = tokens.count(request.system_text) + sum(
        tokens.count(tool.name + tool.description + _json(tool.input_schema)) for tool in request.tools or []
    )
    sizes = [sum(_size(block) for block in message.blocks) for message in request.messages]
    total = max(1, head + sum(sizes))
    if not _caches(request):
        return 0, 0, total
    answers = [at for at, message in enumerate(request.messages) if message.role == "assistant"]
    read = min(total, head + sum(sizes[: answers[-1]])) if answers else 0
    tail = min(UNCACHED_TAIL, total - read)
    return read, total - read - tail, tail


def _size(block: ContentBlock) -> int:
    if block.type in ("image", "document"):
        return IMAGE_TOKENS
    own = tokens.count(block.text + block.thinking) + (tokens.count(_json(block.input)) if block.input else 0)
    if isinstance(block.content, list):
        return own + sum(_size(inner) for inner in block.content)
    return own + tokens.count(block.content or "")


def _caches(request: MessagesRequest) -> bool:
    return any(True for _ in _cache_controls(request))


def _cached_for_an_hour(request: MessagesRequest) -> bool:
    return any(control.get("ttl") == "1h" for control in _cache_controls(request))


def _cache_controls(request: MessagesRequest) -> Iterator[dict[str, object]]:
    blocks = [block for message in request.messages for block in message.blocks]
    if isinstance(request.system, list):
        blocks += request.system
    holders: list[ContentBlock | Tool] = [*blocks, *(request.tools or [])]
    for holder in holders:
        if holder.cache_control:
            yield holder.cache_control


def _instance(schema: object, text: str) -> object:
    """A small value that fits a JSON schema."""
    if not isinstance(schema, dict):
        return text
    if isinstance(choices := schema.get("enum"), list) and choices:
        return choices[0]
    if "const" in schema:
        return schema["const"]
    match schema.get("type"):
        case "object":
            properties = schema.get("properties")
            return {name: _instance(inner, text) for name, inner in (properties or {}).items()}
        case "array":
            return []
        case "boolean":
            return False
        case "integer" | "number":
            return 0
        case "null":
            return None
        case _:
            return text
