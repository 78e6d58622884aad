"""What went wrong, in HTTP: one table of statuses and codes, and the shape each root answers errors in."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from sanic import exceptions as sanic_errors
from sanic.request import Request

from corral.base import errors
from corral.base.logs import get_logger
from corral.platform.database import Duplicate, is_outage
from corral.web.answers import Answer, as_json, as_text

log = get_logger()


class MethodNotAllowed(errors.CorralError):
    """This path does not take that method."""

    def __init__(self, allowed: Iterable[str]) -> None:
        """Take the methods that the path does take."""
        self.allow = ", ".join(allowed)
        super().__init__(f"This path takes {self.allow}")


class Meaning(NamedTuple):
    """What HTTP says of an error."""

    status: int
    code: str


#: The nearest class of an error's own line of ancestors decides; what has none here is our fault.
TABLE: dict[type[BaseException], Meaning] = {
    errors.BadRequest: Meaning(400, "BAD_REQUEST"),
    errors.Unauthorized: Meaning(401, "UNAUTHORIZED"),
    errors.Forbidden: Meaning(403, "FORBIDDEN"),
    errors.NotFound: Meaning(404, "NOT_FOUND"),
    MethodNotAllowed: Meaning(405, "METHOD_NOT_ALLOWED"),
    errors.Conflict: Meaning(409, "CONFLICT"),
    Duplicate: Meaning(409, "CONFLICT"),
    errors.TooLarge: Meaning(413, "TOO_LARGE"),
    errors.RateLimited: Meaning(429, "RATE_LIMITED"),
    BaseException: Meaning(500, "INTERNAL"),
    errors.Unavailable: Meaning(503, "UNAVAILABLE"),
}
#: Roots whose errors are bare text, unless the client asks for JSON: one of the references has it so.
_BARE = ("/api/projects", "/api/runs", "/api/settings", "/api/terminal")
_CODED = ("/api/v1", "/runners")
_PAGES = ("/app",)

#: Renders an error under `/app` as a page; the console sets it.
Pages = Callable[[Request, errors.CorralError, int], Awaitable[Answer]]


class Errors:
    """Turns exceptions into answers."""

    def __init__(self) -> None:
        """Start without pages: then errors under `/app` are plain text."""
        self.pages: Pages | None = None

    async def answer(self, request: Request, error: BaseException, request_id: str) -> Answer:
        """Return the answer to `request` that ended with `error`; log what is our fault."""
        error = _own(error)
        meaning = meaning_of(error)
        has_left = isinstance(error, sanic_errors.RequestCancelled)  # the client's doing: no fault of ours to log
        about = {"request_id": request_id, "method": request.method, "path": request.path}
        if meaning.status == 500 and not has_left:
            log.error("request failed", **about, exc_info=error)
        elif meaning.status == 503:
            log.warning("the database is away", **about)
        if meaning.status == 500 or not isinstance(error, errors.CorralError):
            error = errors.CorralError(f"Something went wrong here, and it is logged under {request_id}")
        answer = await self._shaped(request, error, meaning)
        answer.headers.update(headers_of(error))
        return answer

    async def _shaped(self, request: Request, error: errors.CorralError, meaning: Meaning) -> Answer:
        path, asks_json = request.path, "json" in ",".join(request.headers.getall("accept", [])).lower()
        if _under(path, _CODED):
            return as_json({"error": {"code": meaning.code, "message": error.message}}, meaning.status)
        if self.pages is not None and _under(path, _PAGES):
            return await self.pages(request, error, meaning.status)
        bare = _under(path, _BARE) or not path.startswith("/api/")
        if bare and not asks_json:
            return as_text(error.message, meaning.status)
        return as_json({"error": error.message}, meaning.status)


def meaning_of(error: BaseException) -> Meaning:
    """Return status and code of an error."""
    return next(TABLE[ancestor] for ancestor in type(error).__mro__ if ancestor in TABLE)


def headers_of(error: errors.CorralError) -> dict[str, str]:
    """Return the headers that say more of an error."""
    match error:
        case errors.Unauthorized():
            return {"www-authenticate": "Bearer"}
        case MethodNotAllowed():
            return {"allow": error.allow}
        case errors.RateLimited() | errors.Unavailable():
            return {"retry-after": str(max(1, math.ceil(error.retry_after)))}
        case _:
            return {}


def shape_of(path: str) -> str:
    """Return how errors under `path` look: coded, bare, or plain."""
    if _under(path, _CODED):
        return "coded"
    return "bare" if _under(path, _BARE) else "plain"


def _under(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(root + "/") for root in roots)


def _own(error: BaseException) -> BaseException:
    """Say in our own classes what the HTTP server itself found wrong with a request."""
    match error:
        case sanic_errors.PayloadTooLarge():
            return errors.TooLarge(str(error) or None)
        case sanic_errors.ServiceUnavailable():
            return errors.Unavailable("This took too long; try again")
        case sanic_errors.SanicException() if 400 <= error.status_code < 500:
            return errors.BadRequest(str(error) or None)
        case Duplicate():  # its own words are the database's
            return errors.Conflict("Somebody has just made the same; look again")
        case _ if is_outage(error):  # of a query that went past `database.fetch`
            return errors.Unavailable()
        case _:
            return error
