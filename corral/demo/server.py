"""The HTTP server around the faces: routes, records, and the life of one answer."""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from sanic import HTTPResponse, Request, Sanic
from sanic.exceptions import SanicException

from corral.demo import anthropic, choose
from corral.demo.conversation import Conversation
from corral.demo.ledger import Ledger, Served
from corral.demo.play import Begin, Delta, Dropped, End, Failed, play
from corral.demo.script import ScriptError
from corral.demo.tokens import Usage, count
from corral.demo.turns import Block, Fail, Say, Style, Turn

#: how fast a person can read along, in tokens a second
HUMAN_PACE = 40.0

_SECRET_HEADERS = frozenset({"authorization", "x-api-key", "cookie"})
_numbers = itertools.count(1)


@asynccontextmanager
async def serving(port: int = 0, pace: float = 0.0, sock: socket.socket | None = None) -> AsyncIterator[ModelServer]:
    """A running server inside the caller's loop, on loopback; ended with the block.

    Port 0 takes a free one: see `.url`. `pace` is in tokens a second, 0 as fast as possible. A bound `sock` wins.
    """
    sock = sock or bind(port)
    server = ModelServer(sock, pace)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def serve(port: int = 0, pace: float = HUMAN_PACE, sock: socket.socket | None = None) -> None:
    """Serve until cancelled."""
    async with serving(port, pace, sock):
        await asyncio.Event().wait()


