"""The HTTP server around the faces: its start and end, and what tests read from it."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from sanic import HTTPResponse, Request, Sanic
from sanic.exceptions import SanicException

from corral.demo.anthropic.answer import error_body
from corral.demo.anthropic.face import AnthropicFace
from corral.demo.ledger import Ledger
from corral.demo.models import model, models
from corral.demo.openai.face import OpenAIFace
from corral.demo.turns import Style

#: how fast a person can read along, in tokens a second
HUMAN_PACE = 40.0

_names = itertools.count(1)


@asynccontextmanager
async def serving(port: int = 0, pace: float = 0.0, sock: socket.socket | None = None) -> AsyncIterator[ModelServer]:
    """A running server inside the caller's loop, on loopback; ended with the block.

    Port 0 takes a free one: see `.url`. `pace` is in tokens a second, 0 as fast as possible. A bound `sock` wins.
    """
    server = ModelServer(sock or bind(port), pace)
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
    """A socket bound to loopback; port 0 takes a free one."""
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
        self._app = _app(self.ledger, Style(pace=pace))
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


def _app(ledger: Ledger, style: Style) -> Sanic[Any, Any]:
    app = Sanic(f"corral-demo-{next(_names)}", configure_logging=False)
    app.config.update(
        ACCESS_LOG=False,
        AUTO_EXTEND=False,
        REQUEST_MAX_SIZE=200_000_000,
        REQUEST_TIMEOUT=3600,
        RESPONSE_TIMEOUT=7200,
        KEEP_ALIVE_TIMEOUT=600,
        MOTD=False,
        TOUCHUP=False,  # it rewrites the server class, which only works once a process
    )

    @app.on_request
    async def note(request: Request) -> None:
        ledger.receive(request.method, request.path, dict(request.headers), request.body)

    @app.get("/served")
    async def served(request: Request) -> HTTPResponse:
        """What was answered, oldest first; `?session=`, `?kind=`, `?key=` and `?status=` narrow it."""
        wanted = {name: request.args.get(name) for name in ("session", "kind", "key", "status") if name in request.args}
        return _json([entry for entry in ledger.served if all(getattr(entry, name) == wanted[name] for name in wanted)])

    @app.get("/requests")
    async def requests(request: Request) -> HTTPResponse:
        """What came in lately, oldest first; `?path=` narrows it."""
        path = request.args.get("path")
        return _json([received for received in ledger.received if path in {None, received.path}])

    @app.route("/", methods=["GET", "HEAD"])
    async def root(request: Request) -> HTTPResponse:
        return _json({"corral": "demo", "scripted": True})

    @app.exception(SanicException)
    async def failed(request: Request, error: SanicException) -> HTTPResponse:
        status = error.status_code or 500
        body = error_body(status, f"{request.method} {request.path}: {error}")
        return HTTPResponse(body, status, error.headers, content_type="application/json")

    app.add_route(models, "/v1/models", methods=["GET"], name="models")
    app.add_route(model, "/v1/models/<name:str>", methods=["GET"], name="model")
    AnthropicFace(ledger, style).add_to(app)
    OpenAIFace(ledger, style).add_to(app)
    return app


def _json(value: object) -> HTTPResponse:
    return HTTPResponse(msgspec.json.encode(value), content_type="application/json")
