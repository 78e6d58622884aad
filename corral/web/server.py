"""What the requests of one server process share."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from corral.base.supervisor import Supervisor
from corral.platform.access import Principal
from corral.platform.limits import Limiter
from corral.platform.orgs import Bootstrapped
from corral.platform.servers import Presence
from corral.platform.settings import Settings
from corral.platform.sign_on.provider import Provider
from corral.web.errors import Errors
from corral.web.readiness import Prober
from corral.web.routes import Table
from corral.web.sse import Watchers

#: Below these every path may be asked for without a token.
_OPEN = ("/static/",)


class Server:
    """Settings, the route table, the limiter, open streams, the loops, and the end."""

    def __init__(
        self,
        settings: Settings,
        table: Table,
        *,
        bootstrapped: Bootstrapped,
        limiter: Limiter,
        hurry: asyncio.Event | None = None,
    ) -> None:
        """Take what the process was told, what it answers, the org it began with, and who counts requests."""
        self.settings = settings
        self.table = table
        self.bootstrapped = bootstrapped
        self.limiter = limiter
        self.errors = Errors()
        self.sign_on = Provider(settings.sign_on, settings.url) if settings.sign_on is not None else None
        self.watchers = Watchers()
        self.supervisor = Supervisor()
        self.presence = Presence(settings)
        self.prober = Prober(self)
        self.in_flight = 0  #: requests that have no answer yet
        self.is_leaving = False  #: it answers still, and is about to end
        self.hurry = hurry or asyncio.Event()  #: set when it is to end without waiting for anybody
        self.stopping = asyncio.Event()  #: set when the server ends
        self._kept: set[asyncio.Future[Any]] = set()

    def is_open(self, path: str) -> bool:
        """Tell whether this path needs no token, also where it leads nowhere."""
        return path.startswith(_OPEN) or self.table.is_open(path)

    def limit_of(self, principal: Principal) -> int:
        """Return how many requests a minute this key may send; 0: any number."""
        own = principal.rate_limit
        return self.settings.rate_limit if own is None else own

    def keep(self, task: asyncio.Future[Any]) -> None:
        """Hold a task that must go on although nobody waits for it."""
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)

    async def leave(self) -> None:
        """Answer on for a while without being ready, so that proxies send no more; until it is hurried at most."""
        if self.is_leaving:
            return
        self.is_leaving = True
        if self.settings.drain_seconds:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.settings.drain_seconds):
                    await self.hurry.wait()

    async def drain(self, grace: float) -> None:
        """Wait for kept tasks."""
        if self._kept:
            await asyncio.wait(set(self._kept), timeout=grace)
