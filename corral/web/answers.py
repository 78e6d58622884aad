"""Answers, and the headers that all of them carry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
from sanic.response import HTTPResponse

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
CSV = "text/csv; charset=utf-8"
EVENTS = "text/event-stream"

#: No script, style or connection but our own; no frame around us; no address of ours told to others.
SECURITY = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; font-src 'self'; "
        "img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_ALWAYS = tuple((name.encode(), value.encode()) for name, value in SECURITY.items())
_SAFE = str.maketrans("", "", "\r\n\0")
_NO_STORE = "no-store"

_encode = msgspec.json.Encoder().encode


class Answer(HTTPResponse):
    """A response with the security headers, which are encoded once for all."""

    @property
    def processed_headers(self) -> Iterator[tuple[bytes, bytes]]:
        """Return every header, encoded, with nothing in it that could start another."""
        if self.status not in {204, 304}:
            self.headers.setdefault("content-type", self.content_type)
        yield from _ALWAYS
        for name, value in self.headers.items():
            if name == "alt-svc":  # Sanic's word about a protocol that we do not speak
                continue
            text = value if isinstance(value, str) and value.isprintable() else f"{value}".translate(_SAFE)
            yield name.encode("ascii"), text.encode(errors="surrogateescape")


def as_json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer a struct, or anything msgspec encodes; `bytes` must be JSON already."""
    body = value if isinstance(value, bytes) else _encode(value)
    return Answer(body, status, headers={"cache-control": _NO_STORE, **(headers or {})}, content_type=JSON)


def as_text(text: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer plain text."""
    return Answer(text, status, headers={"cache-control": _NO_STORE, **(headers or {})}, content_type=TEXT)


def as_html(text: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer a page."""
    return Answer(text, status, headers={"cache-control": _NO_STORE, **(headers or {})}, content_type=HTML)


def empty(status: int = 204, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer without a body."""
    return Answer(None, status, headers=dict(headers or {}))


def redirect(path: str, status: int = 303, headers: Mapping[str, str] | None = None) -> Answer:
    """Lead to another path of this server."""
    return Answer(None, status, headers={"location": path, **(headers or {})}, content_type=TEXT)
