"""Tortoise's client of PostgreSQL, for a peer that may go without a word: nothing about a connection waits for ever.

Whoever fails over a database may leave connections behind that are never closed and never answered. A connection is
waited for, and held, for so many seconds; then it is given up, and who held it hears that the database is away.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import asyncpg
from tortoise.backends.asyncpg.client import AsyncpgDBClient
from tortoise.backends.base.client import PoolConnectionWrapper

#: Seconds to connect, to get one of the pool's connections, and to give it back.
CONNECT_SECONDS = 5.0
_GET_SECONDS = 10.0
_RETURN_SECONDS = 5.0
#: Seconds that one may be held: for one transaction, or one read, however long a report takes.
_HELD_SECONDS = 30.0
#: The peer's machine is asked after so many quiet seconds, and given up after so many without an answer.
_QUIET_SECONDS, _DEAD_SECONDS = 10, 15
#: What PostgreSQL gives up for us, should we be the ones that go without a word: locks of a transaction above all, and
#: a statement that we gave up a second before.
_SERVER = (
    "SET idle_in_transaction_session_timeout = '{held:g}s'; SET statement_timeout = '{given_up:g}s'; "
    f"SET tcp_keepalives_idle = {_QUIET_SECONDS}; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
)
#: Of what Tortoise makes a pool with: where the database is, the URL alone says.
_POOL = ("min_size", "max_size", "connection_class", "loop", "server_settings", "reset")


class Client(AsyncpgDBClient):
    """Lends connections: for a while, or for as long as a migration takes."""

    def __init__(self, *, url: str, lasts: bool, **credentials: Any) -> None:
        """Take the URL as libpq's programs do, and whether connections are lent without limits of time."""
        super().__init__(**credentials)
        self._url = url
        self._lasts = lasts

    async def create_pool(self, **kwargs: Any) -> asyncpg.Pool:
        """Make the pool, of connections that notice when their peer is gone."""
        init = None if self._lasts else _prepare
        chosen = {name: kwargs[name] for name in _POOL}
        return await asyncpg.create_pool(self._url, timeout=CONNECT_SECONDS, init=init, **chosen)

    def acquire_connection(self) -> Any:
        """Return a context in which there is a connection."""
        return super().acquire_connection() if self._lasts else _Lent(self, self._pool_init_lock)


class _Lent(PoolConnectionWrapper[Any]):
    """A connection that is ended when it is held for too long, which whoever waits for an answer hears at once."""

    __slots__ = ("_lent", "_pool", "_timer")

    async def __aenter__(self) -> Any:
        await self.ensure_connection()
        self._pool: Any = self.client._pool  # noqa: SLF001 - as the wrapper of Tortoise does
        async with asyncio.timeout(_GET_SECONDS):
            self._lent: Any = await self._pool.acquire()
        self._timer = asyncio.get_running_loop().call_later(_HELD_SECONDS, self._lent.terminate)
        return self._lent

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._timer.cancel()
        if kind is not None and issubclass(kind, asyncpg.ReadOnlySQLTransactionError):
            self._lent.terminate()  # of a primary that is none any more: the next connection may lead to the new
        await self._pool.release(self._lent, timeout=_RETURN_SECONDS)


async def _prepare(connection: asyncpg.Connection) -> None:
    """Have both sides ask after each other while nothing is said."""
    await connection.execute(_SERVER.format(held=_HELD_SECONDS, given_up=_HELD_SECONDS + 1))
    transport = connection._transport  # noqa: SLF001 - asyncpg offers no way to its socket
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family == getattr(socket, "AF_UNIX", None):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", _QUIET_SECONDS),
        ("TCP_KEEPINTVL", 5),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", _DEAD_SECONDS * 1000),
    ):
        if hasattr(socket, option):  # each where the system has it
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


client_class = Client
