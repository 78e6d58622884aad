"""Calls to the provider: each sign-in's have one end together, each answer has a length, and what fails is said once.

Needs the extra `oidc`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client

from corral.base import logs
from corral.platform.sign_on.errors import Away, Refused, Untrusted
from corral.platform.sign_on.options import SignOn

log = logs.get_logger()

_SECONDS = 8.0
_MOST_BYTES = 256 * 1024
_SCOPE = "openid profile email"


@asynccontextmanager
async def calls(options: SignOn, callback: str) -> AsyncIterator[AsyncOAuth2Client]:
    """Give a client for one sign-in, and say of whatever goes wrong what people may know; the rest is logged."""
    client = AsyncOAuth2Client(
        options.client_id,
        options.client_secret,
        scope=_SCOPE,
        redirect_uri=callback,
        code_challenge_method="S256",
        headers={"accept-encoding": "identity"},  # a few bytes could become any number
        timeout=_SECONDS,
        follow_redirects=False,
        verify=_authorities(),
        event_hooks={"response": [_bound]},
    )
    try:
        async with asyncio.timeout(_SECONDS), client:
            yield client
    except (TimeoutError, httpx2.TransportError, httpx2.HTTPStatusError, Away) as error:
        log.warning("the sign-on provider does not answer", reason=f"{type(error).__name__} {error}".strip())
        raise Away(f"{options.name} does not answer. Try again in a moment") from error
    except (Untrusted, OAuthError, httpx2.HTTPError, ValueError) as error:
        log.warning("the sign-on provider's answer is refused", reason=str(error)[:500])
        raise Refused(
            f"What {options.name} answered cannot be trusted. Try once more; if it stays so, whoever runs this server "
            "finds the reason in its log"
        ) from error


async def get(client: AsyncOAuth2Client, url: str, token: str = "") -> dict[str, Any]:
    """Return the JSON object at an address of the provider."""
    headers = {"accept": "application/json", **({"authorization": f"Bearer {token}"} if token else {})}
    answer = await client.request("GET", url, withhold_token=True, headers=headers)
    if answer.status_code >= 500:
        raise Away(f"{url} answers {answer.status_code}")
    found = answer.json() if answer.status_code == 200 else None
    if not isinstance(found, dict):
        raise Untrusted(f"{url} answers {answer.status_code}, and no JSON object")
    return found


class _Bounded(httpx2.AsyncByteStream):
    """An answer's body that ends in an error before it fills the memory."""

    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self._inner:
            size += len(piece)
            if size > _MOST_BYTES:
                raise Untrusted(f"the provider's answer is longer than {_MOST_BYTES:,} bytes")
            yield piece

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _bound(response: httpx2.Response) -> None:
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    response.stream = _Bounded(response.stream)


@cache
def _authorities() -> ssl.SSLContext:
    """Load the authorities once: that takes a while."""
    return httpx2.create_ssl_context()
