"""What clients ask beside the conversation: a title, a summary, a warm-up. No script moves for it."""

from __future__ import annotations

import re

import msgspec

from corral.demo.anthropic.request import MessagesRequest
from corral.demo.summary import summary

_TITLE = re.compile(r"\b(titles?|isNewTopic|summari[sz]e)\b")


def side_answer(request: MessagesRequest) -> str | None:
    """The answer to such a request, or None if it is a turn of the conversation."""
    newest = "\n".join(block.text for block in request.messages[-1].blocks if block.type == "text")
    if request.max_tokens == 1:
        return "OK"
    if (asked := summary(newest)) is not None:
        return asked
    if request.tools:
        return None
    schema = request.output_config.format.schema if request.output_config and request.output_config.format else None
    if _TITLE.search(request.system_text) and "Claude" in request.system_text:
        return _json(_instance(schema, "A scripted run") if schema else {"title": "A scripted run"})
    if schema and not any("%" in block.text for message in request.messages for block in message.blocks):
        return _json(_instance(schema, "scripted"))
    return None


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


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
