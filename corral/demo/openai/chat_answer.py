"""What Chat Completions answers: parts of an answer as server-sent events or as one JSON body.

Thinking goes out as OpenRouter shows it: `reasoning` as plain text, and `reasoning_details` to be sent back.
"""

from __future__ import annotations

import time
import uuid

import msgspec
from sanic import HTTPResponse

from corral.demo.conversation import Conversation
from corral.demo.openai.errors import failure, told
from corral.demo.play import Begin, Close, Delta, End, Open, Part, content
from corral.demo.tokens import Usage, count
from corral.demo.turns import Call, Fail, Say, Think, Turn

#: Our stop reason → the API's own.
_FINISHED = {"tool_use": "tool_calls", "max_tokens": "length", "refusal": "content_filter"}


class Completion:
    """How the API writes one answer (a `corral.demo.answering.Shape`)."""

    def __init__(self, completion_id: str, turn: Turn, talk: Conversation, used: Usage, *, told_usage: bool) -> None:
        self.completion_id = completion_id
        self.turn = turn
        self.talk = talk
        self.used = used
        self.created = int(time.time())
        self._told_usage = told_usage  #: at a stream's end
        self._calls = -1  #: the index of the newest call

    def part(self, part: Part) -> bytes:
        match part:
            case Begin():
                return self._chunk({"role": "assistant", "content": ""})
            case Open(block=Call(tool)):
                self._calls += 1
                call = {"index": self._calls, "id": _call_id(), "type": "function"}
                return self._chunk({"tool_calls": [{**call, "function": {"name": tool, "arguments": ""}}]})
            case Delta(block=Call(), text=text):
                return self._chunk({"tool_calls": [{"index": self._calls, "function": {"arguments": text}}]})
            case Delta(block=Think(), text=text):
                return self._chunk({"reasoning": text, "reasoning_details": [_detail(text)]})
            case Delta(text=text):
                return self._chunk({"content": text})
            case Open() | Close():
                return b""
            case End(stop_reason):
                ended = self._chunk({}, _FINISHED.get(stop_reason, "stop"))
                cost = _event(self._body("chat.completion.chunk", [], self._usage())) if self._told_usage else b""
                return ended + cost + b"data: [DONE]\n\n"

    def failure(self, fail: Fail) -> bytes:
        return _event({"error": told(fail) | {"code": fail.status}})

    def whole(self) -> bytes:
        said = [content(step, self.talk) for step in self.turn.steps if isinstance(step, Say)]
        thought = [content(step, self.talk) for step in self.turn.steps if isinstance(step, Think)]
        calls = [
            {
                "id": _call_id(),
                "type": "function",
                "function": {"name": step.tool, "arguments": content(step, self.talk)},
            }
            for step in self.turn.steps
            if isinstance(step, Call)
        ]
        message: dict[str, object] = {"role": "assistant", "content": "\n".join(said) or None, "refusal": None}
        if thought:
            message |= {"reasoning": "\n".join(thought), "reasoning_details": [_detail(text) for text in thought]}
        if calls:
            message["tool_calls"] = calls
        finished = _FINISHED.get(self.turn.stop_reason, "stop")
        choice = {"index": 0, "message": message, "finish_reason": finished, "logprobs": None}
        return msgspec.json.encode(self._body("chat.completion", [choice], self._usage()))

    def error(self, fail: Fail) -> HTTPResponse:
        return failure(fail)

    def _chunk(self, delta: dict[str, object], finished: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finished, "logprobs": None}
        return _event(self._body("chat.completion.chunk", [choice], None))

    def _body(self, kind: str, choices: list[dict[str, object]], used: dict[str, object] | None) -> dict[str, object]:
        return {
            "id": self.completion_id,
            "object": kind,
            "created": self.created,
            "model": self.talk.model,
            "choices": choices,
            "usage": used,
        }

    def _usage(self) -> dict[str, object]:
        asked = self.used.input_tokens + self.used.cache_read_tokens + self.used.cache_write_tokens
        thought = sum(count(content(step, self.talk)) for step in self.turn.steps if isinstance(step, Think))
        return {
            "prompt_tokens": asked,
            "completion_tokens": self.used.output_tokens,
            "total_tokens": asked + self.used.output_tokens,
            "prompt_tokens_details": {
                "cached_tokens": self.used.cache_read_tokens,
                "cache_write_tokens": self.used.cache_write_tokens,
            },
            "completion_tokens_details": {"reasoning_tokens": min(thought, self.used.output_tokens)},
        }


def new_completion_id() -> str:
    """A fresh id for an answer."""
    return f"chatcmpl-{uuid.uuid4().hex[:29]}"


def _call_id() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"


def _detail(text: str) -> dict[str, object]:
    return {"type": "reasoning.text", "text": text, "format": "unknown", "index": 0}


def _event(body: dict[str, object]) -> bytes:
    return b"data: " + msgspec.json.encode(body) + b"\n\n"
