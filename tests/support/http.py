"""A small HTTP client: one method a verb, ids filled into the path as the references write it (`/api/v1/runs/:id`)."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from tests.support.waiting import PATIENCE

JSON = dict[str, Any]


class Api:
    """A caller with a key. `key=None` sends no Authorization at all."""

    def __init__(self, url: str, key: str | None) -> None:
        self.url = url
        self.key = key
        # Everything is loopback: no proxies, and no certificates, which would take 50 ms a client to load.
        limits = httpx.Limits(max_connections=None)
        self.client = httpx.Client(base_url=url, timeout=30 * PATIENCE, limits=limits, verify=False, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.client.close()

    def as_key(self, key: str | None) -> Api:
        """The same server, called with another key."""
        return Api(self.url, key)

    def get(self, path: str, *ids: object, **options: Any) -> httpx.Response:
        return self.call("GET", path, *ids, **options)

    def post(self, path: str, *ids: object, **options: Any) -> httpx.Response:
        return self.call("POST", path, *ids, **options)

    def patch(self, path: str, *ids: object, **options: Any) -> httpx.Response:
        return self.call("PATCH", path, *ids, **options)

    def put(self, path: str, *ids: object, **options: Any) -> httpx.Response:
        return self.call("PUT", path, *ids, **options)

    def delete(self, path: str, *ids: object, **options: Any) -> httpx.Response:
        return self.call("DELETE", path, *ids, **options)

    def call(
        self,
        method: str,
        path: str,
        *ids: object,
        body: object = None,
        raw: bytes | str | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Call `path` with each `:name` in it replaced by the next of `ids`. `body` is sent as JSON, `raw` as it is."""
        sent = {**self._auth(), **(headers or {})}
        content: bytes | str | None = raw
        if body is not None:
            content = json.dumps(body)
        if content is not None and "Content-Type" not in sent:
            sent["Content-Type"] = "application/json"
        return self.client.request(method, fill(path, ids), content=content, params=query, headers=sent)

    @contextmanager
    def stream(
        self,
        path: str,
        *ids: object,
        body: object = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[httpx.Response]:
        """An answer that is read as it comes; with a `body` it is a POST's."""
        sent, method = {**self._auth(), **(headers or {})}, "GET" if body is None else "POST"
        with self.client.stream(method, fill(path, ids), json=body, params=query, headers=sent) as response:
            yield response

    def _auth(self) -> dict[str, str]:
        return {} if self.key is None else {"Authorization": f"Bearer {self.key}"}


def fill(path: str, ids: tuple[object, ...]) -> str:
    """Put ids into a path as a reference writes it: `/api/v1/runs/:id` or `/api/runs/{id}`."""
    left = list(ids)
    filled = re.sub(r":[a-z_]+|\{[a-z_]+\}", lambda _: quote(str(left.pop(0)), safe=""), path)
    assert not left, f"more ids than {path} has places"
    return filled


@dataclass
class Frame:
    """One message of an SSE stream."""

    data: str
    id: str | None = None
    event: str | None = None

    def json(self) -> JSON:
        value: JSON = json.loads(self.data)
        return value


def frames(response: httpx.Response) -> Iterator[Frame]:
    """Read an SSE stream frame by frame, to its end."""
    data: list[str] = []
    id_: str | None = None
    event: str | None = None
    for line in _lines(response):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield Frame("\n".join(data), id_, event)
            data, id_, event = [], None, None
        elif name == "data":
            data.append(value)
        elif name == "id":
            id_ = value
        elif name == "event":
            event = value


def _lines(response: httpx.Response) -> Iterator[str]:
    """Lines as a stream has them: httpx also ends one at a U+2028, which an event may hold."""
    begun = ""
    for text in response.iter_text():
        *whole, begun = (begun + text).split("\n")
        yield from (line.removesuffix("\r") for line in whole)


def follow(api: Api, path: str, run_id: str, *, after: int = 0, within: float = 60.0) -> Iterator[Frame]:
    """Watch a run as a browser's EventSource does: reconnect with the last id until the server says 204."""
    last, deadline = after, time.monotonic() + within * PATIENCE
    while True:
        assert time.monotonic() < deadline, f"the stream of {run_id} did not end within {within:g} s (at {last})"
        try:
            with api.stream(path, run_id, headers={"Last-Event-ID": str(last)}) as response:
                if response.status_code == 204:
                    return
                assert response.status_code in (200, 502, 503), response.status_code
                for frame in frames(response):
                    if frame.id is not None:
                        last = int(frame.id)
                    yield frame
                    assert time.monotonic() < deadline, f"the stream of {run_id} goes on after {within:g} s (at {last})"
        except httpx.TransportError:
            pass
        time.sleep(0.05)
