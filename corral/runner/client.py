"""The runner's calls, and what their failures mean: try again, give up, or the lease is gone."""

from __future__ import annotations

import ssl
from typing import Any, TypeVar

import httpx
import msgspec

from corral.base.errors import CorralError
from corral.base.ids import new_id
from corral.wire.events import EventBatch, EventsStored
from corral.wire.runner import CommandResult, Poll, PollAnswer, Register, Registered
from corral.wire.tools import ToolAnswer, ToolCall

T = TypeVar("T")

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 20.0
#: A poll's answer comes at the latest so long after its wait; later means that the network dropped it.
POLL_SLACK_SECONDS = 10.0


class Failed(CorralError):
    """A call has failed."""

    call: str | None = None  #: the id of the request: the server's log has it as `request_id`

    @property
    def told(self) -> dict[str, str]:
        """Return what a line of the log says of it."""
        return {"why": self.message, **({"call": self.call} if self.call else {})}


class Retryable(Failed):
    """The server is away for the moment."""

    def __init__(self, message: str, *, after: float = 0.0) -> None:
        """Take what happened, and the seconds the server asked us to wait."""
        super().__init__(message)
        self.after = after


class Refused(Failed):
    """The server will not do this, however often it is asked."""

    def __init__(self, message: str, *, status: int) -> None:
        """Take the server's words and its HTTP status."""
        super().__init__(message)
        self.status = status

    @property
    def is_about_the_key(self) -> bool:
        """Tell whether another key would help."""
        return self.status in {401, 403}


class Client:
    """One server. Every call may be repeated: each names what it is about, and doing it twice changes nothing."""

    def __init__(self, url: str, api_key: str, *, connections: int = 32) -> None:
        """Take the server's URL and the key, which goes into one header and nowhere else."""
        self.url = url
        # Loading the authorities takes a while, and is of no use where nobody is asked for one.
        verify = httpx.create_ssl_context() if url.startswith("https:") else False
        self._http = _http(url, verify, connections, connections, {"authorization": f"Bearer {api_key}"})
        #: Calls of tools wait, and runs that wait are without number: they must not keep the poll from a connection.
        self._tools = _http(url, verify, None, connections, {})
        self._encode = msgspec.json.Encoder().encode

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        await self._tools.aclose()

    async def is_up(self) -> bool:
        """Tell whether the server answers at all; raise Retryable when it does not."""
        return await self._call("GET", "/api/health", None, object) is not None

    async def register(self, register: Register) -> Registered:
        """Say who we are and begin a session."""
        return await self._call("POST", "/api/v1/runners/register", register, Registered)

    async def poll(self, runner: int, poll: Poll) -> PollAnswer:
        """Renew the lease, say what we hold, and wait for something to do."""
        path = f"/api/v1/runners/{runner}/poll"
        return await self._call("POST", path, poll, PollAnswer, timeout=_waiting(poll.wait_seconds))

    async def send(self, run_id: str, batch: EventBatch) -> EventsStored:
        """Send events, usage and tokens of an attempt."""
        return await self._call("POST", f"/api/v1/runs/{run_id}/events", batch, EventsStored)

    async def finish(self, runner: int, command_id: str, result: CommandResult) -> None:
        """Say how a command ended."""
        await self._call("POST", f"/api/v1/runners/{runner}/commands/{command_id}", result, object)

    async def call(self, token: str, tool: str, call: ToolCall) -> ToolAnswer:
        """Call one of Corral's tools for the run whose token it is, and wait for what comes of it."""
        return await self._call(
            "POST", f"/api/v1/tools/{tool}", call, ToolAnswer, timeout=_waiting(call.wait_seconds), token=token
        )

    async def _call(
        self,
        method: str,
        path: str,
        body: msgspec.Struct | None,
        answer: type[T],
        *,
        timeout: Any = httpx.USE_CLIENT_DEFAULT,
        token: str | None = None,
    ) -> T:
        content = None if body is None else self._encode(body)
        headers = {"x-request-id": new_id()}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        http = self._http if token is None else self._tools
        try:
            response = await http.request(method, path, content=content, timeout=timeout, headers=headers)
        except httpx.HTTPError as error:
            raise Retryable(f"{self.url} does not answer ({type(error).__name__}{_colon(error)})") from error
        if not response.is_success:
            failure = _failure(response)
            failure.call = headers["x-request-id"]
            raise failure
        try:
            return msgspec.json.decode(response.content or b"null", type=answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            # A proxy's page, or a server much newer or older than we are: neither heals by sending something else.
            raise Retryable(f"{self.url}{path} answered something else than Corral does: {error}", after=5.0) from error


def _http(
    url: str, verify: ssl.SSLContext | bool, connections: int | None, kept: int, headers: dict[str, str]
) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=url,
        headers={"content-type": "application/json", "accept": "application/json", **headers},
        timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=kept, keepalive_expiry=60),
        verify=verify,
    )


def _waiting(seconds: float) -> httpx.Timeout:
    """Return how long to wait for an answer that the server may hold back for so long."""
    return httpx.Timeout(seconds + POLL_SLACK_SECONDS, connect=CONNECT_SECONDS)


def _failure(response: httpx.Response) -> Failed:
    status, words = response.status_code, _words(response)
    if status >= 500 or status in {408, 425, 429}:
        return Retryable(f"{response.url.path} answered {status}: {words}", after=_retry_after(response))
    if status in {404, 409} and response.url.path.startswith("/api/v1/") and not _is_corrals(response):
        # A proxy whose backend is being replaced: runs are not given up for that.
        return Retryable(f"{response.url.path} answered {status}, but not as Corral does", after=5.0)
    return Refused(words, status=status)


def _words(response: httpx.Response) -> str:
    """Return the server's own sentence, in whichever of its error shapes it came."""
    try:
        error = msgspec.json.decode(response.content)["error"]
        return str(error["message"] if isinstance(error, dict) else error)[:500]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        return response.text[:200].strip() or f"HTTP {response.status_code}"


def _is_corrals(response: httpx.Response) -> bool:
    try:
        return "code" in msgspec.json.decode(response.content)["error"]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        return False


def _retry_after(response: httpx.Response) -> float:
    try:
        return min(max(float(response.headers.get("retry-after", 0)), 0.0), 120.0)
    except ValueError:
        return 0.0


def _colon(error: Exception) -> str:
    return f": {error}" if str(error) else ""
