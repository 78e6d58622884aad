"""What was sent over the bus."""

from __future__ import annotations

from typing import Any

import msgspec

from corral.agents.mail import Message
from corral.runs.frames import moment
from corral.web.present.times import shown


class MessageView(msgspec.Struct, kw_only=True):
    """A message."""

    id: str
    type: str  #: task.assigned, task.result, task.progress, question, answer, note or broadcast
    sender: str  #: an agent's id, `user:<id>` or `key:<id>`
    receiver: str  #: likewise
    text: str
    task_id: str | None
    run_id: str | None  #: the run that sent it
    reply_to: str | None  #: the message it answers
    created_at: str


class DeadMessage(MessageView, kw_only=True):
    """A message that was given up."""

    error: str | None  #: why
    tries: int
    dead_at: str | None


def message_view(message: Message) -> MessageView:
    """Show a message."""
    return MessageView(**_fields(message))


def dead_message(message: Message) -> DeadMessage:
    """Show a message that was given up, and why."""
    return DeadMessage(**_fields(message), error=message.error, tries=message.tries, dead_at=shown(message.dead_at))


def message_frame(message: Message) -> str:
    """Show a message as a server-sent event, whose id is its number."""
    return f"id: {message.no}\ndata: {msgspec.json.encode(message_view(message)).decode()}\n\n"


def _fields(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "type": message.type,
        "sender": message.sender,
        "receiver": message.receiver,
        "text": message.text,
        "task_id": message.task_id,
        "run_id": message.run_id,
        "reply_to": message.reply_to,
        "created_at": moment(message.created_at),
    }
