"""Messages as pages show them: rows of the bus, and threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from corral.agents.mail import Message, MessageType
from corral.web.console.agent_views import Names
from corral.web.console.run_views import short, title

#: What each type of message is called.
TYPES = {
    MessageType.TASK_ASSIGNED: "task",
    MessageType.TASK_RESULT: "result",
    MessageType.TASK_PROGRESS: "progress",
    MessageType.QUESTION: "question",
    MessageType.ANSWER: "answer",
    MessageType.NOTE: "note",
    MessageType.BROADCAST: "broadcast",
}


@dataclass(frozen=True, slots=True)
class MessageView:
    """One message."""

    id: str
    type: str
    word: str  #: of its type
    sender: str
    sender_id: str | None  #: of an agent
    receiver: str
    receiver_id: str | None
    line: str
    text: str
    task_id: str | None
    run_id: str | None
    run_short: str
    reply_to: str | None
    created_at: int
    status: str  #: the class that colours what became of it
    state: str  #: what became of it
    error: str | None
    dead: bool


def message_views(found: Sequence[Message], names: Names, *, whole: bool = False) -> list[MessageView]:
    """Return the views of messages, in their order; of a `whole` conversation it is known what was answered."""
    answered = {message.reply_to for message in found}
    asks = {
        message.id: message.id not in answered
        for message in found
        if whole and message.type == MessageType.QUESTION and names.is_agent(message.receiver)
    }
    return [_view(message, names, is_open=asks.get(message.id, False)) for message in found]


def _view(message: Message, names: Names, *, is_open: bool) -> MessageView:
    status, state = _state(message, is_open=is_open)
    return MessageView(
        id=message.id,
        type=message.type,
        word=TYPES.get(MessageType(message.type), message.type),
        sender=names.of(message.sender),
        sender_id=message.sender if names.is_agent(message.sender) else None,
        receiver=names.of(message.receiver),
        receiver_id=message.receiver if names.is_agent(message.receiver) else None,
        line=title(message.text),
        text=message.text,
        task_id=message.task_id,
        run_id=message.run_id,
        run_short=short(message.run_id) if message.run_id else "",
        reply_to=message.reply_to,
        created_at=message.created_at,
        status=status,
        state=state,
        error=message.error,
        dead=message.dead_at is not None,
    )


def _state(message: Message, *, is_open: bool) -> tuple[str, str]:
    if message.dead_at is not None:
        return "failed", "Given up"
    if message.handled_at is None:
        return ("waiting", "Trying again") if message.tries else ("queued", "On its way")
    return ("running", "Being answered") if is_open else ("completed", "Delivered")
