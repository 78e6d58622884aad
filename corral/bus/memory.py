"""The bus of a single process: a hint is a function call."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from corral.bus import Data, Listener

log = structlog.get_logger(__name__)


class MemoryBus:
    """Calls listeners at once, in the order they came; a listener must not wait."""

    def __init__(self) -> None:
        """Start with nobody listening."""
        self._listeners: dict[str, list[Listener]] = {}

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

    async def start(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Forget every listener."""
        self._listeners.clear()
