"""The bus of many servers: Redis pub/sub, with this process's own listeners called directly. Mail is `redis_mail`'s.

While Redis is away hints are dropped, not kept: every reader rereads its rows within two seconds anyway.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from corral.base.ids import new_token
from corral.bus import Data, Listener, MailHandler
from corral.bus.memory import MemoryBus
from corral.bus.redis_mail import RedisMail, posted
from corral.platform import metrics

log = structlog.get_logger(__name__)

_DROPPED, _OUTAGES = metrics.HINTS_DROPPED.of(), metrics.BUS_OUTAGES.of()
#: Commands that may wait for Redis; later ones are dropped when it cannot keep up.
_QUEUE = 10_000
_PREFIX = "corral:"
#: Nobody publishes here: a subscription that is never empty keeps the reader simple.
_IDLE = "corral:idle"
#: Seconds until mail that was read and not acknowledged is given to another.
_CLAIM_AFTER = 15.0


class RedisBus:
    """One connection writes in pipelines, others read; all come back by themselves."""

    def __init__(self, url: str, *, claim_after: float = _CLAIM_AFTER) -> None:
        """Take the URL; connects in `start`."""
        # No retries inside of the driver: what fails begins anew as a whole, with every topic.
        self._redis: Redis = Redis.from_url(
            url, socket_connect_timeout=2, health_check_interval=10, retry=Retry(NoBackoff(), 0)
        )
        self._local = MemoryBus()
        self._topics_changed = asyncio.Event()
        self._consumer = new_token(6)
        self._me = self._consumer.encode() + b" "
        self._claim_after = claim_after
        self._mail: RedisMail | None = None
        self._waiting: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue(_QUEUE)
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    def publish(self, topic: str, data: Data = b"") -> None:
        """Tell this process now and the others with the next pipeline."""
        hint = data if isinstance(data, bytes) else data()
        self._local.publish(topic, hint)
        self._send("PUBLISH", _PREFIX + topic, self._me + hint)

    def listen(self, topic: str, listener: Listener) -> Callable[[], None]:
        """Listen to this process and, from the subscription on, to the others."""
        stop_local = self._local.listen(topic, listener)
        self._topics_changed.set()

        def stop() -> None:
            stop_local()
            self._topics_changed.set()

        return stop

    def mail(self, receiver: str) -> None:
        """Add to the stream with the next pipeline."""
        self._send(*posted(receiver))

    def receive(self, handler: MailHandler) -> None:
        """Begin to take part in handling mail."""
        self._mail = RedisMail(self._redis, self._consumer, handler, self._send, claim_after=self._claim_after)
        self._tasks += [self._task(self._mail.take), self._task(self._mail.claim)]

    async def start(self) -> None:
        """Begin to write and to read."""
        self._tasks += [self._task(self._write), self._task(self._read)]

    async def stop(self) -> None:
        """End all of it, acknowledge what was handled, and close the connections."""
        self._stopping = True
        tasks = set(self._tasks)
        for _ in range(20):  # the driver's own time limits may swallow a cancellation
            for task in tasks:
                task.cancel()
            if tasks:
                _, tasks = await asyncio.wait(tasks, timeout=0.1)
        await self._local.stop()
        if self._mail is not None:
            await self._mail.stop()
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(1):
                while not self._waiting.empty():
                    await self._write_next()
        await self._redis.aclose()

    async def healthy(self) -> bool:
        """Tell whether Redis answers."""
        try:
            async with asyncio.timeout(2):
                return bool(await self._redis.ping())
        except (RedisError, OSError, TimeoutError):
            return False

    def _send(self, *command: Any) -> None:
        try:
            self._waiting.put_nowait(command)
        except asyncio.QueueFull:
            _DROPPED.add()

    def _task(self, step: Callable[[], Coroutine[None, None, None]]) -> asyncio.Task[None]:
        return asyncio.create_task(self._keep(step))

    async def _keep(self, step: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run `step` until the end, again after an outage with a jittered pause."""
        while not self._stopping:
            try:
                await step()
            except (RedisError, OSError, TimeoutError) as error:
                _OUTAGES.add()
                log.warning("redis is away; hints come late", error=str(error))
                await asyncio.sleep(random.uniform(0.2, 1.0))

    async def _write(self) -> None:
        while True:
            await self._write_next()

    async def _write_next(self) -> None:
        commands = [await self._waiting.get()]
        while not self._waiting.empty() and len(commands) < 500:
            commands.append(self._waiting.get_nowait())
        pipeline = self._redis.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        await pipeline.execute()

    async def _read(self) -> None:
        pubsub = self._redis.pubsub(ignore_subscribe_messages=True)
        try:
            await pubsub.subscribe(_IDLE)
            hearing, following = asyncio.create_task(self._hear(pubsub)), asyncio.create_task(self._follow(pubsub))
            try:
                await asyncio.wait({hearing, following}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                hearing.cancel()
                following.cancel()
                failed = await asyncio.gather(hearing, following, return_exceptions=True)
            for error in failed:
                if error is not None and not isinstance(error, asyncio.CancelledError):
                    raise error
        finally:
            with contextlib.suppress(RedisError, OSError):
                await pubsub.aclose()  # type: ignore[no-untyped-call] # redis leaves it untyped

    async def _hear(self, pubsub: PubSub) -> None:
        """Pass on what the other servers publish."""
        while True:
            message = await pubsub.get_message(timeout=5)
            if message is None or message["data"].startswith(self._me):
                continue
            topic = message["channel"].decode().removeprefix(_PREFIX)
            self._local.publish(topic, message["data"].partition(b" ")[2])

    async def _follow(self, pubsub: PubSub) -> None:
        """Keep the subscription in line with who listens here: alone, so that no two changes of it overtake."""
        subscribed: set[str] = set()
        while True:
            self._topics_changed.clear()
            wanted = set(self._local.topics())
            if new := wanted - subscribed:
                await pubsub.subscribe(*(_PREFIX + topic for topic in new))
            if gone := subscribed - wanted:
                await pubsub.unsubscribe(*(_PREFIX + topic for topic in gone))
            subscribed = wanted
            await self._topics_changed.wait()
