"""The bus of a single process: a hint is a function call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from corral.bus import Data, Listener, MailHandler
from corral.bus.mailroom import Mailroom

log = structlog.get_logger(__name__)

#: Seconds until mail that could not be handled is tried again.
_PAUSE = 2.0


class MemoryBus:
    """Calls listeners at once, in the order they came; a listener must not wait."""

    def __init__(self, *, pause: float = _PAUSE) -> None:
        """Start with nobody listening."""
        self._listeners: dict[str, list[Listener]] = {}
        self._pause = pause
        self._mailroom: Mailroom | None = None

    def publish(self, topic: str, data: Data = b"") -> None:
        """Call every listener of the topic; one that fails does not keep the others from hearing."""
        listeners = self._listeners.get(topic)
        if not listeners:
            return
        hint = data if isinstance(data, bytes) else data()
        for listener in tuple(listeners):
            try:
                listener(hint)
            except Exception:
                log.exception("a listener failed", topic=topic)

    def listen(self, topic: str, listener: Listener) -> Callable[[], None]:
        """Add a listener; the returned function removes it, and may be called twice."""
        self._listeners.setdefault(topic, []).append(listener)

        def stop() -> None:
            listeners = self._listeners.get(topic, [])
            if listener in listeners:
                listeners.remove(listener)
            if not listeners:
                self._listeners.pop(topic, None)

        return stop

    def topics(self) -> list[str]:
        """Return the topics somebody listens to."""
        return list(self._listeners)

    def mail(self, receiver: str) -> None:
        """Have the receiver's mail handled; without a handler the hint is lost."""
        if self._mailroom is not None:
            self._mailroom.ask(receiver)

    def receive(self, handler: MailHandler) -> None:
        """Begin to handle mail."""
        self._mailroom = Mailroom(handler, self._ended)

    async def start(self) -> None:
        """Nothing to do."""

    async def healthy(self) -> bool:
        """Return that it is there."""
        return True

    async def stop(self) -> None:
        """Forget every listener, and end handling mail."""
        self._listeners.clear()
        if self._mailroom is not None:
            await self._mailroom.stop()

    def _ended(self, receiver: str, _hint: bytes, went_well: bool) -> None:
        if not went_well:
            asyncio.get_running_loop().call_later(self._pause, self.mail, receiver)
