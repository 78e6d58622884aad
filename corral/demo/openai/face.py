"""The routes of the Responses API and of Chat Completions; the latter also where OpenRouter has it."""

from __future__ import annotations

from typing import Any

from sanic import HTTPResponse, Request, Sanic

from corral.demo.answering import Answer
from corral.demo.ledger import Ledger
from corral.demo.openai import chat, responses
from corral.demo.openai.chat_answer import Completion, new_completion_id
from corral.demo.openai.errors import Refused, failure, refusal
from corral.demo.openai.pieces import Request as Asked
from corral.demo.openai.pieces import side_answer, usage
from corral.demo.openai.responses_answer import Response, new_response_id
from corral.demo.script import ScriptError
from corral.demo.turns import Fail, Style


class OpenAIFace:
    """Answers both APIs by script; notes in the ledger what it served."""

    def __init__(self, ledger: Ledger, style: Style) -> None:
        self._ledger = ledger
        self._style = style

    def add_to(self, app: Sanic[Any, Any]) -> None:
        """Put the routes on an app."""
        app.add_route(self.responses, "/v1/responses", methods=["POST"], name="responses")
        app.add_route(self.chat, "/v1/chat/completions", methods=["POST"], name="chat")
        app.add_route(self.chat, "/api/v1/chat/completions", methods=["POST"], name="openrouter")
        app.exception(Refused)(self.refused)

    async def responses(self, request: Request) -> HTTPResponse | None:
        """One turn of the script that the newest prompt holds."""
        if unsigned := _unsigned(request):
            return unsigned
        asked = responses.decode(request.body, _session(request))
        answer = self._answer(asked, new_response_id())
        used = usage(asked, answer.turn, answer.talk)
        return await self._deliver(request, answer, Response(answer.entry.id, answer.turn, answer.talk, used))

    async def chat(self, request: Request) -> HTTPResponse | None:
        """The same by the older API."""
        if unsigned := _unsigned(request):
            return unsigned
        asked, told_usage = chat.decode(request.body, _session(request))
        answer = self._answer(asked, new_completion_id())
        used = usage(asked, answer.turn, answer.talk)
        shape = Completion(answer.entry.id, answer.turn, answer.talk, used, told_usage=told_usage)
        return await self._deliver(request, answer, shape)

    async def refused(self, request: Request, error: Refused) -> HTTPResponse:
        return refusal(error)

    def _answer(self, asked: Asked, answer_id: str) -> Answer:
        try:
            return Answer(
                self._ledger, asked.conversation(), id=answer_id, side=side_answer(asked), stream=asked.stream
            )
        except ScriptError as error:
            raise Refused(f"The prompt's script can't be played: {error}") from None

    async def _deliver(self, request: Request, answer: Answer, shape: Response | Completion) -> HTTPResponse | None:
        headers = {"x-request-id": f"req_{answer.entry.id[-24:]}", "cache-control": "no-cache"}
        return await answer.deliver(request, shape, shape.used, self._style, headers)


def _session(request: Request) -> str:
    """Codex names its session in a header."""
    return request.headers.get("session_id") or request.headers.get("conversation_id") or ""


def _unsigned(request: Request) -> HTTPResponse | None:
    """A key is asked for as the real API does; one that says it is invalid is."""
    key = (request.headers.get("authorization") or "").removeprefix("Bearer ").strip()
    if key and "invalid" not in key:
        return None
    why = "Incorrect API key provided." if key else "You didn't provide an API key."
    return failure(Fail(401, "", why))
