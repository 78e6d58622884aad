"""What an error of OpenAI's SDK means, whichever API of whichever maker it was asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from corral.providers.provider import TOO_LONG, Trouble, trouble, unreachable

if TYPE_CHECKING:
    import openai

CONNECT_SECONDS = 15.0
_TOO_LONG = re.compile(r"context_length_exceeded|context window|maximum context length", re.IGNORECASE)
#: An error's code or type, where it comes in mid-stream, → the status it would have had.
_STATUSES = {"server_error": 500, "rate_limit_exceeded": 429, "server_is_overloaded": 503, "slow_down": 503}


def translated(name: str, error: openai.OpenAIError) -> Trouble:
    """Return the trouble of an exception."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return _told(name, error.status_code, error.body, error.message, error.response.headers)
    if isinstance(error, openai.APIConnectionError):
        return unreachable(name, error)
    body = error.body if isinstance(error, openai.APIError) else None
    return told(name, body, str(error))


def told(name: str, body: object, message: str = "") -> Trouble:
    """Return the trouble that a stream told of, where no status says how bad it is."""
    error = body if isinstance(body, Mapping) else {}
    code = error.get("code")
    status = code if isinstance(code, int) else _STATUSES.get(str(code), _STATUSES.get(str(error.get("type")), 400))
    return _told(name, status, error, message or str(error.get("message") or "it broke off"), {})


def _told(name: str, status: int, body: object, message: str, headers: Mapping[str, str]) -> Trouble:
    error: Mapping[str, Any] = body if isinstance(body, Mapping) else {}
    message, code = str(error.get("message") or message), str(error.get("code") or "")
    if status == 400 and (_TOO_LONG.search(code) or _TOO_LONG.search(message)):
        return Trouble(TOO_LONG, f"{name} answered {status}: {message}", status=status)
    if code == "insufficient_quota":  # a 429 that no waiting helps
        status = 402
    return trouble(name, status, message, headers)
