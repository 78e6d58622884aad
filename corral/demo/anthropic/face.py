"""The routes of the Messages API."""

from __future__ import annotations

from typing import Any

import msgspec
from sanic import HTTPResponse, Request, Sanic

from corral.demo.answering import Answer
from corral.demo.anthropic.answer import Message, failure, new_message_id
from corral.demo.anthropic.request import Refused, conversation, decode
from corral.demo.anthropic.side import side_answer
from corral.demo.anthropic.usage import input_tokens, usage
from corral.demo.ledger import Ledger
from corral.demo.script import ScriptError
from corral.demo.turns import Fail, Style


class AnthropicFace:
    """Answers the Messages API by script; notes in the ledger what it served."""

    def __init__(self, ledger: Ledger, style: Style) -> None:
        self._ledger = ledger
        self._style = style

    def add_to(self, app: Sanic[Any, Any]) -> None:
        """Put the routes on an app."""
        app.add_route(self.messages, "/v1/messages", methods=["POST"], name="messages")
        app.add_route(self.count_tokens, "/v1/messages/count_tokens", methods=["POST"], name="count_tokens")
        app.add_route(self.beside, "/api/<path:path>", methods=["GET", "POST"], name="beside")
        app.exception(Refused)(self.refused)

    async def messages(self, request: Request) -> HTTPResponse | None:
        """One turn of the script that the newest prompt holds."""
        if refusal := _unsigned(request):
            return refusal
        asked = decode(request.body)
        talk = conversation(asked, request.headers.get("x-claude-code-session-id", ""))
        try:
            answer = Answer(self._ledger, talk, id=new_message_id(), side=side_answer(asked), stream=asked.stream)
        except ScriptError as error:
            raise Refused(400, f"The prompt's script can't be played: {error}") from None
        used = usage(asked, answer.turn, talk)
        message = Message(answer.entry.id, answer.turn, talk, used)
        headers = {"request-id": answer.entry.id.replace("msg_", "req_"), "cache-control": "no-cache"}
        return await answer.deliver(request, message, used, self._style, headers)

    async def count_tokens(self, request: Request) -> HTTPResponse:
        return _unsigned(request) or _json({"input_tokens": input_tokens(decode(request.body, counting=True))})

    async def beside(self, request: Request, path: str) -> HTTPResponse:
        """What a CLI asks beside the API (greetings, metrics) gets a harmless answer."""
        return _json({})

    async def refused(self, request: Request, error: Refused) -> HTTPResponse:
        return failure(Fail(error.status, "", error.message))


def _unsigned(request: Request) -> HTTPResponse | None:
    """A key is asked for as the real API does; one that says it is invalid is."""
    key = request.headers.get("x-api-key") or (request.headers.get("authorization") or "").removeprefix("Bearer ")
    if key and "invalid" not in key:
        return None
    return failure(Fail(401, "", "invalid x-api-key" if key else "x-api-key header is required"))


def _json(value: object) -> HTTPResponse:
    return HTTPResponse(msgspec.json.encode(value), content_type="application/json")
