"""A sign-in on its way through the provider: what the browser keeps of it meanwhile, in a cookie that we signed."""

from __future__ import annotations

import hashlib
import hmac
from functools import cache
from typing import Any

import msgspec
from itsdangerous import BadData, URLSafeTimedSerializer

from corral.base.ids import new_token

#: So long somebody may take at the provider.
SECONDS = 600
_VERIFIER_BYTES = 48


class Flow(msgspec.Struct, frozen=True):
    """One way there and back. Whoever comes back without it, or with another's `state`, did not begin it."""

    state: str
    nonce: str
    verifier: str  #: of PKCE: only who began can use the code
    invitation: str = ""  #: the token of what is accepted this way
    user_id: str = ""  #: who connects the provider with their account

    def matches(self, state: str) -> bool:
        """Tell whether an answer belongs to it."""
        return hmac.compare_digest(self.state.encode(), state.encode(errors="replace"))


def begin(*, invitation: str = "", user_id: str = "") -> Flow:
    """Return a new one, with values that nobody can guess."""
    return Flow(new_token(32), new_token(32), new_token(_VERIFIER_BYTES), invitation, user_id)


def pack(flow: Flow, client_secret: str) -> str:
    """Return it as the cookie's value."""
    return str(_serializer(client_secret).dumps(msgspec.to_builtins(flow)))


def unpack(packed: str, client_secret: str) -> Flow | None:
    """Return what a cookie holds; None if it is not ours, or too old."""
    try:
        value: Any = _serializer(client_secret).loads(packed, max_age=SECONDS)
        return msgspec.convert(value, Flow)
    except (BadData, msgspec.ValidationError):
        return None


@cache
def _serializer(client_secret: str) -> URLSafeTimedSerializer:
    # Every server has the client's secret, so that it does not matter which one the browser comes back to.
    key = hmac.new(client_secret.encode(), b"corral sign-on", "sha256").digest()
    return URLSafeTimedSerializer(key, salt="flow", signer_kwargs={"digest_method": hashlib.sha256})
