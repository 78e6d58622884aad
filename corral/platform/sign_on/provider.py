"""The provider: what it says of itself, where it sends a browser, and whom the code stands for that comes back."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec

from corral.base import logs
from corral.base.errors import BadRequest
from corral.platform.sign_on import flow as flows
from corral.platform.sign_on import tokens
from corral.platform.sign_on.errors import UnknownKey, Untrusted
from corral.platform.sign_on.flow import Flow
from corral.platform.sign_on.options import SignOn, is_safe
from corral.platform.sign_on.tokens import Identity

if TYPE_CHECKING:
    from authlib.integrations.httpx_client import AsyncOAuth2Client
    from joserfc.jwk import KeySet

#: Where the provider sends browsers back to, below the server's own address.
CALLBACK = "/app/sign-in/provider/back"
_KEPT = 3600.0  #: seconds that we believe what it said of itself


class Metadata(msgspec.Struct, frozen=True):
    """What a provider says of itself, of which we need this much."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class Provider:
    """The one provider of a server process."""

    def __init__(self, options: SignOn, url: str) -> None:
        """Take what the operator says, and where browsers reach this server."""
        try:
            from corral.platform.sign_on.calls import calls, get
        except ImportError:
            raise BadRequest(
                "CORRAL_OIDC_ISSUER needs libraries that are not installed: pip install 'corral[oidc]'",
                field="CORRAL_OIDC_ISSUER",
            ) from None
        logs.conceal([("CORRAL_OIDC_CLIENT_SECRET", options.client_secret)])
        self.options = options
        self._calls, self._get = calls, get
        self._callback = url + CALLBACK
        self._asking = asyncio.Lock()
        self._metadata: tuple[float, Metadata] | None = None
        self._keys: tuple[float, KeySet] | None = None

    async def begin(self, flow: Flow) -> str:
        """Return where to send the browser. Raises Away or Refused, as `finish` does."""
        async with self._calls(self.options, self._callback) as client:
            metadata = await self._about_itself(client)
            url, _ = client.create_authorization_url(
                metadata.authorization_endpoint, state=flow.state, nonce=flow.nonce, code_verifier=flow.verifier
            )
        return str(url)

    async def finish(self, flow: Flow, *, code: str, issuer: str = "") -> Identity:
        """Return whom the code stands for; `issuer` is who answered, if the answer says so."""
        async with self._calls(self.options, self._callback) as client:
            metadata = await self._about_itself(client)
            # A code of another provider must not be sent to this one (RFC 9207).
            if (issuer or metadata.authorization_response_iss_parameter_supported) and issuer != metadata.issuer:
                raise Untrusted("the answer came from another issuer")
            granted = await self._redeem(client, metadata, flow, code)
            claims = await self._checked(client, metadata, flow, granted)
            more: dict[str, Any] = {}
            if not claims.get("email") and metadata.userinfo_endpoint:
                more = await self._get(client, metadata.userinfo_endpoint, str(granted.get("access_token")))
            return tokens.identity(metadata.issuer, claims, more)

    def pack(self, flow: Flow) -> str:
        """Return the cookie for a way there and back."""
        return flows.pack(flow, self.options.client_secret)

    def unpack(self, packed: str) -> Flow | None:
        """Return what such a cookie holds, None if that is nothing of use."""
        return flows.unpack(packed, self.options.client_secret)

    async def _redeem(self, client: AsyncOAuth2Client, metadata: Metadata, flow: Flow, code: str) -> dict[str, Any]:
        methods = metadata.token_endpoint_auth_methods_supported
        if "client_secret_basic" not in methods and "client_secret_post" in methods:
            client.token_endpoint_auth_method = "client_secret_post"
        try:
            granted = await client.fetch_token(
                metadata.token_endpoint,
                grant_type="authorization_code",
                code=code,
                code_verifier=flow.verifier,
                redirect_uri=self._callback,
            )
        except TypeError as error:  # of what the library takes a field of the answer for
            raise Untrusted(f"the provider's answer to the code is not usable: {error}") from error
        if not isinstance(granted, dict) or not isinstance(granted.get("id_token"), str):
            raise Untrusted("the provider gave no ID token for the code")
        return granted

    async def _checked(
        self, client: AsyncOAuth2Client, metadata: Metadata, flow: Flow, granted: dict[str, Any]
    ) -> dict[str, Any]:
        expected = {"issuer": metadata.issuer, "client_id": self.options.client_id, "nonce": flow.nonce}
        token, access = granted["id_token"], str(granted.get("access_token") or "")
        try:
            return tokens.check(token, await self._signers(client, metadata), access_token=access, **expected)
        except UnknownKey:
            # It has new keys, perhaps since less than an hour. One more look is enough.
            self._keys = None
            return tokens.check(token, await self._signers(client, metadata), access_token=access, **expected)

    async def _about_itself(self, client: AsyncOAuth2Client) -> Metadata:
        async with self._asking:
            if self._metadata is None or time.monotonic() - self._metadata[0] > _KEPT:
                found = await self._get(client, f"{self.options.issuer.rstrip('/')}/.well-known/openid-configuration")
                self._metadata = time.monotonic(), _metadata(found, self.options)
            return self._metadata[1]

    async def _signers(self, client: AsyncOAuth2Client, metadata: Metadata) -> KeySet:
        async with self._asking:
            if self._keys is None or time.monotonic() - self._keys[0] > _KEPT:
                self._keys = time.monotonic(), tokens.key_set(await self._get(client, metadata.jwks_uri))
            return self._keys[1]


def _metadata(found: dict[str, Any], options: SignOn) -> Metadata:
    try:
        metadata = msgspec.convert(found, Metadata)
    except msgspec.ValidationError as error:
        raise Untrusted(f"the provider's configuration is not usable: {error}") from error
    if metadata.issuer.rstrip("/") != options.issuer.rstrip("/"):
        raise Untrusted("the provider's configuration names another issuer than CORRAL_OIDC_ISSUER")
    urls = (metadata.authorization_endpoint, metadata.token_endpoint, metadata.jwks_uri, metadata.userinfo_endpoint)
    if not all(is_safe(url) for url in urls if url):
        raise Untrusted("the provider's configuration names an address without TLS")
    return metadata
