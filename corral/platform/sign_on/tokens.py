"""Whether an ID token is the provider's word, to us, about whoever just signed in; and whom it names."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from corral.platform.sign_on.errors import UnknownKey, Untrusted

if TYPE_CHECKING:
    from joserfc.jwk import Key, KeySet

#: Signatures that only the provider can make. What is made with a shared secret, or not at all, is none.
ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip
#: Seconds that the provider's clock and ours may differ.
LEEWAY = 60
_LONGEST_SUBJECT = 255
_LONGEST_EMAIL = 254
_LONGEST_NAME = 200
_MOST_KEYS = 100


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom the provider vouches for."""

    issuer: str
    subject: str  #: the provider's own name for them, which never passes to another
    email: str | None = None  #: lower-cased, and only if the provider has verified it
    name: str = ""
    has_unverified_email: bool = False


def key_set(document: Any) -> KeySet:
    """Return the provider's keys; those of a kind that nobody here understands are passed over."""
    from joserfc.errors import JoseError
    from joserfc.jwk import KeySet, import_key

    listed = document.get("keys") if isinstance(document, dict) else None
    keys: list[Key] = []
    for one in (listed if isinstance(listed, list) else [])[:_MOST_KEYS]:
        if not isinstance(one, dict) or one.get("kty") not in {"RSA", "EC", "OKP"} or one.get("use", "sig") != "sig":
            continue
        try:
            keys.append(import_key(one))
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    if not keys:
        raise Untrusted("the provider's jwks_uri lists no key to check signatures with")
    return KeySet(keys)


def check(token: str, keys: KeySet, *, issuer: str, client_id: str, nonce: str, access_token: str) -> dict[str, Any]:
    """Return the claims of an ID token that is right in every respect; raises Untrusted, which names what is not."""
    from authlib.oidc.core import CodeIDToken
    from joserfc import jwt
    from joserfc.errors import InvalidKeyIdError, JoseError

    try:
        decoded = jwt.decode(token, keys, algorithms=list(ALGORITHMS))
        claims = CodeIDToken(
            decoded.claims,
            decoded.header,
            options={"iss": {"essential": True, "value": issuer}, "aud": {"essential": True, "value": client_id}},
            params={"nonce": nonce, "client_id": client_id, "access_token": access_token},
        )
        claims.validate(now=int(time.time()), leeway=LEEWAY)
    except InvalidKeyIdError as error:
        raise UnknownKey("the ID token is signed with a key that the provider does not list") from error
    except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise Untrusted(f"the ID token is not right: {getattr(error, 'error', '')} {error}".strip()) from error
    return dict(claims)


def identity(issuer: str, claims: dict[str, Any], more: dict[str, Any]) -> Identity:
    """Return who these claims are about; `more` is what the provider says of them elsewhere."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT:
        raise Untrusted("the ID token's sub is not a text of 1 to 255 characters")
    if more and more.get("sub") != subject:
        raise Untrusted("the provider's userinfo is about somebody else than its ID token")
    said = claims if claims.get("email") else more
    email, is_verified = said.get("email"), said.get("email_verified") in (True, "true")
    if not (isinstance(email, str) and 3 <= len(email) <= _LONGEST_EMAIL and "@" in email and email.isprintable()):
        email = None
    name = claims.get("name") or more.get("name")
    return Identity(
        issuer=issuer,
        subject=subject,
        email=email.strip().lower() if email is not None and is_verified else None,
        name=name.strip()[:_LONGEST_NAME] if isinstance(name, str) and name.isprintable() else "",
        has_unverified_email=email is not None and not is_verified,
    )
