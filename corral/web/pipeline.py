"""A request's way through a route, as a list of steps. Their order is the contract's: the first thing wrong is told."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import msgspec
from sanic.http import Http
from sanic.request import Request

from corral.base.errors import (
    BadRequest,
    Conflict,
    CorralError,
    Forbidden,
    NotFound,
    RateLimited,
    TooLarge,
    Unauthorized,
)
from corral.platform import access, acting, keys, metrics, orgs, plans, repeats, sign_in
from corral.platform.access import Principal
from corral.platform.acting import NOBODY, Acting
from corral.platform.limits import Verdict
from corral.platform.settings import Settings
from corral.runs import callers
from corral.web import answers, cookies, csrf, metering
from corral.web.answers import Answer
from corral.web.call import Call, request_id
from corral.web.decode import body_decoder, form_decoder, form_pairs, query_decoder
from corral.web.errors import MethodNotAllowed
from corral.web.routes import Route
from corral.wire.tools import RUN_TOKEN

if TYPE_CHECKING:
    from corral.web.server import Server

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_REFUSALS = metrics.REFUSALS.of()
_KEY_LONGEST = 255
_ID_LONGEST = 36

SanicHandler = Callable[..., Coroutine[Any, Any, Answer | None]]


def handler_of(route: Route, server: Server) -> SanicHandler:
    """Return what the HTTP server calls for this route."""
    decode = _decoder(route)
    encode = _encoder(route)
    work = route.handler

    async def handle(request: Request, **path: str) -> Answer | None:
        verdict: Verdict | None = None
        try:
            principal = None
            if not route.open:
                principal = _operator(request, route, server) or await authenticated(request, server.settings)
            call = Call(request, server, principal)
            acting.begin(_acting(call))
            if route.counted:
                counted = _counted(server, principal)
                verdict = await counted if isinstance(counted, asyncio.Future) else counted
                _within(verdict)
            if principal is not None:
                _allowed(call, principal, route)
            call.body = await _read(request, route.most)
            arguments = decode(call)
            key = _key(request) if route.repeatable else None
            if not route.open and any(len(id_) > _ID_LONGEST for id_ in path.values()):
                raise NotFound
            if key is not None and route.content == answers.EVENTS:
                answer = await _joined(call, key, lambda: _worked(call, arguments, path))
            elif key is not None:
                answer = await _once(call, route, key, lambda: _worked(call, arguments, path))
            else:
                answer = await _worked(call, arguments, path)
            if answer is None:  # the handler has streamed it
                return None
        except Exception as error:  # noqa: BLE001 - whatever it is, it becomes an answer
            answer = await server.errors.answer(request, error, request_id(request))
        return _finished(answer, request, verdict)

    async def _worked(call: Call, arguments: dict[str, Any], path: dict[str, str]) -> Answer | None:
        result = await work(call, **arguments, **path)
        answer = encode(result) if not isinstance(result, Answer) else result
        if answer is not None and call.headers:
            answer.headers.update(call.headers)
        return answer

    measured = metering.measured(route.method, route.path, handle, server)
    measured.is_stream = True  # type: ignore[attr-defined] # the HTTP server leaves the body to us
    return measured


async def no_route(request: Request, server: Server, error: CorralError) -> Answer:
    """Answer a request that no route takes: 401 and 429 come before 404 and 405 here as well."""
    answer: Answer = await metering.unrouted(request, server, lambda: _no_route(request, server, error))
    return answer


async def _no_route(request: Request, server: Server, error: CorralError) -> Answer:
    verdict: Verdict | None = None
    try:
        allowed = server.table.allowed(request.path)
        principal = None if server.is_open(request.path) else await authenticated(request, server.settings)
        counted = _counted(server, principal)
        verdict = await counted if isinstance(counted, asyncio.Future) else counted
        _within(verdict)
        if not allowed:
            raise error
        if request.method == "OPTIONS":
            return _finished(answers.empty(headers={"allow": ", ".join(allowed)}), request, verdict)
        raise MethodNotAllowed(allowed)
    except Exception as found:  # noqa: BLE001 - as above
        answer = await server.errors.answer(request, found, request_id(request))
        return _finished(answer, request, verdict)


async def authenticated(request: Request, settings: Settings) -> Principal:
    """Return who calls: a bearer key or a run's token if one is sent, else the console session of the cookie."""
    scheme, *rest = request.headers.getone("authorization", "").split() or [""]
    principal: Principal | None = None
    if scheme.lower() == "bearer":
        if len(rest) == 1:
            principal = keys.recall(rest[0]) or await _bearer(rest[0])
    elif session := cookies.session(request, settings):
        principal = sign_in.recall(session) or await sign_in.authenticate(session)
    if principal is None:
        raise Unauthorized
    request.ctx.principal = principal
    return principal


