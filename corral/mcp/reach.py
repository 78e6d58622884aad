"""What MCP servers of agents inside the platform may be: started on its machine, and called in its network.

An org's admins add MCP servers, the operator has the machine. Where these are the same people, as with the database of
the data directory, everything goes. Where they need not be, no command is started here, and nothing is called that the
internet could not call: not this machine, not what is beside it, not a cloud's metadata.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from corral.base.errors import BadRequest, CorralError
from corral.platform.settings import Settings

_ANY = "*"


class NotAllowed(CorralError):
    """The operator does not allow that here."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What one server process allows."""

    stdio: bool = True
    hosts: Sequence[str | IPv4Network | IPv6Network] = (_ANY,)  #: beside public ones

    @property
    def is_limited(self) -> bool:
        """Tell whether some addresses are out of reach."""
        return _ANY not in self.hosts

    async def addresses(self, host: str, port: int) -> list[str]:
        """Return where a host may be called. Raises NotAllowed, and OSError if nobody knows it."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
        if not self.is_limited or host.lower() in self.hosts:
            return addresses
        allowed = [address for address in addresses if self._allows(ipaddress.ip_address(address.partition("%")[0]))]
        if not allowed:
            raise NotAllowed(
                f"{host} is not on the public internet, and CORRAL_PROVIDER_HOSTS does not name it: agents inside the "
                "platform cannot reach it. Agents on a machine may"
            )
        return allowed

    def _allows(self, address: IPv4Address | IPv6Address) -> bool:
        plain = (getattr(address, "ipv4_mapped", None) or address) if address.version == 6 else address
        if plain.is_global and not plain.is_multicast:
            return True
        return any(not isinstance(one, str) and plain in one for one in self.hosts)


_current = Reach()


def use(settings: Settings) -> None:
    """Let the settings decide for this process."""
    global _current  # noqa: PLW0603 - one answer a process, given by the composition root
    _current = Reach(
        stdio=settings.is_embedded if settings.provider_stdio is None else settings.provider_stdio,
        hosts=tuple(map(_host, settings.provider_hosts)) or ((_ANY,) if settings.is_embedded else ()),
    )


def current() -> Reach:
    """Return what this process allows."""
    return _current


def _host(name: str) -> str | IPv4Network | IPv6Network:
    try:
        return ipaddress.ip_network(name, strict=False)
    except ValueError:
        pass
    if name != _ANY and ("/" in name or ":" in name):
        raise BadRequest(
            f"CORRAL_PROVIDER_HOSTS must name hosts, addresses, networks like 10.0.0.0/8, or *, not {name!r}",
            field="CORRAL_PROVIDER_HOSTS",
        )
    return name.lower()
