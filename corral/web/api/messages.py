"""The bus: what was sent, sent by people, watched live, and what was given up."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from corral.agents import inbox, mail, roster
from corral.agents.mail import EVERYBODY, Letter, MessageType
from corral.base.errors import BadRequest, NotFound
from corral.platform import database
from corral.runs.hints import bus_topic
from corral.web import answers, sse
from corral.web.answers import Answer
from corral.web.api.paging import Count, Id, Limit, Page, cut
from corral.web.call import Call
from corral.web.present.messages import DeadMessage, MessageView, dead_message, message_frame, message_view
from corral.web.routes import Routes

route = Routes("messages")

_MOST = 500
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200_000, pattern=r"\S")]


class MessagesAsked(Page):
    """Which messages to list."""

    limit: Limit = 100
    agent: Id | None = None  #: sender or receiver
    type: MessageType | None = None
    since: Moment | None = None
    until: Moment | None = None

    @property
    def size(self) -> int:
        """How many are answered at most."""
        return min(self.limit, _MOST)


class DeadAsked(Page):
    """How many messages that were given up."""

    limit: Limit = 100

    @property
    def size(self) -> int:
        """How many are answered at most."""
        return min(self.limit, _MOST)


class WatchAsked(msgspec.Struct, forbid_unknown_fields=True):
    """What to watch, and from where on; the header Last-Event-ID wins."""

    agent: Id | None = None  #: sender or receiver
    type: MessageType | None = None
    last_event_id: Count | None = None  #: without one, only what is sent from now on
    after: Count | None = None
    seconds: Annotated[float, msgspec.Meta(ge=0, le=86_400)] | None = None  #: end the stream after so long


class SendMessage(msgspec.Struct, forbid_unknown_fields=True):
    """A message of a person."""

    to: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]  #: an agent's id or name, or `*` for all of them
    text: Text
    type: Literal["note", "question"] = "note"
    reply_to: Id | None = None


@route.get("/api/messages", scope="messages:read")
async def list_messages(call: Call, query: MessagesAsked) -> list[MessageView]:
    """List messages, newest first."""
    await _check_agent(call.org_id, query.agent)
    found = await mail.page(
        call.org_id,
        agent=query.agent,
        type_=query.type,
        since=_ms(query.since),
        until=_ms(query.until),
        before=query.before,
        limit=query.size + 1,
    )
    times = {name: moment.isoformat() for name in ("since", "until") if (moment := getattr(query, name)) is not None}
    shown = cut(call, found, query, [one.id for one in found], agent=query.agent, type=query.type, **times)
    return [message_view(message) for message in shown]


@route.post("/api/messages", scope="messages:write", answers=(MessageView,), also=(409,))
async def send_message(call: Call, body: SendMessage) -> MessageView:
    """Send an agent a note or a question: its live run is told, or a new one answers."""
    if body.reply_to is not None:
        await mail.get(call.org_id, body.reply_to, field="reply_to")
    letter = Letter(
        id=call.new_id(),
        type=MessageType(body.type),
        sender=call.actor,
        receiver=await _receiver(call.org_id, body.to),
        text=body.text,
        reply_to=body.reply_to,
    )
    return message_view(await mail.post(call.org_id, letter))


@route.get("/api/messages/stream", scope="messages:read", counted=False, content=answers.EVENTS)
async def stream_messages(call: Call, query: WatchAsked) -> Answer | None:
    """Watch the bus: what is sent from now on, or from where the client stopped."""
    await _check_agent(call.org_id, query.agent)
    cursor = sse.cursor(call, query.last_event_id if query.last_event_id is not None else query.after)
    after = await mail.last_no(call.org_id) if cursor is None else cursor

    async def read() -> tuple[bytes, bool]:
        nonlocal after
        found = await mail.later(call.org_id, after=after, agent=query.agent, type_=query.type)
        after = found[-1].no if found else after
        return "".join(map(message_frame, found)).encode(), False

    return await sse.follow(call, bus_topic(call.org_id), read, seconds=query.seconds)


@route.get("/api/messages/dead", scope="messages:read")
async def list_dead_messages(call: Call, query: DeadAsked) -> list[DeadMessage]:
    """List the messages that were given up, newest first, with the reason."""
    found = await mail.page(call.org_id, dead=True, before=query.before, limit=query.size + 1)
    return [dead_message(message) for message in cut(call, found, query, [one.id for one in found])]


@route.post("/api/messages/<id>/replay", scope="messages:write", also=(409,))
async def replay_message(call: Call, id: str) -> MessageView:
    """Give a message that was given up another chance."""
    return message_view(await inbox.replay(call.org_id, id))


async def _receiver(org_id: int, to: str) -> str:
    """Return whom a person means."""
    if to == EVERYBODY:
        return to
    try:
        return str((await database.commit(roster.find(org_id, to)))["id"])
    except NotFound as error:
        raise BadRequest(error.message, field="to") from error


async def _check_agent(org_id: int, agent_id: str | None) -> None:
    if agent_id is not None:
        await roster.get(org_id, agent_id, field="agent")


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)
