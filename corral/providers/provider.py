"""What the loop asks of a provider, and what it hears: the one interface over the official SDKs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import msgspec

from corral.base.errors import CorralError
from corral.platform import metrics
from corral.providers.entries import Call, Stop, View
from corral.wire.tools import ToolSpec


class Ask(msgspec.Struct, frozen=True):
    """A request for the next answer."""

    model: str
    system: str
    view: View
    tools: Sequence[ToolSpec]
    most: int  #: tokens the answer may have, thoughts included
    session_id: str  #: the same for all requests of a conversation: the provider may cache by it
    call_ids: frozenset[str] = frozenset()  #: taken already


class Spent(msgspec.Struct, frozen=True):
    """What an answer cost, in four classes that don't overlap."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_micros: int | None = None  #: in the provider's own words, if it says so

    @property
    def asked(self) -> int:
        """Return the tokens of the whole request."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens


class Words(msgspec.Struct, frozen=True):
    """A whole block of an answer: what it says, or what it thought."""

    block: str  #: names it within the answer, as its pieces were named
    text: str
    is_thought: bool = False


class Reply(msgspec.Struct, frozen=True):
    """A whole answer."""

    id: str
    words: list[Words]
    calls: list[Call]
    stop: Stop
    native: msgspec.Raw
    spent: Spent

    @property
    def text(self) -> str:
        """Return what it says."""
        return "\n\n".join(words.text for words in self.words if not words.is_thought)


class Hearer(Protocol):
    """Who listens while an answer comes."""

    def beat(self) -> None:
        """Something came, whatever it was."""

    def piece(self, block: str, text: str, *, is_thought: bool) -> None:
        """More of a block came."""

    def spent(self, so_far: Spent) -> None:
        """The provider said what was spent so far: it counts if the answer is cut off."""


class Provider(Protocol):
    """One provider's API with one key."""

    name: str

    async def answer(self, ask: Ask, hearer: Hearer) -> Reply:
        """Return the next answer, streamed to the hearer. Raises Trouble."""

    async def close(self) -> None:
        """Let its connections go."""


class Trouble(CorralError):
    """An attempt cannot go on, or not yet."""

    def __init__(
        self,
        code: str,
        message: str,
        hint: str = "",
        *,
        status: int | None = None,
        may_pass: bool = False,
        retry_after: float | None = None,
    ) -> None:
        """Take a stable code for programs, what happened, what to do; and whether the provider lets us ask again."""
        super().__init__(message)
        self.code = code
        self.hint = hint
        self.status = status
        self.may_pass = may_pass
        self.retry_after = retry_after

    def payload(self) -> dict[str, object]:
        """Return it as `run.failed` says it."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


@contextmanager
def measured(provider: str) -> Iterator[None]:
    """Count an answer of this provider, how it ended and how long it took; one that was stopped counts for nothing."""
    begun = time.monotonic()
    try:
        yield
    except Trouble as error:
        outcome = "later" if error.may_pass else "failed"
        metrics.PROVIDER_CALLS.of(provider, outcome).see(time.monotonic() - begun)
        raise
    metrics.PROVIDER_CALLS.of(provider, "ok").see(time.monotonic() - begun)


#: How what a model wrote in place of a JSON object is told back to it.
NOT_AN_OBJECT = "not_a_json_object"


def arguments(text: str | bytes) -> dict[str, Any]:
    """Return a call's input, whatever the model wrote."""
    try:
        value = msgspec.json.decode(text or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError):
        value = text if isinstance(text, str) else text.decode("utf-8", "replace")
    return value if isinstance(value, dict) else {NOT_AN_OBJECT: value}


def encode(value: object) -> msgspec.Raw:
    """Return a value as JSON."""
    try:
        return msgspec.Raw(msgspec.json.encode(value))
    except UnicodeEncodeError:  # half of a surrogate pair
        return msgspec.Raw(clean(json.dumps(value, ensure_ascii=False)).encode())


def clean(text: str) -> str:
    """Return a text as something that UTF-8 can say."""
    return text.encode("utf-8", "replace").decode()


#: The code of a request that is larger than the model's window.
TOO_LONG = "context_too_long"

_HINTS = {
    400: "The API refused the request itself; a retry alone will not help.",
    401: "Check the key in the secrets of the org and of the agent.",
    402: "The account has no credit left, or its plan does not cover this model.",
    403: "The key may not use this model.",
    404: "Check the model's name, and that this account may use it.",
    413: "The request is too large: give the agent less at once.",
    429: "The API's rate limit was reached. Wait a little and retry, or run fewer agents at once.",
}
_CODES = {401: "provider_key_refused", 402: "provider_no_credit", 404: "model_not_found", 429: "rate_limited"}
#: What may be asked again, unless the provider says otherwise.
_PASSES = frozenset({408, 409, 429, 500, 502, 503, 504, 529})


def trouble(name: str, status: int, message: str, headers: Mapping[str, str]) -> Trouble:
    """Return what an API's error means, with whether and when the API lets us ask again."""
    said = headers.get("x-should-retry", "")
    may_pass = said == "true" or (said != "false" and status in _PASSES)
    is_ours = status < 500 and status not in {408, 409}
    return Trouble(
        _CODES.get(status, "model_api_error"),
        f"{name} answered {status}: {message}",
        _HINTS.get(status, _HINTS[400] if is_ours else "The API had a problem of its own. Retry later."),
        status=status,
        may_pass=may_pass,
        retry_after=_seconds(headers),
    )


def unreachable(name: str, error: BaseException) -> Trouble:
    """Return what it means that no answer came, or not all of it."""
    why = str(error.__cause__ or error) or type(error).__name__
    hint = "Retry when the network between the server and the API is well again."
    return Trouble("provider_unreachable", f"{name} could not be reached: {why}", hint, may_pass=True)


def _seconds(headers: Mapping[str, str]) -> float | None:
    for name, divisor in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) / divisor
        except ValueError:
            continue
        if 0 <= seconds < 86_400:
            return seconds
    return None
