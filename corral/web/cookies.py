"""Our cookies: out of reach of scripts and other sites, and over TLS only where there is TLS."""

from __future__ import annotations

from sanic.request import Request

from corral.platform.settings import Settings
from corral.platform.sign_in import SESSION_SECONDS
from corral.web import peers
from corral.web.call import Call

COOKIE = "corral_session"
#: What browsers take over TLS alone, and of this very host: no page at a neighbouring name can give somebody a session.
_HOST_ONLY = "__Host-"


def signed_in(call: Call, session: str) -> str:
    """Return the header that gives a browser its session."""
    return header(call, _name(call.request, call.settings), session, SESSION_SECONDS)


def signed_out(call: Call) -> str:
    """Return the header that takes a browser's session away."""
    return header(call, _name(call.request, call.settings), "", 0)


def session(request: Request, settings: Settings) -> str | None:
    """Return the session that a browser shows."""
    # Not the framework's `get`: that would also take other prefixes before the name, which neighbours may use.
    found = dict.get(request.cookies, _name(request, settings))
    return found[0] if found else None


def header(call: Call, name: str, value: str, seconds: int, *, path: str = "/") -> str:
    """Return the header that has a browser keep something for so long, and show it below this path only."""
    secure = "; Secure" if peers.is_secure(call.request, call.settings) else ""
    return f"{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"


def _name(request: Request, settings: Settings) -> str:
    return f"{_HOST_ONLY}{COOKIE}" if peers.is_secure(request, settings) else COOKIE
