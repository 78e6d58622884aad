"""Who is at the other end: the address of a request, and whether it came over TLS, as trusted proxies tell it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from sanic.request import Request

from corral.platform.settings import Network, Settings


def address(request: Request, proxies: Sequence[Network]) -> str:
    """Return where a request came from: the peer, or, if that is a trusted proxy, the last one that is none."""
    found = _plain(request.ip or "")
    if not proxies or not _is_in(found, proxies):
        return found
    for hop in reversed(",".join(request.headers.getall("x-forwarded-for", [])).split(",")):
        plain = _plain(hop)
        if not plain:  # nothing that a proxy would write: whoever did may have written what is before it, too
            break
        found = plain
        if not _is_in(found, proxies):
            break
    return found


def is_secure(request: Request, settings: Settings) -> bool:
    """Tell whether the browser speaks TLS, with us or with the proxy in front."""
    if request.scheme == "https" or settings.url.startswith("https:"):
        return True
    told = request.headers.getone("x-forwarded-proto", "").strip().lower()
    return told == "https" and _is_in(_plain(request.ip or ""), settings.proxies)


def _plain(hop: str) -> str:
    """Return an address without brackets, port, zone and its dress as IPv6; nothing if it is none."""
    text = hop.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


def _is_in(plain: str, networks: Sequence[Network]) -> bool:
    return bool(plain) and any(ipaddress.ip_address(plain) in network for network in networks)
