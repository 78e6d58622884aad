"""What the Messages API answers: parts of an answer as server-sent events or as one JSON body, and errors."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import msgspec
from sanic import HTTPResponse

from corral.demo.conversation import Conversation
from corral.demo.play import Begin, Close, Delta, End, Open, Part, content
from corral.demo.script import error_type
from corral.demo.tokens import Usage
from corral.demo.turns import Block, Call, Fail, Say, Think, Turn

#: clients send it back and don't look inside
_SIGNATURE = "c2NyaXB0ZWQgYnkgY29ycmFsLmRlbW8="


class Message:
    """How the API writes one answer (a `corral.demo.answering.Shape`)."""

    def __init__(self, message_id: str, turn: Turn, talk: Conversation, used: Usage) -> None:
        self.message_id = message_id
        self.turn = turn
        self.talk = talk
        self.used = used

    def part(self, part: Part) -> bytes:
        return b"".join(_event(body) for body in self._bodies(part))

    def failure(self, fail: Fail) -> bytes:
        return _event({"type": "error", "error": {"type": fail.kind, "message": fail.message}})

    def whole(self) -> bytes:
        blocks = [_whole_block(step, self.talk) for step in self.turn.steps if isinstance(step, Block)]
        return msgspec.json.encode(self._body(blocks, self.turn.stop_reason, self.used))

    def error(self, fail: Fail) -> HTTPResponse:
        return failure(fail)

    def _body(self, blocks: list[dict[str, object]], stop_reason: str | None, used: Usage) -> dict[str, object]:
        return {
            "id": self.message_id,
            "type": "message",
            "role": "assistant",
            "model": self.talk.model,
            "content": blocks,
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": _usage_body(used),
        }

    def _bodies(self, part: Part) -> Iterator[dict[str, object]]:
        match part:
            case Begin():
                started = msgspec.structs.replace(self.used, output_tokens=1)
                yield {"type": "message_start", "message": self._body([], None, started)}
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
                yield {"type": "message_delta", "delta": ended, "usage": _usage_body(self.used)}
                yield {"type": "message_stop"}


def new_message_id() -> str:
    """A fresh id for an answer."""
    return f"msg_{uuid.uuid4().hex[:24]}"


def _whole_block(block: Block, talk: Conversation) -> dict[str, object]:
    """A block of an answer that isn't streamed."""
    text = content(block, talk)
    match block:
        case Say():
            return {"type": "text", "text": text}
        case Think():
            return {"type": "thinking", "thinking": text, "signature": _SIGNATURE}
        case Call(tool):
            return {"type": "tool_use", "id": _tool_id(), "name": tool, "input": msgspec.json.decode(text)}


def _usage_body(used: Usage) -> dict[str, object]:
    """Usage as the API spells it."""
    return {
        "input_tokens": used.input_tokens,
        "cache_creation_input_tokens": used.cache_write_tokens,
        "cache_read_input_tokens": used.cache_read_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": used.cache_write_tokens - used.cache_write_1h_tokens,
            "ephemeral_1h_input_tokens": used.cache_write_1h_tokens,
        },
        "output_tokens": used.output_tokens,
        "service_tier": "standard",
    }


def failure(fail: Fail) -> HTTPResponse:
    """An error in place of an answer."""
    headers = {"x-should-retry": "true" if fail.status in {408, 409, 429} or fail.status >= 500 else "false"}
    if fail.retry_after is not None:
        headers["retry-after"] = f"{fail.retry_after:g}"
    body = error_body(fail.status, fail.message, fail.kind)
    return HTTPResponse(body, fail.status, headers, content_type="application/json")


def error_body(status: int, message: str, kind: str = "") -> bytes:
    """An error as the API shapes it."""
    error = {"type": kind or error_type(status), "message": message}
    return msgspec.json.encode({"type": "error", "error": error, "request_id": f"req_{uuid.uuid4().hex[:24]}"})


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
    return f"event: {body['type']}\ndata: {msgspec.json.encode(body).decode()}\n\n".encode()
