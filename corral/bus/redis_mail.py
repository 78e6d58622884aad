"""Mail of many servers: hints in a Redis stream, each read by one server and acknowledged once it was handled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from corral.bus import MailHandler
from corral.bus.mailroom import Mailroom

T = TypeVar("T")

_STREAM, _GROUP, _FIELD = "corral:mail", "corral", b"to"
#: Hints that the stream keeps, some more or less; what is trimmed unread costs its receiver the wait for the reread.
_KEPT = 100_000
#: Milliseconds that a read waits for mail: less than the driver gives a read altogether.
_BLOCK = 2000
_AT_ONCE = 100
#: Milliseconds after which a consumer that holds nothing and was not heard of is taken off the group.
_GONE_AFTER = 600_000
#: How Redis says that the group, or the whole stream, is not there.
_NO_GROUP = ("NOGROUP", "no such key")


class RedisMail:
    """This process as a consumer of the group. `take` and `claim` go on until they are cancelled or Redis fails."""

    def __init__(
        self,
        redis: Redis,
        consumer: str,
        handler: MailHandler,
        write: Callable[..., None],
        *,
        claim_after: float,
    ) -> None:
        """Take who handles mail, how commands are written, and the seconds after which held mail is claimed."""
        self._redis = redis
        self._consumer = consumer
        self._write = write
        self._claim_after = claim_after
        self._mailroom = Mailroom(handler, self._ended)

    async def take(self) -> None:
        """Read what nobody has read."""
        while True:
            await self._mailroom.room()
            for _, entries in await self._in_group(self._read) or ():
                for id_, fields in entries:
                    self._ask(id_, fields)

    async def claim(self) -> None:
        """Keep what is handled here, and take over what others have held for too long, or have failed to handle."""
        while True:
            await asyncio.sleep(self._claim_after / 3)
            if held := self._mailroom.hints():
                await self._in_group(lambda: self._keep(held))
            await self._mailroom.room()
            if claimed := set(await self._in_group(self._claim) or ()) - self._mailroom.hints():
                await self._look(sorted(claimed))
            for consumer in await self._in_group(self._consumers) or ():
                if consumer["pending"] == 0 and consumer["idle"] > _GONE_AFTER:
                    self._write("XGROUP", "DELCONSUMER", _STREAM, _GROUP, consumer["name"])

    async def stop(self) -> None:
        """End handling; what is not done by then stays in the stream for others."""
        await self._mailroom.stop()

    async def _look(self, ids: list[bytes]) -> None:
        """Ask for the receivers of claimed entries. One that was trimmed says nothing any more."""
        pipeline = self._redis.pipeline(transaction=False)
        for id_ in ids:
            pipeline.xrange(_STREAM, cast("str", id_), cast("str", id_))
        for id_, found in zip(ids, await pipeline.execute(), strict=True):
            if found:
                self._ask(id_, found[0][1])
            else:
                self._acknowledge(id_)

    def _ask(self, id_: bytes, fields: dict[bytes, bytes]) -> None:
        if not self._mailroom.ask(fields[_FIELD].decode(), id_):
            self._acknowledge(id_)  # the hint whose turn is due stands for this one as well

    def _ended(self, _receiver: str, id_: bytes, went_well: bool) -> None:
        if went_well:
            self._acknowledge(id_)

    def _acknowledge(self, id_: bytes) -> None:
        self._write("XACK", _STREAM, _GROUP, id_)

    async def _in_group(self, work: Callable[[], Awaitable[T]]) -> T | None:
        """Do what needs the group; if that is missing, as at the beginning or after a flush, make it instead."""
        try:
            return await work()
        except ResponseError as error:
            if not any(word in str(error) for word in _NO_GROUP):
                raise
        try:
            await self._redis.xgroup_create(_STREAM, _GROUP, id="0", mkstream=True)
        except ResponseError as error:  # another server was quicker
            if "BUSYGROUP" not in str(error):
                raise
        return None

    def _read(self) -> Awaitable[Any]:
        return cast(
            "Awaitable[Any]",
            self._redis.xreadgroup(_GROUP, self._consumer, {_STREAM: ">"}, count=_AT_ONCE, block=_BLOCK),
        )

    def _keep(self, held: set[bytes]) -> Awaitable[Any]:
        ids: list[Any] = sorted(held)
        return cast("Awaitable[Any]", self._redis.xclaim(_STREAM, _GROUP, self._consumer, 0, ids, justid=True))

    def _claim(self) -> Awaitable[Any]:
        idle = int(self._claim_after * 1000)
        claimed = self._redis.xautoclaim(_STREAM, _GROUP, self._consumer, idle, count=_AT_ONCE, justid=True)
        return cast("Awaitable[Any]", claimed)

    def _consumers(self) -> Awaitable[Any]:
        return cast("Awaitable[Any]", self._redis.xinfo_consumers(_STREAM, _GROUP))


def posted(receiver: str) -> tuple[Any, ...]:
    """Return the command that adds a hint."""
    return "XADD", _STREAM, "MAXLEN", "~", _KEPT, "*", _FIELD, receiver
