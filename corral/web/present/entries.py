"""A log's entries as AgentFleet shows them: a kind, and plain text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from corral.runs.frames import Logged
from corral.wire.events import EventType
from corral.wire.words import tool_call

Told = Mapping[str, Any]

_KINDS: dict[str, str] = {
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

    seq: int  #: from 1 in each run; without gaps, until an old log is let go
    kind: str
    message: str


def entries(log: Iterable[Logged]) -> list[Entry]:
    """Return a log as entries."""
    return [Entry(event.seq, kind(event.type), message(event.type, event.payload)) for event in log]


def kind(event_type: str) -> str:
    """Return what AgentFleet calls this type of event; what is no part of the conversation is system."""
    return _KINDS.get(event_type, _SYSTEM)


def message(event_type: str, payload: str) -> str:
    """Return the plain text of an event."""
    told = _decode(payload)
    words = _WORDS.get(event_type)
    return (words(told) if words else _first(told, "text", "message")) or event_type.removeprefix("run.")


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


def _first(told: Told, *names: str) -> str:
    """Return the first of these that is text and not empty."""
    return next((told[name] for name in names if isinstance(told.get(name), str) and told[name]), "")


def _after(words: str, told: Told, *names: str) -> str:
    """Return `words`, with what the event says of it if it says anything."""
    more = _first(told, *names)
    return f"{words}: {more}" if more else words


def _started(told: Told) -> str:
    runner = _first(told, "runner")
    return f"run started on {runner}" if runner else "run started"


def _call(told: Told) -> str:
    return tool_call(_first(told, "name") or "tool", told.get("input"))


def question(payload: str) -> str:
    """Return what a request for permission asks of people: the question itself, if it is one."""
    return _question(_decode(payload))


def _question(told: Told) -> str:
    return _first(told, "description") or tool_call(_first(told, "tool"), told.get("input"))


def _asked(told: Told) -> str:
    return f"{'asks' if told.get('kind') == 'question' else 'asks for permission'}: {_question(told)}"


def _answered(told: Told) -> str:
    answer = {"allow": "allowed", "deny": "denied"}.get(_first(told, "decision"), "answered")
    return _after(answer, told, "reason")


#: How each type of event reads; the others by their text or message.
_WORDS: dict[str, Callable[[Told], str]] = {
    EventType.RUN_CREATED: lambda _told: "run created",
    EventType.RUN_STARTED: _started,
    EventType.RUN_RESULT: lambda told: _after("turn ended", told, "subtype"),
    EventType.RUN_COMPLETED: lambda told: _first(told, "text") or "done",
    EventType.RUN_FAILED: lambda told: _first(told, "message", "code"),
    EventType.RUN_CANCELLED: lambda told: _first(told, "message", "code"),
    EventType.SESSION_INIT: lambda _told: "session started",
    EventType.AGENT_TOOL_CALL: _call,
    EventType.AGENT_TOOL_RESULT: lambda told: flat(told.get("output")),
    EventType.AGENT_SUBAGENT_START: lambda told: _after("subagent started", told, "description", "name"),
    EventType.AGENT_SUBAGENT_STOP: lambda told: _after("subagent ended", told, "summary", "status"),
    EventType.PERMISSION_REQUESTED: _asked,
    EventType.PERMISSION_RESOLVED: _answered,
    EventType.PERMISSION_WITHDRAWN: lambda _told: "no longer asks",
    EventType.SESSION_WAITING: lambda _told: "waits to be told more",
    EventType.BUS_DELEGATED: lambda told: _after(f"handed to {_first(told, 'name', 'to')}", told, "title"),
    EventType.BUS_RESULT: lambda told: _after(f"{_first(told, 'from')} is back", told, "text", "status"),
    EventType.BUS_PROGRESS: lambda told: _after(f"{_first(told, 'from')} reports", told, "text"),
    EventType.BUS_MESSAGE: lambda told: _after(
        f"{_first(told, 'type') or 'message'} from {_first(told, 'from')}", told, "text"
    ),
    EventType.BUS_REFUSED: lambda told: _after(f"refused {_first(told, 'tool')}", told, "message"),
}
