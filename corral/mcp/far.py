"""A server that is called over HTTP: at an address that the operator allows, and no more of it than can be read."""

from __future__ import annotations

import functools
import ssl
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import httpx2

from corral.mcp.allowance import MOST_BYTES, Allowance
from corral.mcp.incoming import Incoming
from corral.mcp.reach import Reach
from corral.wire.agents import McpServer

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams

_SECONDS = 30.0  #: to connect, and to send


@asynccontextmanager
async def transport(
    server: McpServer,
    reach: Reach,
    allowance: Allowance,
    *,
    on_status: Callable[[int], None],
    on_end: Callable[[], None],
) -> AsyncIterator[TransportStreams]:
    """Yield what the official client reads and writes."""
    from mcp.client.streamable_http import streamable_http_client

    url, headers = server.url or "", httpx2.Headers(server.headers)
    headers["accept-encoding"] = "identity"  # a few bytes could become any number
    client = httpx2.AsyncClient(
        headers=headers,
        timeout=httpx2.Timeout(_SECONDS, read=None),  # who calls limits the time
        transport=_Measured(_transport(httpx2.URL(url), reach), allowance, on_status),
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(client)
        reading, writing = await stack.enter_async_context(
            streamable_http_client(url, http_client=client, max_sse_event_size=MOST_BYTES)
        )
        yield Incoming(reading, allowance, on_end), writing


class _Measured(httpx2.AsyncBaseTransport):
    """Requests whose answers are measured as they come."""

    def __init__(
        self, inner: httpx2.AsyncBaseTransport, allowance: Allowance, on_status: Callable[[int], None]
    ) -> None:
        self._inner = inner
        self._allowance = allowance
        self._on_status = on_status

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self._allowance.take(0, 1)  # it may have the official client come again and again
        response = await self._inner.handle_async_request(request)
        if request.method == "POST":  # a server need not have the other methods
            self._on_status(response.status_code)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise httpx2.DecodingError("it packs its answers although it was asked not to", request=request)
        is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
        return httpx2.Response(
            response.status_code,
            headers=response.headers,
            stream=_Body(response.stream, self._allowance, None if is_stream else MOST_BYTES),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Body(httpx2.AsyncByteStream):
    """What comes of an answer. A stream of events has no end, each of its events has."""

    def __init__(self, inner: httpx2.AsyncByteStream, allowance: Allowance, most: int | None) -> None:
        self._inner = inner
        self._allowance = allowance
        self._most = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self._inner:
            size += len(piece)
            if self._most is not None and size > self._most:
                self._allowance.too_long()
            self._allowance.take(len(piece))
            yield piece

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Pinned(httpx2.AsyncBaseTransport):
    """Requests to the very address that was looked at: its name may stand for another a moment later."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._inner = httpx2.AsyncHTTPTransport(verify=_authorities())

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            addresses = await self._reach.addresses(url.host, port)
        except OSError as error:
            raise httpx2.ConnectError(str(error), request=request) from error
        for address in addresses[:-1]:
            try:
                return await self._inner.handle_async_request(_at(address, request))
            except httpx2.ConnectError:
                continue
        return await self._inner.handle_async_request(_at(addresses[-1], request))

    async def aclose(self) -> None:
        await self._inner.aclose()


def _at(address: str, request: httpx2.Request) -> httpx2.Request:
    return httpx2.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": request.url.host},
    )


def _transport(url: httpx2.URL, reach: Reach) -> httpx2.AsyncBaseTransport:
    """Return what reaches a URL: the proxy of our environment, which decides for itself; else what is limited."""
    proxies = urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if proxy and not urllib.request.proxy_bypass(url.host):
        return httpx2.AsyncHTTPTransport(verify=_authorities(), proxy=proxy if "://" in proxy else f"http://{proxy}")
    return _Pinned(reach) if reach.is_limited else httpx2.AsyncHTTPTransport(verify=_authorities())


@functools.cache
def _authorities() -> ssl.SSLContext:
    """Load the authorities once: that takes a while."""
    return httpx2.create_ssl_context()
