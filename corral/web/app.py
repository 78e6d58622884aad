"""The composition root: settings in, a serving process out."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import secrets
import socket
from collections.abc import AsyncIterator, Coroutine
from types import SimpleNamespace
from typing import Any, Protocol, cast

from sanic import Sanic
from sanic.config import Config
from sanic.exceptions import MethodNotAllowed, NotFound
from sanic.handlers import ErrorHandler
from sanic.request import Request
from sanic.server.protocols.http_protocol import HttpProtocol

from corral import bus
from corral.agents import following, inbox, needs, starting
from corral.agents.toolset import OwnTools
from corral.base.errors import BadRequest, Unavailable
from corral.base.supervisor import Supervisor
from corral.bus import Bus
from corral.bus.memory import MemoryBus
from corral.mcp import reach
from corral.platform import (
    acting,
    audit,
    database,
    invitations,
    keys,
    orgs,
    plan_file,
    plans,
    pulse,
    repeats,
    servers,
    sign_in,
    throttle,
)
from corral.platform.limits import Limiter, MemoryLimiter
from corral.platform.settings import Settings
from corral.providers import conversation
from corral.providers.engine import Engine
from corral.runs import (
    approvals,
    deleting,
    feed,
    figures,
    hints,
    loops,
    placements,
    releasing,
    restored,
    runners,
    treasury,
    waiting,
)
from corral.runs.sealing import Sealing
from corral.secrets import keyring, vault
from corral.usage import alerts, budgets, meter, pricelists
from corral.web import files, sse
from corral.web.answers import Answer
from corral.web.call import AnyRequest, request_id
from corral.web.console.page import error_page
from corral.web.pipeline import handler_of, no_route, unknown_path
from corral.web.routes import Route, Table
from corral.web.server import Server

#: What the HTTP server reads and throws away of a body that was refused, so that the client gets to see why.
_DRAINED = 64 * 1024 * 1024
_GRACE = 2.0
#: Connections that may wait to be accepted: one more waits a second for the next try.
_BACKLOG = 2048


def routes() -> list[Route]:
    """Return every route there is."""
    from corral.web.api import ROUTES
    from corral.web.console.home import ROUTES as PAGES

    return [*ROUTES, *PAGES, *files.route.all]


def create_app(server: Server) -> Sanic[Config, SimpleNamespace]:
    """Return the HTTP server's app with all routes of the table."""
    name = f"corral-{secrets.token_hex(4)}"
    app = Sanic(name, error_handler=_Errors(server), request_class=AnyRequest, configure_logging=False)
    app.config.update(
        {
            "ACCESS_LOG": False,
            "AUTO_EXTEND": False,
            "KEEP_ALIVE_TIMEOUT": 120,
            "MOTD": False,
            "REQUEST_MAX_HEADER_SIZE": 16_384,
            "REQUEST_MAX_SIZE": _DRAINED,
            "REQUEST_TIMEOUT": 60,
            "RESPONSE_TIMEOUT": 120,
            # Sanic rewrites its classes for speed when it starts, and cannot do so to what it has rewritten.
            "TOUCHUP": not getattr(HttpProtocol, "__touched__", False),
        }
    )
    for route in server.table.routes:
        app.add_route(
            handler_of(route, server),
            route.path,
            methods=route.methods,
            name=route.name,
            stream=True,
            error_format="text",  # errors are ours: only, without it Sanic parses each handler's source to guess one
        )
    return app


@contextlib.asynccontextmanager
async def serve(
    settings: Settings, sock: socket.socket | None = None, *, hurry: asyncio.Event | None = None
) -> AsyncIterator[Server]:
    """Serve until the context ends; the address is bound and answers when it begins. `hurry` shortens the end."""
    listening = sock or _bind(settings.host, settings.port)
    settings = dataclasses.replace(settings, port=listening.getsockname()[1])
    try:
        async with _running(settings, hurry) as server, _http(server, listening):
            yield server
    finally:
        listening.close()


@contextlib.asynccontextmanager
async def _running(settings: Settings, hurry: asyncio.Event | None) -> AsyncIterator[Server]:
    """Open what requests need: the database, and what works on it."""
    for memory in (keys, sign_in, placements, runners, pricelists, budgets, meter, alerts, treasury):
        memory.forget()
    plans.use(plan_file.read(settings.plans))
    keyring.use(settings)
    reach.use(settings)
    await database.connect(settings)
    try:
        await vault.check()
        await budgets.reread()
        await plans.check()
        with acting.as_(acting.OPERATOR):
            bootstrapped = await orgs.bootstrap(settings)
        server = Server(settings, Table(routes()), bootstrapped=bootstrapped, limiter=_limiter(settings), hurry=hurry)
        server.errors.pages = error_page
        async with _working(server, settings):
            yield server
    finally:
        await database.disconnect()


def _share(channel: Bus) -> None:
    """Tell the other servers of changes to what they remember, and hear of theirs."""
    keys.on_change(hints.key_changed)
    sign_in.on_change(hints.person_changed)
    channel.listen(hints.PEOPLE, lambda user_id: sign_in.doubt(user_id.decode()))
    runners.listen()


@contextlib.asynccontextmanager
async def _working(server: Server, settings: Settings) -> AsyncIterator[None]:
    """Join the bus, and start what happens without a request: loops, and the platform's own agents."""
    following.listen()
    deleting.on_deletion(conversation.forget)
    needs.need_no_key(settings.provider_keys)
    channel = _bus(settings)
    bus.use(channel)
    await restored.settle()
    channel.receive(inbox.drain)
    await channel.start()
    await server.limiter.start()
    room, feeds = waiting.reset(), feed.reset(sse.frame)
    room.open()
    _share(channel)
    _add_loops(server.supervisor, server, settings)
    server.supervisor.start()
    engine = Engine(settings, OwnTools())
    await engine.start()
    try:
        yield
    finally:
        server.stopping.set()
        await engine.stop(_GRACE)
        await server.drain(_GRACE)
        await server.supervisor.stop(_GRACE)
        with contextlib.suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(_GRACE):
                await server.presence.leave()
        feeds.close()
        room.close()
        await server.limiter.stop()
        await channel.stop()
        await keys.write_last_used()
        await sign_in.write_last_used()


