"""The live connections of this process: each is one run's at a time, and kept a while for the next of the same agent.

What a connection holds is an agent's: a stdio server may remember what it was told, a session at an http server too.
So it is never another agent's or another org's, nor anybody's once the server or a secret in it has another value.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from typing import NamedTuple, Protocol

import msgspec

from corral.base.logs import get_logger
from corral.mcp import reach
from corral.mcp.link import Link, Unreachable
from corral.mcp.reach import Reach
from corral.wire.agents import McpServer

#: A connection that nobody needs is closed after so many seconds.
IDLE_SECONDS = 300.0
#: Connections at once; one that its run has not used for so long gives way to one that is needed.
MOST, _UNUSED_SECONDS = 200, 60.0

log = get_logger()


class User(NamedTuple):
    """For whom a server is reached."""

    org_id: int
    agent_id: str
    run_id: str


class Holder(Protocol):
    """Who has taken a connection."""

    @property
    def unused_since(self) -> float | None:
        """Return since when it was not used; None while it is."""

    def lay_down(self) -> None:
        """Give it up; it is taken anew when it is needed."""


class Pool:
    """All of them."""

    def __init__(self, reach_: Reach | None = None, *, idle_seconds: float = IDLE_SECONDS, most: int = MOST) -> None:
        """Take what may be reached, if that is not what the settings say, and how many may wait for how long."""
        self._reach = reach_
        self._idle_seconds, self._most = idle_seconds, most
        self._idle: dict[Link, tuple[_Key, asyncio.TimerHandle]] = {}  #: the one that waits for longest first
        self._taken: dict[Link, tuple[_Key, Holder]] = {}
        self._changes: Counter[int] = Counter()  #: of an org's servers and secrets
        self._closing: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def take(self, server: McpServer, user: User, holder: Holder, *, seconds: float) -> Link:
        """Return a connection that answers: one of this agent's, or a new one. Raises Unreachable."""
        key = self._key(server, user)
        while (link := self._waiting(key)) is not None:
            self._taken[link] = key, holder
            try:
                if await link.is_fit():
                    return link
            except BaseException:
                self.drop(link)
                raise
            await asyncio.wait({self.drop(link)})
        self._make_room()
        link = Link(server, self._reach or reach.current())
        self._taken[link] = key, holder
        try:
            await link.start(seconds)
        except BaseException:
            self.drop(link)
            raise
        if self._is_closed:
            self.drop(link)
            raise Unreachable("the server is ending")
        return link

    def give(self, link: Link) -> None:
        """Take a connection back, for the next run of its agent."""
        key, _ = self._taken.get(link, (None, None))
        if key is None:  # it was closed meanwhile
            return
        if self._is_closed or not self._idle_seconds or link.has_ended or link.was_given_up or self._is_old(key):
            self.drop(link)
            return
        del self._taken[link]
        timer = asyncio.get_running_loop().call_later(self._idle_seconds, self.drop, link)
        self._idle[link] = key, timer

    def drop(self, link: Link) -> asyncio.Task[None]:
        """Close a connection, while others go on; returns the task that does."""
        self._taken.pop(link, None)
        if (idle := self._idle.pop(link, None)) is not None:
            idle[1].cancel()
        closing = asyncio.create_task(link.close(hurry=self._is_closed))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        return closing

    def change(self, org_id: int) -> None:
        """An org's servers or secrets have changed: no later run gets what one before has had."""
        self._changes[org_id] += 1
        for link in [link for link, (key, _) in self._idle.items() if key.org_id == org_id]:
            self.drop(link)

    async def close(self) -> None:
        """Close all of them."""
        self._is_closed = True
        for link in [*self._idle, *self._taken]:
            self.drop(link)
        while self._closing:
            await asyncio.wait(self._closing)

    def _waiting(self, key: _Key) -> Link | None:
        """Return one that waits, the newest first: it is the likeliest to be alive."""
        for link in reversed(self._idle):
            if self._idle[link][0] == key:
                self._idle.pop(link)[1].cancel()
                return link
        return None

    def _make_room(self) -> None:
        if len(self._idle) + len(self._taken) < self._most:
            return
        if self._idle:
            self.drop(next(iter(self._idle)))
            return
        unused = [(since, holder) for _, holder in self._taken.values() if (since := holder.unused_since) is not None]
        since, holder = min(unused, key=lambda one: one[0], default=(time.monotonic(), None))
        if holder is None or time.monotonic() - since < _UNUSED_SECONDS:
            raise Unreachable(f"the platform is connected to {self._most} MCP servers, and all are in use")
        holder.lay_down()

    def _is_old(self, key: _Key) -> bool:
        return key.change != self._changes[key.org_id]

    def _key(self, server: McpServer, user: User) -> _Key:
        # What may be called is decided beside the connection, and no reason for another.
        plain = msgspec.structs.replace(server, allow=(), ask=(), deny=())
        digest = hashlib.sha256(msgspec.json.encode(plain, order="deterministic")).digest()
        return _Key(user.org_id, user.agent_id, digest, self._changes[user.org_id])


class _Key(NamedTuple):
    """What a connection is good for."""

    org_id: int
    agent_id: str
    server: bytes  #: a digest of all that it was started with, secrets included
    change: int
