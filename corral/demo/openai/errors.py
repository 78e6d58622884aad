"""What the API refuses, and how it says so."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from sanic import HTTPResponse

from corral.demo.script import error_type
from corral.demo.turns import Fail

#: status → the API's own type and code
_NAMES = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}


class Refused(Exception):
    """A request the API would not take; says which field and why."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code


def failure(fail: Fail) -> HTTPResponse:
    """An error in place of an answer."""
    headers = {} if fail.retry_after is None else {"retry-after": f"{fail.retry_after:g}"}
    return _answer(fail.status, told(fail), headers)


def refusal(refused: Refused) -> HTTPResponse:
    """The answer to a request that isn't valid."""
    error = {
        "message": refused.message,
        "type": "invalid_request_error",
        "param": refused.param,
        "code": refused.code,
    }
    return _answer(400, error, {})


def told(fail: Fail) -> dict[str, object]:
    """A script's error in the API's words; a type that the script names itself stays."""
    kind, code = _NAMES.get(fail.status, ("server_error", "server_error"))
    if fail.kind and fail.kind != error_type(fail.status):
        kind = code = fail.kind
    return {"message": fail.message, "type": kind, "param": None, "code": code}


def _answer(status: int, error: Mapping[str, object], headers: dict[str, str]) -> HTTPResponse:
    return HTTPResponse(msgspec.json.encode({"error": error}), status, headers, content_type="application/json")
