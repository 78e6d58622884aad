"""What the requests of one server process share."""

from __future__ import annotations

import asyncio
from typing import Any

from corral.platform.limits import Limiter
from corral.platform.orgs import Bootstrapped
from corral.platform.settings import Settings
from corral.platform.sign_on.provider import Provider
from corral.web.errors import Errors
from corral.web.routes import Table
from corral.web.sse import Watchers

#: Below these every path may be asked for without a token.
_OPEN = ("/static/",)


class Server:
    """Settings, the route table, the limiter, open streams, and the end."""

    def __init__(self, settings: Settings, table: Table, *, bootstrapped: Bootstrapped) -> None:
        """Take what the process was told, what it answers, and the org it began with."""
        self.settings = settings
        self.table = table
        self.bootstrapped = bootstrapped
        self.limiter = Limiter(settings.rate_limit)
        self.errors = Errors()
        self.sign_on = Provider(settings.sign_on, settings.url) if settings.sign_on is not None else None
        self.watchers = Watchers()
        self.stopping = asyncio.Event()  #: set when the server ends
        self._kept: set[asyncio.Future[Any]] = set()

    def is_open(self, path: str) -> bool:
        """Tell whether this path needs no token, also where it leads nowhere."""
        return path.startswith(_OPEN) or self.table.is_open(path)

    def keep(self, task: asyncio.Future[Any]) -> None:
        """Hold a task that must go on although nobody waits for it."""
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)

    async def drain(self, grace: float) -> None:
        """Wait for kept tasks."""
        if self._kept:
            await asyncio.wait(set(self._kept), timeout=grace)