def _acting(call: Call) -> Acting:
    caller, where = call.principal, (call.address, request_id(call.request))
    return Acting(NOBODY, *where) if caller is None else Acting(caller.actor, *where, caller.org_id)


def _operator(request: Request, route: Route, server: Server) -> Principal | None:
    """Return who runs the servers, if this is a request for them with their token."""
    token, sent = server.settings.metrics_token, request.headers.getone("authorization", "")
    wanted = f"Bearer {token}".encode()
    if not (token and route.operators and hmac.compare_digest(sent.encode(errors="replace"), wanted)):
        return None
    request.ctx.principal = operator = Principal(orgs.FIRST_ORG, "operator", access.FULL, access.Role.OWNER)
    return operator


async def _bearer(token: str) -> Principal | None:
    if not token.startswith(RUN_TOKEN):
        return await keys.authenticate(token)
    caller = await callers.authenticate(token)
    if caller is None:
        return None
    actor, scopes = f"run:{caller.run_id}", frozenset({access.CALL_TOOLS})
    return Principal(caller.org_id, actor, scopes, access.Role.VIEWER, run_id=caller.run_id)


def _counted(server: Server, principal: Principal | None) -> Verdict | asyncio.Future[Verdict] | None:
    """Count the request against its key; a person in the console is not counted."""
    if principal is None or principal.key_id is None:
        return None
    limit = server.limit_of(principal)
    return server.limiter.hit(principal.key_id, limit) if limit else None


def _within(verdict: Verdict | None) -> None:
    if verdict is not None and not verdict.passes:
        _REFUSALS.add()
        raise RateLimited(
            f"This key may send {verdict.limit} requests a minute; try again in {verdict.reset} s",
            retry_after=verdict.reset,
        )


def _allowed(call: Call, principal: Principal, route: Route) -> None:
    access.require(principal, route.scope, route.role)
    if route.person and principal.sign_in is None:
        raise Forbidden("This is about whoever is signed in; a key has no profile and no browser")
    if route.feature is not None:
        plans.require(principal.plan, route.feature)
    if route.operators and principal.org_id != orgs.FIRST_ORG:
        raise Forbidden("This is for those who run the servers; your org is another")
    if principal.sign_in is not None and call.request.method not in _READS:
        csrf.check_origin(call.request, call.settings)


async def _read(request: Request, most: int) -> bytes:
    """Read the body, no further than it may be long."""
    stream = request.stream
    assert isinstance(stream, Http)
    if not stream.request_body:
        return b""
    if (stream.request_bytes_left or 0) > most:
        raise TooLarge(f"The body is longer than {most:,} bytes")
    parts: list[bytes] = []
    size = 0
    while data := await stream.read():
        size += len(data)
        if size > most:
            raise TooLarge(f"The body is longer than {most:,} bytes")
        parts.append(data)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _key(request: Request) -> str | None:
    key: str | None = request.headers.getone("idempotency-key", None)
    if key is not None and not (0 < len(key) <= _KEY_LONGEST and key.isprintable()):
        raise BadRequest(f"Idempotency-Key must have 1 to {_KEY_LONGEST} printable characters", field="Idempotency-Key")
    return key


