"""Nobody touches a run or a CLI session while a tree that works on it may still be alive."""

from __future__ import annotations

import asyncio


class Locks:
    """Names, each held by one owner at a time. One owner may hold several."""

    def __init__(self) -> None:
        """Begin with nothing held."""
        self._owners: dict[str, object] = {}
        self._freed = asyncio.Condition()

    async def hold(self, owner: object, names: list[str], within: float) -> bool:
        """Hold all of `names` once nobody else does; False when that took longer than `within` seconds."""
        try:
            async with asyncio.timeout(within), self._freed:
                await self._freed.wait_for(lambda: all(self._owners.get(name, owner) is owner for name in names))
                self._owners.update(dict.fromkeys(names, owner))
                return True
        except TimeoutError:
            return False

    def add(self, owner: object, name: str) -> None:
        """Hold `name` as well, if it is free: a CLI told us the session it made."""
        self._owners.setdefault(name, owner)

    async def release(self, owner: object) -> None:
        """Let go of everything that `owner` holds."""
        async with self._freed:
            self._owners = {name: one for name, one in self._owners.items() if one is not owner}
            self._freed.notify_all()
