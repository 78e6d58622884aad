"""The routes of the Messages API, and the life of one answer."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from sanic import HTTPResponse, Request, Sanic

from corral.demo import choose
from corral.demo.anthropic import answer
from corral.demo.anthropic.request import Refused, conversation, decode
from corral.demo.anthropic.side import side_answer
from corral.demo.anthropic.usage import input_tokens, usage
from corral.demo.conversation import Conversation
from corral.demo.ledger import Ledger, Served
from corral.demo.play import Begin, Delta, Dropped, End, Failed, play
from corral.demo.script import ScriptError
from corral.demo.tokens import Usage, count
from corral.demo.turns import Block, Fail, Say, Style, Turn


class AnthropicFace:
    """Answers the Messages API by script; notes in the ledger what it served."""

    def __init__(self, ledger: Ledger, style: Style) -> None:
        self._ledger = ledger
        self._style = style

    def add_to(self, app: Sanic[Any, Any]) -> None:
        """Put the routes on an app."""
        app.add_route(self.messages, "/v1/messages", methods=["POST"], name="messages")
        app.add_route(self.count_tokens, "/v1/messages/count_tokens", methods=["POST"], name="count_tokens")
        app.add_route(self.models, "/v1/models", methods=["GET"], name="models")
        app.add_route(self.model, "/v1/models/<name:str>", methods=["GET"], name="model")
        app.add_route(self.beside, "/api/<path:path>", methods=["GET", "POST"], name="beside")
        app.exception(Refused)(self.refused)

    async def messages(self, request: Request) -> HTTPResponse | None:
        """One turn of the script that the newest prompt holds."""
        if refusal := _unsigned(request):
            return refusal
        asked = decode(request.body)
        talk = conversation(asked, request.headers.get("x-claude-code-session-id", ""))
        side = side_answer(asked)
        try:
            turn = Turn((Say(side),)) if side is not None else choose.next_turn(talk)
        except ScriptError as error:
            raise Refused(400, f"The prompt's script can't be played: {error}") from None
        entry = Served(
            no=self._ledger.next_no(),
            at=time.time(),
            id=answer.new_message_id(),
            model=asked.model,
            session=talk.session,
            key=talk.key,
            kind="turn" if side is None else "side",
            turn=talk.turn,
            attempt=self._ledger.next_attempt(talk.key, talk.turn) if side is None else 0,
            stream=asked.stream,
        )
        self._ledger.open(entry)
        play_out = self._stream if asked.stream else self._whole
        try:
            return await play_out(request, turn, talk, entry, usage(asked, turn, talk))
        except Failed as failed:
            entry.status, entry.http = "error", failed.fail.status
            return _failure(failed.fail)
        except Dropped:
            if request.transport is not None:
                request.transport.abort()  # type: ignore[attr-defined]
            return None
        finally:
            # Whatever ended it early — the script, or a client that left — it was cut.
            if entry.status == "open":
                entry.status = "cut"

    async def count_tokens(self, request: Request) -> HTTPResponse:
        return _unsigned(request) or _json({"input_tokens": input_tokens(decode(request.body, counting=True))})

    async def models(self, request: Request) -> HTTPResponse:
        found = [_model(name) for name in answer.MODELS]
        page = {"data": found, "has_more": False, "first_id": answer.MODELS[0], "last_id": answer.MODELS[-1]}
        return _unsigned(request) or _json(page)

    async def model(self, request: Request, name: str) -> HTTPResponse:
        return _unsigned(request) or _json(_model(name))

    async def beside(self, request: Request, path: str) -> HTTPResponse:
        """What a CLI asks beside the API (greetings, metrics) gets a harmless answer."""
        return _json({})

    async def refused(self, request: Request, error: Refused) -> HTTPResponse:
        return _failure(Fail(error.status, "", error.message))

    async def _stream(
        self, request: Request, turn: Turn, talk: Conversation, entry: Served, used: Usage
    ) -> HTTPResponse | None:
        events = answer.Events(entry.id, entry.model, used)
        response: HTTPResponse | None = None
        sent = 0
        try:
            async for part in play(turn, talk, entry.attempt, self._style):
                if response is None:
                    response = await request.respond(content_type="text/event-stream", headers=_headers(entry))
                    assert response is not None
                await response.send(events.render(part))
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
            await response.send(events.failure(failed.fail.status, failed.fail.kind, failed.fail.message))
        if response is not None:
            await response.eof()  # type: ignore[no-untyped-call]
        return None

    async def _whole(
        self, request: Request, turn: Turn, talk: Conversation, entry: Served, used: Usage
    ) -> HTTPResponse:
        async for _ in play(turn, talk, entry.attempt, self._style):
            pass
        blocks = [answer.whole_block(step, talk) for step in turn.steps if isinstance(step, Block)]
        entry.status, entry.stop_reason, entry.usage = "finished", turn.stop_reason, used
        body = answer.message_body(entry.id, entry.model, blocks, turn.stop_reason, answer.usage_body(used))
        return _json(body, headers=_headers(entry))


def _unsigned(request: Request) -> HTTPResponse | None:
    """A key is asked for as the real API does; one that says it is invalid is."""
    key = request.headers.get("x-api-key") or (request.headers.get("authorization") or "").removeprefix("Bearer ")
    if key and "invalid" not in key:
        return None
    return _failure(Fail(401, "", "invalid x-api-key" if key else "x-api-key header is required"))


def _model(name: str) -> dict[str, object]:
    return {"type": "model", "id": name, "display_name": f"{name} (scripted)", "created_at": "2026-01-01T00:00:00Z"}


def _headers(entry: Served) -> dict[str, str]:
    return {"request-id": entry.id.replace("msg_", "req_"), "cache-control": "no-cache"}


def _failure(fail: Fail) -> HTTPResponse:
    headers = {"x-should-retry": "true" if fail.status in {408, 409, 429} or fail.status >= 500 else "false"}
    if fail.retry_after is not None:
        headers["retry-after"] = f"{fail.retry_after:g}"
    body = answer.error_body(fail.status, fail.message, fail.kind)
    return HTTPResponse(body, fail.status, headers, content_type="application/json")


def _json(value: object, headers: dict[str, str] | None = None) -> HTTPResponse:
    return HTTPResponse(msgspec.json.encode(value), headers=headers, content_type="application/json")
