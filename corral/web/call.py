"""One request on its way through: who calls, what was sent, and what its answer will carry."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from sanic.exceptions import BadURL
from sanic.request import Request

from corral.base.ids import new_id
from corral.platform.access import Principal
from corral.platform.settings import Settings
from corral.platform.sign_in import Visit
from corral.web import peers

if TYPE_CHECKING:
    from corral.web.server import Server

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{8,64}")


class AnyRequest(Request[Any, Any]):
    """A request as the HTTP server has it; one whose target is no URL leads nowhere, and is answered so."""

    __slots__ = ()

    def __init__(self, url_bytes: bytes, **rest: Any) -> None:
        """Take what the HTTP server has read."""
        try:
            super().__init__(url_bytes, **rest)
        except BadURL:
            super().__init__(b"*", **rest)


class Call:
    """What a handler is given."""

    __slots__ = ("_minted", "body", "headers", "principal", "request", "server")

    def __init__(self, request: Request, server: Server, principal: Principal | None) -> None:
        """Take the request as the HTTP server has it, and who sent it (None on open routes)."""
        self.request = request
        self.server = server
        self.principal = principal
        self.body = b""
        self.headers: dict[str, str] = {}  #: added to the answer
        self._minted: str | None = None

    @property
    def caller(self) -> Principal:
        """Who calls; only open routes may lack one."""
        assert self.principal is not None, "an open route has no caller"
        return self.principal

    @property
    def org_id(self) -> int:
        """The org whose things this call may see."""
        return self.caller.org_id

    @property
    def actor(self) -> str:
        """How rows and events name the caller."""
        return self.caller.actor

    @property
    def settings(self) -> Settings:
        """The server's settings."""
        return self.server.settings

    @property
    def address(self) -> str:
        """Where the call came from: the peer, or whoever a trusted proxy says is behind it."""
        return peers.address(self.request, self.settings.proxies)

    @property
    def visit(self) -> Visit:
        """Where somebody who signs in by this call does so from."""
        agent = self.request.headers.getone("user-agent", "")
        return Visit(self.address, "".join(letter for letter in agent if letter.isprintable()))

    @property
    def is_head(self) -> bool:
        """Whether only the answer's headers are wanted."""
        return self.request.method == "HEAD"

    def new_id(self) -> str:
        """Return the id for the thing this call makes: the same one when the call is a repeat that takes over."""
        return self._minted or new_id()

    def mint(self, minted: str) -> None:
        """Fix what `new_id` returns."""
        self._minted = minted

    def link_next(self, **query: object) -> None:
        """Tell where the list goes on: this path with these parameters."""
        pairs = {name: value for name, value in query.items() if value is not None}
        self.headers["link"] = f'<{self.request.path}?{urlencode(pairs)}>; rel="next"'


def request_id(request: Request) -> str:
    """Return the id that names this request in logs and answers: the proxy's if it sent a usable one."""
    found: str | None = getattr(request.ctx, "request_id", None)
    if found is None:
        given = request.headers.getone("x-request-id", "")
        found = request.ctx.request_id = given if given and _REQUEST_ID.fullmatch(given) else new_id()
    return found
