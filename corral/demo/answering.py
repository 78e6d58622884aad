"""The life of one answer, whichever API it goes out by: played, then streamed or sent whole, failed or cut."""

from __future__ import annotations

from typing import Protocol

import msgspec
from sanic import HTTPResponse, Request

from corral.demo import choose
from corral.demo.conversation import Conversation
from corral.demo.ledger import Ledger, Served
from corral.demo.play import Begin, Delta, Dropped, End, Failed, Part, play
from corral.demo.tokens import Usage, count
from corral.demo.turns import Fail, Say, Style, Turn


class Shape(Protocol):
    """How an API writes one answer."""

    def part(self, part: Part) -> bytes:
        """A part of a stream."""

    def failure(self, fail: Fail) -> bytes:
        """An error in mid-stream."""

    def whole(self) -> bytes:
        """The body of an answer that isn't streamed."""

    def error(self, fail: Fail) -> HTTPResponse:
        """An error in the answer's place."""


class Answer:
    """One answer, from its choice to its last byte; the ledger's entry tells how it went."""

    def __init__(self, ledger: Ledger, talk: Conversation, *, id: str, side: str | None, stream: bool) -> None:
        """Choose the turn: the script's, or `side` for what is asked beside the conversation. Raises ScriptError."""
        self.talk = talk
        self.turn = Turn((Say(side),)) if side is not None else choose.next_turn(talk)
        self.entry: Served = ledger.begin(
            id=id,
            model=talk.model,
            session=talk.session,
            key=talk.key,
            kind="turn" if side is None else "side",
            turn=talk.turn,
            stream=stream,
        )

    async def deliver(
        self, request: Request, shape: Shape, used: Usage, style: Style, headers: dict[str, str]
    ) -> HTTPResponse | None:
        """Play it into the request's response, as the script says; None: it was streamed, or cut."""
        entry = self.entry
        try:
            if entry.stream:
                await self._stream(request, shape, used, style, headers)
                return None
            async for _ in play(self.turn, self.talk, entry.attempt, style):
                pass
            entry.status, entry.stop_reason, entry.usage = "finished", self.turn.stop_reason, used
            return HTTPResponse(shape.whole(), headers=headers, content_type="application/json")
        except Failed as failed:
            entry.status, entry.http = "error", failed.fail.status
            return shape.error(failed.fail)
        except Dropped:
            if request.transport is not None:
                request.transport.abort()  # type: ignore[attr-defined]
            return None
        finally:
            # Whatever ended it early — the script, or a client that left — it was cut.
            if entry.status == "open":
                entry.status = "cut"

    async def _stream(self, request: Request, shape: Shape, used: Usage, style: Style, headers: dict[str, str]) -> None:
        entry, sent = self.entry, 0
        response: HTTPResponse | None = None
        try:
            async for part in play(self.turn, self.talk, entry.attempt, style):
                if response is None:
                    response = await request.respond(content_type="text/event-stream", headers=headers)
                    assert response is not None
                await response.send(shape.part(part))
                match part:
                    case Begin():
                        entry.usage = msgspec.structs.replace(used, output_tokens=1)
                    case Delta(text=text):
                        sent += count(text)
                        entry.usage = msgspec.structs.replace(used, output_tokens=max(1, sent))
                    case End(stop_reason):
                        entry.status, entry.stop_reason, entry.usage = "finished", stop_reason, used
        except Failed as failed:
            if response is None:
                raise
            entry.status, entry.http = "error", failed.fail.status
            await response.send(shape.failure(failed.fail))
        if response is not None:
            await response.eof()  # type: ignore[no-untyped-call]
