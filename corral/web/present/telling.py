"""A run's log in Fleetrun's words: thinking, tool calls, their results, output, and errors."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from corral.runs.frames import Logged
from corral.web.present import entries
from corral.wire.events import EventType

#: What the others are is told to nobody here: it is no part of the conversation.
_TYPES: dict[str, str] = {
    EventType.AGENT_MESSAGE: "output",
    EventType.AGENT_THINKING: "thinking",
    EventType.AGENT_TOOL_CALL: "tool_call",
    EventType.AGENT_TOOL_RESULT: "tool_result",
    EventType.AGENT_NEEDS_ATTENTION: "tool_call",
    EventType.PERMISSION_REQUESTED: "tool_call",
    EventType.PERMISSION_RESOLVED: "tool_call",
    EventType.PERMISSION_WITHDRAWN: "tool_call",
    EventType.RUN_COMPLETED: "output",
    EventType.RUN_FAILED: "error",
    EventType.RUN_CANCELLED: "error",
}


class Told(NamedTuple):
    """One frame of the stream, or one entry of a task's log."""

    type: str
    text: str


class Teller:
    """Tells one run's log from its beginning, and its final text only if that was not told before."""

    def __init__(self) -> None:
        """Start with nothing told."""
        self._outputs: set[int] = set()

    def tell(self, event: Logged) -> Told | None:
        """Return an event in Fleetrun's words; None if it has none for it."""
        type_ = _TYPES.get(event.type)
        if type_ is None:
            return None
        if event.type == EventType.RUN_COMPLETED:
            text = str(msgspec.json.decode(event.payload).get("text") or "")
            return Told(type_, text) if text.strip() and hash(text.strip()) not in self._outputs else None
        if event.type == EventType.PERMISSION_REQUESTED:
            return Told(type_, entries.question(event.payload))
        text = entries.message(event.type, event.payload)
        if type_ == "output":
            self._outputs.add(hash(text.strip()))
        return Told(type_, text)
