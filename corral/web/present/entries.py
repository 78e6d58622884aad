"""A log's entries as AgentFleet shows them: a kind, and plain text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from corral.runs.frames import Logged
from corral.wire.events import EventType
from corral.wire.words import tool_call

_KINDS = {
    EventType.AGENT_MESSAGE: "assistant",
    EventType.AGENT_THINKING: "thinking",
    EventType.AGENT_TOOL_CALL: "tool_use",
    EventType.AGENT_TOOL_RESULT: "tool_result",
    EventType.AGENT_NEEDS_ATTENTION: "attention",
    EventType.PERMISSION_REQUESTED: "attention",
    EventType.PERMISSION_RESOLVED: "attention",
    EventType.PERMISSION_WITHDRAWN: "attention",
    EventType.USER_MESSAGE: "user",
    EventType.RUN_COMPLETED: "result",
    EventType.RUN_FAILED: "error",
    EventType.RUN_CANCELLED: "error",
}
_SYSTEM = "system"

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Entry(msgspec.Struct):
    """One entry of a run's log."""

    seq: int  #: from 1 in each run, without gaps
    kind: str
    message: str


def entries(log: Iterable[Logged]) -> list[Entry]:
    """Return a log as entries."""
    return [Entry(event.seq, kind(event.type), message(event.type, event.payload)) for event in log]


def kind(event_type: str) -> str:
    """Return what AgentFleet calls this type of event; what is no part of the conversation is system."""
    return _KINDS.get(event_type, _SYSTEM)  # type: ignore[call-overload,no-any-return] # a StrEnum is found by its text


def message(event_type: str, payload: str) -> str:
    """Return the plain text of an event."""
    told = _decode(payload)
    match event_type:
        case EventType.RUN_CREATED:
            return "run created"
        case EventType.RUN_STARTED:
            return f"run started on {told['runner']}" if told.get("runner") else "run started"
        case EventType.SESSION_INIT:
            return "session started"
        case EventType.AGENT_TOOL_CALL:
            return tool_call(_text(told, "name") or "tool", told.get("input"))
        case EventType.AGENT_TOOL_RESULT:
            return flat(told.get("output"))
        case EventType.AGENT_SUBAGENT_START:
            return f"subagent started: {_text(told, 'description', 'name')}".rstrip(": ")
        case EventType.AGENT_SUBAGENT_STOP:
            return f"subagent {_text(told, 'status') or 'stopped'}: {_text(told, 'summary', 'name')}".rstrip(": ")
        case EventType.PERMISSION_REQUESTED:
            asked = _text(told, "description") or tool_call(_text(told, "tool"), told.get("input"))
            return f"asks for permission: {asked}"
        case EventType.PERMISSION_RESOLVED:
            answered = {"allow": "allowed", "deny": "denied"}.get(_text(told, "decision"), "answered")
            return f"{answered}: {told['reason']}" if told.get("reason") else answered
        case EventType.PERMISSION_WITHDRAWN:
            return "no longer asks"
        case EventType.RUN_PAUSED:
            return f"paused: {_text(told, 'reason')}".rstrip(": ")
        case EventType.RUN_RESULT:
            return f"turn ended: {_text(told, 'subtype')}".rstrip(": ")
        case EventType.RUN_COMPLETED:
            return _text(told, "text") or "done"
        case EventType.RUN_FAILED | EventType.RUN_CANCELLED:
            return _text(told, "message", "code") or str(event_type).removeprefix("run.")
        case _:
            return _text(told, "text", "message") or str(event_type)


def flat(output: Any) -> str:
    """Return a tool's output as text: a string, blocks of content, or JSON."""
    match output:
        case None:
            return ""
        case str():
            return output
        case list():
            return "\n".join(flat(part) for part in output)
        case {"text": str(text)}:
            return text
        case {"type": str(type_)}:
            return f"[{type_}]"
        case _:
            return msgspec.json.encode(output).decode()


def _text(told: Mapping[str, Any], *names: str) -> str:
    """Return the first of these that is text and not empty."""
    return next((told[name] for name in names if isinstance(told.get(name), str) and told[name]), "")
