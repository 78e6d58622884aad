"""Where a request came from, and whether by TLS: only proxies that the operator named are believed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sanic.compat import Header

from corral.base.errors import BadRequest
from corral.platform.settings import from_env
from corral.web import peers


def settings(proxies: str, **env: str) -> Any:
    return from_env({"CORRAL_PROXIES": proxies, **env}, data=Path())


def request(peer: str, *forwarded: str, proto: str = "") -> Any:
    headers = Header([("x-forwarded-for", one) for one in forwarded])
    if proto:
        headers["x-forwarded-proto"] = proto
    return SimpleNamespace(ip=peer, headers=headers, scheme="http")


@pytest.mark.parametrize(
    ("proxies", "peer", "forwarded", "found"),
    [
        ("", "192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        ("10.0.0.0/8", "192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        ("10.0.0.0/8", "10.1.2.3", [], "10.1.2.3"),
        ("10.0.0.0/8", "10.1.2.3", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.0/8", "10.1.2.3", ["203.0.113.9, 198.51.100.7"], "198.51.100.7"),  # the first is what a client wrote
        ("10.0.0.0/8 192.0.2.0/24", "10.1.2.3", ["203.0.113.9, 198.51.100.7, 192.0.2.4"], "198.51.100.7"),
        ("10.0.0.0/8", "10.1.2.3", ["203.0.113.9", "198.51.100.7"], "198.51.100.7"),
        ("10.0.0.0/8", "10.1.2.3", ["10.9.9.9"], "10.9.9.9"),
        ("10.0.0.0/8", "10.1.2.3", ["203.0.113.9, <script>"], "10.1.2.3"),
        ("10.0.0.0/8", "10.1.2.3", ["198.51.100.7:55123"], "198.51.100.7"),
        ("10.0.0.0/8", "::ffff:10.1.2.3", ["[2001:db8::7]:443"], "2001:db8::7"),
        ("::1", "::1", ["2001:db8::7"], "2001:db8::7"),
        ("::1", "fe80::1%eth0", ["2001:db8::7"], "fe80::1"),
        ("127.0.0.1", "", ["198.51.100.7"], ""),
    ],
)
def test_the_caller_is_the_last_one_that_is_no_trusted_proxy(
    proxies: str, peer: str, forwarded: list[str], found: str
) -> None:
    assert peers.address(request(peer, *forwarded), settings(proxies).proxies) == found


def test_tls_is_believed_of_a_trusted_proxy_the_connection_and_the_public_address() -> None:
    trusting = settings("10.0.0.0/8")
    assert peers.is_secure(request("10.1.2.3", proto="https"), trusting)
    assert not peers.is_secure(request("192.0.2.1", proto="https"), trusting)
    assert not peers.is_secure(request("10.1.2.3", proto="http"), trusting)
    assert not peers.is_secure(request("10.1.2.3"), trusting)
    assert peers.is_secure(request("192.0.2.1"), settings("", CORRAL_PUBLIC_URL="https://corral.example"))


def test_what_is_no_network_is_refused_at_the_start() -> None:
    with pytest.raises(BadRequest, match=r"CORRAL_PROXIES.*10\.0\.0\.0/33"):
        settings("10.0.0.0/33")
    with pytest.raises(BadRequest, match="CORRAL_PROXIES"):
        settings("proxy.example")
