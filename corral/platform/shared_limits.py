"""How often a key may call, counted over all server processes: the times of its requests are a list in Redis.

One script looks at a list and adds to it, on Redis's own clock, so that no two servers pass the last one. The library
`limits` offers this too, but its exact strategy trusts the clock of the server that asks, and its other ones estimate.

While Redis is away this process counts alone; it has noted what passed here before, so that an outage is no gift. Who
finds out that Redis is away waits for half a second at most; all others do not wait at all.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from redis.asyncio import Connection, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from corral.base.logs import get_logger
from corral.platform import metrics
from corral.platform.limits import WINDOW, MemoryLimiter, Verdict, verdict

log = get_logger()

_PREFIX = "corral:limit:"
_WINDOW_US = int(WINDOW * 1_000_000)
_PATIENCE = 0.5
#: Seconds between two looks whether Redis is back.
_PAUSE = 0.5
_MOST_AT_ONCE = 200
_FAILURES = (RedisError, OSError, TimeoutError)
#: Answers: whether it passes, how many are in the window, and in how many µs the next one falls out of it.
_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local key, limit, window = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local first = tonumber(redis.call('LINDEX', key, 0))
while first and (first <= now - window or first > now) do -- the clock may have been set back
  redis.call('LPOP', key)
  first = tonumber(redis.call('LINDEX', key, 0))
end
local count, passes = redis.call('LLEN', key), 0
if count < limit then
  redis.call('RPUSH', key, string.format('%.0f', now))
  redis.call('PEXPIRE', key, window / 1000)
  count, passes = count + 1, 1
end
local next = tonumber(redis.call('LINDEX', key, math.max(0, count - limit))) or now
return {passes, count, string.format('%.0f', next + window - now)}
"""
#: Who asks, with their limit, and where they wait for the verdict.
_Asked = tuple[str, int, "asyncio.Future[Verdict]"]


class SharedLimiter:
    """Asks Redis over one connection: all who ask at the same time are sent together.

    The driver's own commands and pipelines cost twice as much as its bare connection.
    """

    def __init__(self, url: str, *, prefix: str = _PREFIX) -> None:
        """Take the URL; connects in `start`."""
        self._redis: Redis = Redis.from_url(
            url, socket_connect_timeout=_PATIENCE, socket_timeout=_PATIENCE, retry=Retry(NoBackoff(), 0)
        )
        self._line: Connection | None = None
        self._script = b""
        self._prefix = prefix
        self._alone = MemoryLimiter()
        self._asked: list[_Asked] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def hit(self, who: str, limit: int) -> Verdict | asyncio.Future[Verdict]:
        """Count a request of `who`: at once, and in this process alone, while Redis is away."""
        if self._line is None:
            return self._alone.hit(who, limit)
        waiting: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._asked.append((who, limit, waiting))
        self._wake.set()
        return waiting

    async def start(self) -> None:
        """Begin to ask Redis, if it is there."""
        await self._connect()
        self._task = asyncio.create_task(self._run(), name="limits")

    async def stop(self) -> None:
        """End it; who still asks is counted here."""
        tasks = {self._task} if self._task is not None else set()
        for _ in range(20):  # the driver's own time limits may swallow a cancellation
            for task in tasks:
                task.cancel()
            if tasks:
                _, tasks = await asyncio.wait(tasks, timeout=0.1)
        await self._hang_up()
        self._count_here(self._taken())

    async def _run(self) -> None:
        while True:
            while self._line is None:
                await asyncio.sleep(_PAUSE)
                if await self._connect():
                    log.info("redis is back; requests are counted over all servers")
            await self._wake.wait()
            self._wake.clear()
            while some := self._taken(_MOST_AT_ONCE):
                await self._count(some)

    async def _count(self, some: list[_Asked]) -> None:
        """Have Redis count these, or count them here if it does not answer."""
        try:
            verdicts = await self._ask(some)
        except asyncio.CancelledError:
            self._count_here(some)
            raise
        except _FAILURES as error:
            metrics.LIMIT_FALLBACKS.of().add()
            log.warning("redis is away; requests are counted by each server alone", error=str(error))
            await self._hang_up()
            self._count_here([*some, *self._taken()])
            return
        for (who, limit, waiting), told in zip(some, verdicts, strict=True):
            if told is not None and told.passes:
                self._alone.note(who)
            _answer(waiting, told or self._alone.hit(who, limit))

    async def _ask(self, some: list[_Asked]) -> list[Verdict | None]:
        """Return the verdicts; None where Redis is there, but not of use: it takes no writes, or has no room."""
        line = self._line
        assert line is not None, "who asks was let in because there is one, and only this task hangs up"
        commands = [("EVALSHA", self._script, 1, self._prefix + who, limit, _WINDOW_US) for who, limit, _ in some]
        await line.send_packed_command(line.pack_commands(commands), check_health=False)
        verdicts: list[Verdict | None] = []
        for _, limit, _ in some:
            try:
                passes, count, left = await line.read_response()
            except NoScriptError:
                raise  # it has forgotten the script: connect anew, which loads it
            except ResponseError:
                verdicts.append(None)
            else:
                verdicts.append(verdict(passes=bool(passes), limit=limit, counted=count, seconds=int(left) / 1_000_000))
        return verdicts

    def _count_here(self, some: list[_Asked]) -> None:
        for who, limit, waiting in some:
            _answer(waiting, self._alone.hit(who, limit))

    def _taken(self, most: int | None = None) -> list[_Asked]:
        taken = self._asked[:most]
        del self._asked[: len(taken)]
        return taken

    async def _connect(self) -> bool:
        line: Any = self._redis.connection_pool.make_connection()  # type: ignore[no-untyped-call] # redis leaves it so
        try:
            await line.connect()
            await line.send_command("SCRIPT", "LOAD", _SCRIPT)
            self._script = await line.read_response()
        except _FAILURES:
            await _closed(line)
            return False
        self._line = line
        return True

    async def _hang_up(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            await _closed(line)


async def _closed(line: Connection) -> None:
    with contextlib.suppress(*_FAILURES):
        await line.disconnect(nowait=True)


def _answer(waiting: asyncio.Future[Verdict], told: Verdict) -> None:
    if not waiting.done():
        waiting.set_result(told)