@contextlib.asynccontextmanager
async def _http(server: Server, listening: socket.socket) -> AsyncIterator[None]:
    """Listen, and at the end let requests finish, streams and polls first."""
    app = create_app(server)
    options = {"start_serving": False}
    http = cast(
        "_Http",
        await app.create_server(sock=listening, protocol=HttpProtocol, backlog=_BACKLOG, asyncio_server_kwargs=options),
    )
    try:
        await http.startup()
        await http.before_start()
        await http.start_serving()
        await http.after_start()
        yield
    finally:
        await server.leave()
        server.stopping.set()
        server.watchers.wake()
        feed.feeds().close()
        waiting.waiting_room().close()
        await http.before_stop()
        await _close(http)
        await http.after_stop()
        Sanic.unregister_app(app)


async def _close(http: _Http) -> None:
    """Take no more connections, close idle ones again and again, and cut off who stays for too long."""
    closing = http.close()
    deadline = asyncio.get_running_loop().time() + _GRACE
    while http.connections and asyncio.get_running_loop().time() < deadline:
        for connection in tuple(http.connections):
            connection.close_if_idle()
        await asyncio.sleep(0.02)
    for connection in tuple(http.connections):
        connection.abort()
    if closing is not None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await closing


def _add_loops(supervisor: Supervisor, server: Server, settings: Settings) -> None:
    """Register everything this process does by itself. Each is safe in several processes at once."""
    approvals.ttl_ms = int(settings.approval_ttl * 1000)

    async def checkpoint(_now: float) -> None:
        await database.checkpoint()

    async def write_last_used(_now: float) -> None:
        await keys.write_last_used()
        await sign_in.write_last_used()

    async def sweep(_now: float) -> None:
        await repeats.sweep()
        await sign_in.sweep()
        await invitations.sweep()
        await throttle.sweep()

    async def keep_audit(_now: float) -> None:
        await audit.keep(settings.audit_days)

    supervisor.add("reread", loops.reread, every=loops.REREAD_EVERY)
    supervisor.add("budgets", budgets.reread, every=1)
    supervisor.add("money", treasury.run_once, every=1)
    supervisor.add("places", releasing.Release().run_once, every=1)
    supervisor.add("mail", inbox.reread, every=loops.REREAD_EVERY)
    supervisor.add("retries", starting.retry_due, every=5)
    supervisor.add("overdue tasks", starting.end_overdue, every=5)
    supervisor.add("leases", loops.LeaseSweep(settings.lost_after).run_once, every=5)
    supervisor.add("approvals", loops.expire_approvals, every=5)
    supervisor.add("checkpoint", checkpoint, every=1)
    supervisor.add("last uses", write_last_used, every=5)
    supervisor.add("sweep", sweep, every=3600)
    supervisor.add("audit retention", keep_audit, every=3600, limit=600)
    supervisor.add("deleted logs", deleting.clear, every=60)
    supervisor.add("old logs", Sealing(settings.seal_days, settings.events_days).run_once, every=60)
    supervisor.add("keep-alive", server.watchers.keep_alive, every=1)
    supervisor.add("dismissals", server.watchers.dismiss, every=1)
    supervisor.add("pulse", pulse.run_once, every=1)
    supervisor.add("figures", figures.reread, every=15)
    supervisor.add("servers", server.presence.beat, every=servers.BEAT_EVERY)


class _Http(Protocol):
    """The HTTP server as Sanic hands it out, with types."""

    connections: set[Any]

    def startup(self) -> Coroutine[Any, Any, None]: ...
    def before_start(self) -> Coroutine[Any, Any, None]: ...
    def start_serving(self) -> Coroutine[Any, Any, None]: ...
    def after_start(self) -> Coroutine[Any, Any, None]: ...
    def before_stop(self) -> Coroutine[Any, Any, None]: ...
    def close(self) -> asyncio.Task[None] | None: ...
    def after_stop(self) -> Coroutine[Any, Any, None]: ...


class _Errors(ErrorHandler):
    """Answers what fails outside of a route: unknown paths and methods, and requests that are not HTTP."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server

    def response(self, request: Request, exception: Exception) -> Answer:
        """Return the answer, which the HTTP server awaits."""
        return self._answer(request, exception)  # type: ignore[return-value] # it awaits what is awaitable

    async def _answer(self, request: Request, exception: Exception) -> Answer:
        if isinstance(exception, NotFound | MethodNotAllowed):
            return await no_route(request, self._server, unknown_path(request.path))
        answer = await self._server.errors.answer(request, exception, request_id(request))
        answer.headers["x-request-id"] = request_id(request)
        return answer


def _bus(settings: Settings) -> Bus:
    if not settings.redis_url:
        return MemoryBus()
    from corral.bus.redis import RedisBus

    return RedisBus(settings.redis_url)


def _limiter(settings: Settings) -> Limiter:
    if not settings.redis_url:
        return MemoryLimiter()
    from corral.platform.shared_limits import SharedLimiter

    return SharedLimiter(settings.redis_url)


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise BadRequest(f"{host} port {port} cannot be used: {error.strerror}; choose another with --port") from error
    sock.setblocking(False)
    return sock
