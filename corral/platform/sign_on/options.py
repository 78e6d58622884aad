"""What an operator says of the OpenID provider: where it is, and whom it may let in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from corral.base.env import read, read_number
from corral.base.errors import BadRequest
from corral.platform.access import Role

ANY_DOMAIN = "*"
_JOINS = (Role.ADMIN, Role.MEMBER, Role.VIEWER)
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class SignOn:
    """The provider, and who may come in by it. Without `join`, people who have an account or an invitation."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    name: str = "single sign-on"  #: what the button says
    domains: tuple[str, ...] = ()  #: of verified email addresses that may come in; empty or `*`: any
    join: Role | None = None  #: what somebody unknown becomes; None: nobody unknown comes in
    org: int = 1  #: where they become it

    def allows(self, email: str | None) -> bool:
        """Tell whether somebody with this verified address (None: none is verified) may come in at all."""
        if not self.domains or ANY_DOMAIN in self.domains:
            return True
        return email is not None and email.rpartition("@")[2].lower() in self.domains


def from_env(env: Mapping[str, str]) -> SignOn | None:
    """Build it from `CORRAL_OIDC_*`; None if no provider is named."""
    issuer = read(env, "CORRAL_OIDC_ISSUER")
    if not issuer:
        return None
    if not is_safe(issuer):
        raise BadRequest("CORRAL_OIDC_ISSUER must be an https:// address", field="CORRAL_OIDC_ISSUER")
    client_id, client_secret = read(env, "CORRAL_OIDC_CLIENT_ID"), read(env, "CORRAL_OIDC_CLIENT_SECRET")
    for name, value in (("CORRAL_OIDC_CLIENT_ID", client_id), ("CORRAL_OIDC_CLIENT_SECRET", client_secret)):
        if not value:
            raise BadRequest(f"CORRAL_OIDC_ISSUER needs {name} as well: the provider gave it to you", field=name)
    domains = tuple(read(env, "CORRAL_OIDC_DOMAINS").lower().replace(",", " ").replace("@", "").split())
    join = read(env, "CORRAL_OIDC_JOIN").lower()
    if join not in {"", *_JOINS}:
        raise BadRequest(f"CORRAL_OIDC_JOIN must be one of {', '.join(_JOINS)}, not {join!r}", field="CORRAL_OIDC_JOIN")
    if join and not domains:
        raise BadRequest(
            "CORRAL_OIDC_JOIN lets people in whom nobody invited: say in CORRAL_OIDC_DOMAINS whose email addresses "
            "may, or * for anybody with an account at the provider",
            field="CORRAL_OIDC_DOMAINS",
        )
    return SignOn(
        issuer=issuer,
        client_id=client_id,
        client_secret=client_secret,
        name=read(env, "CORRAL_OIDC_NAME", "single sign-on"),
        domains=domains,
        join=Role(join) if join else None,
        org=int(read_number(env, "CORRAL_OIDC_ORG", 1, least=1)),
    )


def is_safe(url: str) -> bool:
    """Tell whether nobody between us and this address can read along: TLS, or our own machine."""
    try:
        parts = urlsplit(url)
        is_private = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
        return is_private and bool(parts.hostname) and parts.port != 0  # to ask for the port is to check it
    except ValueError:
        return False