def bind(port: int = 0) -> socket.socket:
    """A listening socket on loopback."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    return sock


class ModelServer:
    """One scripted model on one socket."""

    def __init__(self, sock: socket.socket, pace: float) -> None:
        self.ledger = Ledger()
        self.url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        self._sock = sock
        self._style = Style(pace=pace)
        self._app = _app(self)
        self._server: Any = None  #: Sanic's AsyncioServer, which has no types

    async def start(self) -> None:
        self._server = await self._app.create_server(sock=self._sock, return_asyncio_server=True)
        await self._server.startup()
        await self._server.before_start()
        await self._server.start_serving()
        await self._server.after_start()

    async def stop(self) -> None:
        """Close at once: an answer under way is cut, as clients must be able to bear."""
        await self._server.before_stop()
        self._server.close()
        for connection in list(self._server.connections):
            connection.abort()
        await self._server.wait_closed()
        await self._server.after_stop()
        Sanic.unregister_app(self._app)

    async def answer(self, request: Request) -> HTTPResponse | None:
        """`POST /v1/messages`: one turn of the script that the newest prompt holds."""
        asked = anthropic.decode(request.body)
        talk = anthropic.conversation(asked, request.headers.get("x-claude-code-session-id", ""))
        side = anthropic.side_answer(asked)
        try:
            turn = Turn((Say(side),)) if side is not None else choose.next_turn(talk)
        except ScriptError as error:
            raise anthropic.Refused(400, f"The prompt's script can't be played: {error}") from None
        entry = Served(
            no=next(_numbers),
            at=time.time(),
            id=anthropic.new_message_id(),
            model=asked.model,
            session=talk.session,
            key=talk.key,
            kind="turn" if side is None else "side",
            turn=talk.turn,
            attempt=self.ledger.next_attempt(talk.key, talk.turn) if side is None else 0,
            stream=asked.stream,
        )
        self.ledger.open(entry)
        used = anthropic.usage(asked, turn, talk)
        answering = self._stream if asked.stream else self._whole
        try:
            return await answering(request, turn, talk, entry, used)
        except Dropped:
            _cut(request)
            return None
        finally:
            # Whatever ended it early — the script, or a client that left — it was cut.
            if entry.status == "open":
                entry.status = "cut"

    async def _stream(
        self, request: Request, turn: Turn, talk: Conversation, entry: Served, used: Usage
    ) -> HTTPResponse | None:
        events = anthropic.Events(entry.id, entry.model, used)
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
                        entry.usage = msgspec.structs.replace(used, output=1)
                    case Delta(text=text):
                        sent += count(text)
                        entry.usage = msgspec.structs.replace(used, output=max(1, sent))
                    case End(stop_reason):
                        entry.status, entry.stop_reason, entry.usage = "finished", stop_reason, used
        except Failed as failed:
            entry.status, entry.http = "error", failed.fail.status
            if response is None:
                return _failure(failed.fail)
            await response.send(events.failure(failed.fail.status, failed.fail.kind, failed.fail.message))
        if response is not None:
            await response.eof()  # type: ignore[no-untyped-call]
        return None

    async def _whole(
        self, request: Request, turn: Turn, talk: Conversation, entry: Served, used: Usage
    ) -> HTTPResponse:
        try:
            async for _ in play(turn, talk, entry.attempt, self._style):
                pass
        except Failed as failed:
            entry.status, entry.http = "error", failed.fail.status
            return _failure(failed.fail)
        blocks = [anthropic.whole_block(step, talk) for step in turn.steps if isinstance(step, Block)]
        entry.status, entry.stop_reason, entry.usage = "finished", turn.stop_reason, used
        usage = anthropic.usage_body(used)
        return _json(
            anthropic.message_body(entry.id, entry.model, blocks, turn.stop_reason, usage), headers=_headers(entry)
        )


def _app(server: ModelServer) -> Sanic[Any, Any]:
    app = Sanic(f"corral-demo-{next(_numbers)}", configure_logging=False)
    app.config.update(
        ACCESS_LOG=False,
        AUTO_EXTEND=False,
        REQUEST_MAX_SIZE=200_000_000,
        REQUEST_TIMEOUT=3600,
        RESPONSE_TIMEOUT=7200,
        KEEP_ALIVE_TIMEOUT=600,
        MOTD=False,
    )

    @app.on_request
    async def note(request: Request) -> HTTPResponse | None:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _SECRET_HEADERS}
        server.ledger.receive(request.method, request.path, headers, _raw(request.body))
        return _unsigned(request) if request.path.startswith("/v1/") else None

    @app.post("/v1/messages")
    async def messages(request: Request) -> HTTPResponse | None:
        return await server.answer(request)

    @app.post("/v1/messages/count_tokens")
    async def count_tokens(request: Request) -> HTTPResponse:
        return _json({"input_tokens": anthropic.input_tokens(anthropic.decode(request.body, counting=True))})

    @app.get("/v1/models")
    async def models(request: Request) -> HTTPResponse:
        found = [_model(name) for name in anthropic.MODELS]
        ends = {"first_id": found[0]["id"], "last_id": found[-1]["id"]}
        return _json({"data": found, "has_more": False, **ends})

    @app.get("/v1/models/<name:str>")
    async def model(request: Request, name: str) -> HTTPResponse:
        return _json(_model(name))

    @app.get("/served")
    async def served(request: Request) -> HTTPResponse:
        """What was answered, oldest first; `?session=` and `?kind=` narrow it."""
        wanted = {name: request.args.get(name) for name in ("session", "kind", "key", "status") if name in request.args}
        return _json(
            [entry for entry in server.ledger.served if all(getattr(entry, name) == wanted[name] for name in wanted)]
        )

    @app.get("/requests")
    async def requests(request: Request) -> HTTPResponse:
        """What came in lately, oldest first; `?path=` narrows it."""
        path = request.args.get("path")
        return _json([received for received in server.ledger.received if path in (None, received.path)])

    @app.route("/", methods=["GET", "HEAD"])
    async def root(request: Request) -> HTTPResponse:
        return _json({"corral": "demo", "scripted": True})

    @app.route("/api/<path:path>", methods=["GET", "POST"])
    async def beside(request: Request, path: str) -> HTTPResponse:
        """What a CLI asks beside the API (greetings, metrics) gets a harmless answer."""
        return _json({})

    @app.exception(anthropic.Refused)
    async def refused(request: Request, error: anthropic.Refused) -> HTTPResponse:
        return _error(error.status, error.message)

    @app.exception(SanicException)
    async def http_error(request: Request, error: SanicException) -> HTTPResponse:
        return _error(error.status_code or 500, f"{request.method} {request.path}: {error}")

    return app


def _unsigned(request: Request) -> HTTPResponse | None:
    """A key is asked for as the real API does; one that says it is invalid is."""
    key = request.headers.get("x-api-key") or (request.headers.get("authorization") or "").removeprefix("Bearer ")
    if not key:
        return _error(401, "x-api-key header is required")
    return _error(401, "invalid x-api-key") if "invalid" in key else None


def _model(name: str) -> dict[str, object]:
    return {"type": "model", "id": name, "display_name": f"{name} (scripted)", "created_at": "2026-01-01T00:00:00Z"}


def _raw(body: bytes) -> msgspec.Raw | None:
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return msgspec.Raw(body)


def _headers(entry: Served) -> dict[str, str]:
    return {"request-id": entry.id.replace("msg_", "req_"), "cache-control": "no-cache"}


def _failure(fail: Fail) -> HTTPResponse:
    return _error(fail.status, fail.message, fail.kind, fail.retry_after)


def _error(status: int, message: str, kind: str = "", retry_after: float | None = None) -> HTTPResponse:
    headers = {"x-should-retry": "true" if status in {408, 409, 429} or status >= 500 else "false"}
    if retry_after is not None:
        headers["retry-after"] = f"{retry_after:g}"
    return HTTPResponse(anthropic.error_body(status, message, kind), status, headers, content_type="application/json")


def _json(value: object, headers: dict[str, str] | None = None) -> HTTPResponse:
    return HTTPResponse(msgspec.json.encode(value), headers=headers, content_type="application/json")


def _cut(request: Request) -> None:
    """End the connection without a word more."""
    if request.transport is not None:
        request.transport.abort()  # type: ignore[attr-defined]
