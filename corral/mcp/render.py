"""What a run is given of MCP servers: their references to secrets, replaced by the values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from corral.mcp.servers import Server
from corral.wire.agents import McpServer

_REFERENCE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")


class Missing(NamedTuple):
    """A secret that a server refers to and nobody has stored."""

    server: str
    key: str


class Rendered(NamedTuple):
    """Servers that can be used, and what the others lack."""

    servers: list[McpServer]
    missing: list[Missing]


def render(servers: Sequence[Server], values: Mapping[str, str]) -> Rendered:
    """Replace `${NAME}` in `env` and `headers`, and nowhere else: arguments can be read by anybody on a machine."""
    rendered = Rendered([], [])
    for server in servers:
        missing = [Missing(server.name, key) for key in references(server) if key not in values]
        if missing:
            rendered.missing.extend(missing)
            continue
        rendered.servers.append(
            McpServer(
                name=server.name,
                transport=server.transport,
                command=server.command,
                args=tuple(server.args),
                url=server.url,
                env=_replaced(server.env, values),
                headers=_replaced(server.headers, values),
                allow=tuple(server.allow),
                ask=tuple(server.ask),
                deny=tuple(server.deny),
                id=server.id,
            )
        )
    return rendered


def references(server: Server) -> list[str]:
    """Return the names of the secrets that a server refers to, each once."""
    texts = [*server.env.values(), *server.headers.values()]
    return list(dict.fromkeys(key for text in texts for key in _REFERENCE.findall(text)))


def _replaced(texts: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    return {name: _REFERENCE.sub(lambda found: values[found[1]], text) for name, text in texts.items()}
