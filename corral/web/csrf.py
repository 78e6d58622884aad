"""Requests that come with a cookie come from our own pages: by their origin, and for forms by a token as well."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from sanic.request import Request

from corral.base.errors import Forbidden
from corral.platform.access import Principal
from corral.platform.settings import Settings

FIELD = "csrf"
HEADER = "x-csrf-token"
_MIN_LENGTH = 32


def token(principal: Principal) -> str:
    """Return the token for this console session's forms; it tells nothing about the session.

    It changes with the org that is looked at: what was written in one is not done in another that the same browser
    was switched to meanwhile.
    """
    assert principal.sign_in is not None, "only a console session has forms"
    return hmac.new(principal.sign_in.encode(), b"corral form %d" % principal.org_id, "sha256").hexdigest()


def check_form(principal: Principal, sent: str) -> None:
    """Raise Forbidden unless `sent` is the token of this session, in the org that it looks at now."""
    if len(sent) < _MIN_LENGTH or not hmac.compare_digest(sent.encode(errors="replace"), token(principal).encode()):
        raise Forbidden("This form is out of date; reload the page and send it again")


def check_visitor(request: Request, settings: Settings) -> None:
    """Raise Forbidden if a page of another site would sign somebody in here; who is no browser tells no origin."""
    if any(request.headers.getone(name, "") for name in ("origin", "referer", "sec-fetch-site")):
        check_origin(request, settings)


def check_origin(request: Request, settings: Settings) -> None:
    """Raise Forbidden unless the request was made by a page of this server."""
    if request.headers.getone("sec-fetch-site", "") in {"same-origin", "none"}:
        return
    origin = request.headers.getone("origin", "") or request.headers.getone("referer", "")
    came_from = _host(origin)
    ours = {request.headers.getone("host", "").lower(), _host(settings.url)}
    if not came_from or came_from not in ours:
        raise Forbidden("This request did not come from a page of this server (see its Origin)")


def _host(url: str) -> str:
    """Return what a URL is at; nothing if it is none."""
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""