async def _once(call: Call, route: Route, key: str, work: Callable[[], Awaitable[Answer | None]]) -> Answer | None:
    """Do what was asked under this Idempotency-Key, or answer as it was answered before."""
    begun = await repeats.begin(call.org_id, call.request.path, key, call.body)
    if isinstance(begun, repeats.Answered):
        headers = {"cache-control": "no-store", "idempotency-replayed": "true"}
        return Answer(begun.answer, begun.status, headers=headers, content_type=begun.content_type)
    call.mint(begun.minted_id)

    async def to_its_end() -> Answer | None:
        try:
            answer = await work()
        except BaseException:
            await repeats.release(begun)
            raise
        if answer is not None:
            body = (answer.body or b"").decode()
            await repeats.finish(
                begun, status=answer.status, answer=None if route.secret else body, content_type=answer.content_type
            )
        return answer

    # A client that leaves does not cut the work off halfway: its repeat finds the answer.
    task = asyncio.ensure_future(to_its_end())
    call.server.keep(task)
    return await asyncio.shield(task)


async def _joined(call: Call, key: str, work: Callable[[], Awaitable[Answer | None]]) -> Answer | None:
    """Answer with a stream; under the same Idempotency-Key it is of the same thing, which is made once."""
    begun = await repeats.join(call.org_id, call.request.path, key, call.body)
    call.mint(begun.minted_id)
    try:
        return await work()
    except (BadRequest, Conflict, NotFound):  # nothing was made
        await repeats.release(begun)
        raise


def _decoder(route: Route) -> Callable[[Call], dict[str, Any]]:
    """Return what turns a request into its handler's arguments."""
    body: Callable[[bytes], Any] | None = body_decoder(route.body, route.answers) if route.body is not None else None
    query: Callable[[str, bytes], Any] | None = query_decoder(route.query) if route.query is not None else None
    form: Callable[[bytes], Any] | None = form_decoder(route.form) if route.form is not None else None
    wants_query = "query" in route.handler.__annotations__
    wants_body = route.body is not None and "body" in route.handler.__annotations__

    def decode(call: Call) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        if form is not None:
            if call.principal is not None and call.principal.sign_in is not None:
                _check_form(call)
            arguments["form"] = form(call.body)
        elif body is not None and (wants_body or call.body):
            decoded = body(call.body)
            if wants_body:
                arguments["body"] = decoded
        if query is not None:
            decoded = query(call.request.query_string, call.body if route.method == "GET" else b"")
            if wants_query:
                arguments["query"] = decoded
        return arguments

    return decode


def _check_form(call: Call) -> None:
    sent = call.request.headers.getone(csrf.HEADER, None)
    if sent is None:
        value = form_pairs(call.body).get(csrf.FIELD, "")
        sent = value if isinstance(value, str) else ""
    csrf.check_form(call.caller, sent)


def _encoder(route: Route) -> Callable[[Any], Answer | None]:
    """Return what turns a handler's result into an answer."""
    status, content = route.status, route.content
    encode = msgspec.json.Encoder().encode

    def as_it_says(result: Any) -> Answer | None:
        if result is None:
            return answers.empty() if content == answers.JSON else None
        if content == answers.JSON:
            return answers.as_json(result if isinstance(result, bytes) else encode(result), status)
        return Answer(result, status, headers={"cache-control": "no-store"}, content_type=content)

    return as_it_says


def _finished(answer: Answer, request: Request, verdict: Verdict | None) -> Answer:
    answer.headers["x-request-id"] = request_id(request)
    if verdict is not None:
        answer.headers.update(verdict.headers())
    return answer


def unknown_path(path: str) -> NotFound:
    """Return the error of a path that nothing is at."""
    return NotFound(f"There is nothing at {path[:200]}")
