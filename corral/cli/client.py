"""The API as commands call it: JSON in and out, errors as sentences, and a stream that survives reconnects.

On the standard library's HTTP: importing httpx takes longer than most commands do.
"""

from __future__ import annotations

import json
import random
import re
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Iterator
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from corral.cli.errors import CommandError, Refused, Unreachable

_ANSWER_SECONDS = 30.0
_TRIES = 3
#: After so long nothing is tried again: somebody waits.
_ENOUGH_SECONDS = 10.0
#: A server that is away for longer than this is not just restarting a connection.
_NOTICED_SECONDS = 3.0
#: Statuses that pass by themselves.
_PASSING = frozenset({429, 502, 503, 504})
#: A Link that leads to the next page.
_NEXT = re.compile(r'<([^>]*)>; rel="next"')
#: The server sends a comment more often than this while a stream is quiet.
_SILENCE_SECONDS = 60.0


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow none: a key is never carried to another address."""


class Client:
    """Calls one server with one key."""

    def __init__(self, url: str, key: str) -> None:
        """Take the server's address and the bearer key."""
        self.url = url.rstrip("/")
        self._key = key
        host = _host(url)
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise CommandError(
                "The API key holds what no key does: a line break, a space, or letters beyond ASCII",
                hint="Copy it again, or make another where the server runs: corral keys create NAME",
            )
        handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
        if _is_loopback(host):
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    def get(self, path: str, **query: Any) -> Any:
        """Return the answer's JSON; parameters that are None are left out."""
        wanted = {name: value for name, value in query.items() if value is not None}
        return self._patiently("GET", f"{path}?{urlencode(wanted)}" if wanted else path)

    def once(self, path: str) -> Any:
        """Return the answer's JSON, whether or not another try might find another."""
        return self._call("GET", path)

    def text(self, path: str, **query: Any) -> tuple[str, str | None]:
        """Return an answer that is no JSON, and the path of its next page."""
        wanted = {name: value for name, value in query.items() if value is not None}
        try:
            target = f"{path}?{urlencode(wanted)}" if wanted else path
            with self._open("GET", target, headers={"Accept": "*/*"}, seconds=_ANSWER_SECONDS) as response:
                following = _NEXT.fullmatch(response.headers.get("Link") or "")
                return response.read().decode(), following[1] if following else None
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from error

    def put(self, path: str, body: Any) -> Any:
        """Send what something is to be as a whole, return the answer's JSON."""
        return self._patiently("PUT", path, body=body)

    def post(self, path: str, body: Any = None) -> Any:
        """Send JSON once, return the answer's."""
        return self._call("POST", path, body={} if body is None else body)

    def launch(self, path: str, body: Any) -> Any:
        """Send JSON that starts something: again if no answer came, with a key of its own so that it starts once."""
        return self._patiently("POST", path, body=body, headers={"Idempotency-Key": str(uuid.uuid4())})

    def patch(self, path: str, body: Any) -> Any:
        """Send the fields to change, return the answer's JSON."""
        return self._patiently("PATCH", path, body=body)

    def delete(self, path: str) -> Any:
        """Return the answer's JSON, None if it has none."""
        return self._call("DELETE", path)

    def start(self, path: str, body: Any) -> None:
        """Send JSON that starts what the answer would stream, and leave: who leaves does not stop it."""
        headers = {"Accept": "text/event-stream"}
        try:
            self._open("POST", path, data=json.dumps(body).encode(), headers=headers, seconds=_ANSWER_SECONDS).close()
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from error

    def events(
        self, run_id: str, *, after: int = 0, patience: float = 300.0, on_away: Callable[[str], None] = lambda _: None
    ) -> Iterator[dict[str, Any]]:
        """Yield the run's events and live tokens until it ends."""
        path = f"/api/runs/{segment(run_id)}/events/stream"
        hint = f"The run goes on. Look again with: corral logs {run_id} --follow"
        yield from self.watch(path, last_id=str(after), patience=patience, hint=hint, on_away=on_away, is_last=_ends)

    def watch(
        self,
        path: str,
        *,
        first: Callable[[], Iterable[Any]] = tuple,
        last_id: str = "",
        patience: float = 300.0,
        hint: str = "",
        on_away: Callable[[str], None] = lambda _: None,
        is_last: Callable[[Any], bool] = lambda _: False,
    ) -> Iterator[Any]:
        """Yield what a stream sends until it has nothing more; reconnect after the last id seen when the line breaks.

        Where no id was seen yet, what `first` finds once the line is open comes before: nothing falls between the two.
        A stream that the server ends after what `is_last` says of has ended for good.
        Tells `on_away` once when the server stays away, and gives up with `Unreachable` after `patience` seconds of it.
        """
        failed_since: float | None = None
        tries, is_told, is_over = 0, False, False
        while True:
            headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last_id} if last_id else {})}
            try:
                with self._open("GET", path, headers=headers, seconds=_SILENCE_SECONDS) as response:
                    if response.status == 204:
                        return
                    failed_since, is_told = None, False
                    if not last_id:
                        yield from first()
                    for sent_id, data in _server_sent(response):
                        last_id, tries = sent_id or last_id, 0
                        is_over = is_last(data)
                        yield data
                    if is_over:
                        return
            except Refused as error:
                if error.status not in _PASSING:
                    raise
            except (Unreachable, OSError, HTTPException):
                pass
            failed_since = failed_since or time.monotonic()
            away = time.monotonic() - failed_since
            if away > _NOTICED_SECONDS and not is_told:
                is_told = True
                on_away(f"{self.url} does not answer; waiting for it")
            if away > patience:
                raise Unreachable(f"{self.url} has been away for {patience:.0f} s", hint=hint)
            time.sleep(min(0.2 * 2 ** min(tries, 5), 5.0) * random.uniform(0.5, 1.0))
            tries += 1

    def _patiently(self, method: str, target: str, **more: Any) -> Any:
        enough = time.monotonic() + _ENOUGH_SECONDS
        for attempt in range(1, _TRIES + 1):
            try:
                return self._call(method, target, **more)
            except (Refused, Unreachable) as error:
                passing = isinstance(error, Unreachable) or error.status in _PASSING
                if not passing or attempt == _TRIES or time.monotonic() > enough:
                    raise
            time.sleep(attempt * random.uniform(0.3, 0.6))
        raise AssertionError  # the last try returned or raised

    def _call(self, method: str, target: str, *, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json", **(headers or {})}
        try:
            with self._open(method, target, data=data, headers=headers, seconds=_ANSWER_SECONDS) as response:
                return _decoded(response.read())
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from error

    def _open(
        self, method: str, target: str, *, headers: dict[str, str], seconds: float, data: bytes | None = None
    ) -> HTTPResponse:
        request = urllib.request.Request(self.url + target, data=data, method=method, headers=headers)  # noqa: S310
        request.add_header("Authorization", f"Bearer {self._key}")
        if data is not None:
            request.add_header("Content-Type", "application/json")
        try:
            response: HTTPResponse = self._opener.open(request, timeout=seconds)
            return response
        except urllib.error.HTTPError as error:
            with error:
                raise _refused(error.code, error.read(), self.url) from error
        except urllib.error.URLError as error:
            raise self._unreachable(error.reason) from error

    def _unreachable(self, why: object) -> Unreachable:
        if isinstance(why, TimeoutError):
            why = "it does not answer"
        elif isinstance(why, OSError):
            why = why.strerror or why
        return Unreachable(
            f"{self.url} cannot be reached: {why}", hint="Is the server running? `corral doctor` says what is wrong."
        )


#: After one of these nothing follows, unless the run is continued.
_LAST = frozenset({"run.completed", "run.failed", "run.cancelled"})


def _ends(event: Any) -> bool:
    return event.get("event_type") in _LAST


def segment(text: str) -> str:
    """Quote a path segment."""
    return quote(text, safe="")


def _server_sent(response: HTTPResponse) -> Iterator[tuple[str, Any]]:
    """Yield each message's id, empty where it has none, and its data."""
    its_id, data = "", list[str]()
    for raw in response:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif line.startswith("id:"):
            its_id = line[3:].strip()
        elif not line and data:
            yield its_id, json.loads("\n".join(data))
            its_id, data = "", []


def _decoded(content: bytes) -> Any:
    if not content:
        return None
    try:
        return json.loads(content)
    except ValueError:
        return content.decode("utf-8", "replace")


def _refused(status: int, content: bytes, url: str) -> Refused:
    body = _decoded(content)
    error = body.get("error") if isinstance(body, dict) else body
    told = error.get("message") if isinstance(error, dict) else error
    message = str(told or f"{url} answered {status}").strip()
    if status == 401:
        return Refused(
            f"{url} does not know this key: {message}",
            status=status,
            body=body,
            hint="Set CORRAL_API_KEY to a valid one; `corral keys create` on the server's machine makes one.",
        )
    return Refused(message, status=status, body=body)


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and "@" not in parts.netloc:
            return parts.hostname
    except ValueError:
        pass
    shown = re.sub(r"//.*@", "//…@", url)  # no password belongs on a screen
    raise CommandError(f"{shown!r} is not the address of a server", hint="It looks like http://127.0.0.1:3000")


def _is_loopback(host: str) -> bool:
    return host == "localhost" or host.startswith("127.") or host == "::1"
