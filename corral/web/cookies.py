"""Our cookies: out of reach of scripts and other sites, and over TLS only where there is TLS."""

from __future__ import annotations

from corral.platform.sign_in import SESSION_SECONDS
from corral.web import peers
from corral.web.call import Call

COOKIE = "corral_session"


def signed_in(call: Call, session: str) -> str:
    """Return the header that gives a browser its session."""
    return header(call, COOKIE, session, SESSION_SECONDS)


def signed_out(call: Call) -> str:
    """Return the header that takes a browser's session away."""
    return header(call, COOKIE, "", 0)


def header(call: Call, name: str, value: str, seconds: int, *, path: str = "/") -> str:
    """Return the header that has a browser keep something for so long, and show it below this path only."""
    secure = "; Secure" if peers.is_secure(call.request, call.settings) else ""
    return f"{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"
