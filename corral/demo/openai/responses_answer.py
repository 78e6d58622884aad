"""What the Responses API answers: parts of an answer as server-sent events or as one JSON body."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import msgspec
from sanic import HTTPResponse

from corral.demo.conversation import Conversation
from corral.demo.openai.errors import failure, told
from corral.demo.play import Begin, Close, Delta, End, Open, Part, content
from corral.demo.tokens import Usage, count
from corral.demo.turns import Block, Call, Fail, Say, Think, Turn

#: Our stop reason → why the real API says an answer is incomplete.
_INCOMPLETE = {"max_tokens": "max_output_tokens", "refusal": "content_filter"}
#: Clients send it back and don't look inside.
_ENCRYPTED = "c2NyaXB0ZWQgYnkgY29ycmFsLmRlbW8="


class Response:
    """How the API writes one answer (a `corral.demo.answering.Shape`)."""

    def __init__(self, response_id: str, turn: Turn, talk: Conversation, used: Usage) -> None:
        self.response_id = response_id
        self.turn = turn
        self.talk = talk
        self.used = used
        self.created = time.time()
        self._sequence = 0
        self._done: list[dict[str, object]] = []  #: whole items so far
        self._item: dict[str, object] = {}  #: the one that is open

    def part(self, part: Part) -> bytes:
        return b"".join(self._event(body) for body in self._bodies(part))

    def failure(self, fail: Fail) -> bytes:
        error = told(fail)
        return self._event({"type": "error", "code": error["code"], "message": fail.message, "param": None})

    def whole(self) -> bytes:
        items = [_item(step, content(step, self.talk)) for step in self.turn.steps if isinstance(step, Block)]
        return msgspec.json.encode(self._body(items, self.turn.stop_reason))

    def error(self, fail: Fail) -> HTTPResponse:
        return failure(fail)

    def _bodies(self, part: Part) -> Iterator[dict[str, object]]:
        match part:
            case Begin():
                yield {"type": "response.created", "response": self._body([], None)}
                yield {"type": "response.in_progress", "response": self._body([], None)}
            case Open(index, block):
                self._item = _item(block, "", status="in_progress")
                yield {"type": "response.output_item.added", "output_index": index, "item": self._item}
                if opened := _inner(block, ""):
                    yield {"type": f"{opened.kind}.added", **self._at(index), **opened.where, "part": opened.part}
            case Delta(index, block, text):
                yield {"type": f"{_stream(block)}.delta", **self._at(index), **_where(block), "delta": text}
            case Close(index, block):
                yield from self._close(index, block)
            case End(stop_reason):
                reason = _INCOMPLETE.get(stop_reason)
                kind = "response.incomplete" if reason else "response.completed"
                yield {"type": kind, "response": self._body(self._done, stop_reason)}

    def _close(self, index: int, block: Block) -> Iterator[dict[str, object]]:
        text = content(block, self.talk)
        name = "arguments" if isinstance(block, Call) else "text"
        yield {"type": f"{_stream(block)}.done", **self._at(index), **_where(block), name: text}
        if closed := _inner(block, text):
            yield {"type": f"{closed.kind}.done", **self._at(index), **closed.where, "part": closed.part}
        named = {name: self._item[name] for name in ("id", "call_id") if name in self._item}
        self._done.append(_item(block, text) | named)
        yield {"type": "response.output_item.done", "output_index": index, "item": self._done[-1]}

    def _at(self, index: int) -> dict[str, object]:
        return {"item_id": self._item["id"], "output_index": index}

    def _event(self, body: dict[str, object]) -> bytes:
        numbered = {**body, "sequence_number": self._sequence}
        self._sequence += 1
        return f"event: {body['type']}\ndata: {msgspec.json.encode(numbered).decode()}\n\n".encode()

    def _body(self, items: list[dict[str, object]], stop_reason: str | None) -> dict[str, object]:
        reason = _INCOMPLETE.get(stop_reason or "")
        return {
            "id": self.response_id,
            "object": "response",
            "created_at": int(self.created),
            "status": "in_progress" if stop_reason is None else "incomplete" if reason else "completed",
            "error": None,
            "incomplete_details": {"reason": reason} if reason else None,
            "instructions": self.talk.system or None,
            "metadata": {},
            "model": self.talk.model,
            "output": items,
            "parallel_tool_calls": True,
            "store": False,
            "tool_choice": "auto",
            "tools": [],
            "usage": None if stop_reason is None else self._usage(),
        }

    def _usage(self) -> dict[str, object]:
        asked = self.used.input_tokens + self.used.cache_read_tokens + self.used.cache_write_tokens
        thought = sum(count(content(step, self.talk)) for step in self.turn.steps if isinstance(step, Think))
        return {
            "input_tokens": asked,
            "input_tokens_details": {
                "cached_tokens": self.used.cache_read_tokens,
                "cache_write_tokens": self.used.cache_write_tokens,
            },
            "output_tokens": self.used.output_tokens,
            "output_tokens_details": {"reasoning_tokens": min(thought, self.used.output_tokens)},
            "total_tokens": asked + self.used.output_tokens,
        }


def new_response_id() -> str:
    """A fresh id for an answer."""
    return f"resp_{uuid.uuid4().hex}"


class _Inner(msgspec.Struct, frozen=True):
    """The part of an item that holds its text."""

    kind: str
    where: dict[str, object]
    part: dict[str, object]


def _inner(block: Block, text: str) -> _Inner | None:
    match block:
        case Say():
            return _Inner("response.content_part", {"content_index": 0}, _output_text(text))
        case Think():
            return _Inner("response.reasoning_summary_part", {"summary_index": 0}, _summary(text))
        case Call():
            return None


def _stream(block: Block) -> str:
    match block:
        case Say():
            return "response.output_text"
        case Think():
            return "response.reasoning_summary_text"
        case Call():
            return "response.function_call_arguments"


def _where(block: Block) -> dict[str, object]:
    match block:
        case Say():
            return {"content_index": 0, "logprobs": []}
        case Think():
            return {"summary_index": 0}
        case Call():
            return {}


def _item(block: Block, text: str, status: str = "completed") -> dict[str, object]:
    """An output item; one that has just begun is empty."""
    has_begun = status == "in_progress"
    unique = uuid.uuid4().hex
    match block:
        case Say():
            parts = [] if has_begun else [_output_text(text)]
            return {"id": f"msg_{unique}", "type": "message", "role": "assistant", "status": status, "content": parts}
        case Think():
            parts = [] if has_begun else [_summary(text)]
            return {"id": f"rs_{unique}", "type": "reasoning", "summary": parts, "encrypted_content": _ENCRYPTED}
        case Call(tool):
            call = {"call_id": f"call_{unique[:24]}", "name": tool, "arguments": text}
            return {"id": f"fc_{unique}", "type": "function_call", "status": status, **call}


def _output_text(text: str) -> dict[str, object]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _summary(text: str) -> dict[str, object]:
    return {"type": "summary_text", "text": text}
