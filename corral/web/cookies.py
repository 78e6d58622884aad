"""The cookie of a console session: out of reach of scripts and other sites, and over TLS only where there is TLS."""

from __future__ import annotations

from corral.platform.sign_in import SESSION_SECONDS
from corral.web import peers
from corral.web.call import Call

COOKIE = "corral_session"


def signed_in(call: Call, session: str) -> str:
    """Return the header that gives a browser its session."""
    return _cookie(call, session, SESSION_SECONDS)


def signed_out(call: Call) -> str:
    """Return the header that takes a browser's session away."""
    return _cookie(call, "", 0)


def _cookie(call: Call, value: str, seconds: int) -> str:
    secure = "; Secure" if peers.is_secure(call.request, call.settings) else ""
    return f"{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"
