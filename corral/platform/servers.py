"""The server processes that share a database: each says every few seconds that it is there, so that one can show all.

Nothing depends on it but what people are shown. A process with a database of its own is alone, and says nothing.
"""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass

import corral
from corral.base.ids import new_id
from corral.platform import database
from corral.platform.settings import Settings

BEAT_EVERY = 5.0
#: A server that has not been seen for so long does not answer, or cannot reach the database.
_GONE_MS = 20_000
#: And after so long it is forgotten.
_FORGET_MS = 3_600_000
_LISTED = 200


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """One server, as it says of itself."""

    id: str
    name: str  #: its machine and port
    version: str
    started_at: int
    seen_at: int
    is_there: bool  #: it was seen a moment ago


class Presence:
    """What this process says of itself."""

    def __init__(self, settings: Settings) -> None:
        """Take where it listens; its id is new with each start."""
        self.id = new_id()
        self.name = f"{platform.node() or settings.host}:{settings.port}"[:200]
        self.started_at = time.time_ns() // 1_000_000
        self._is_alone = settings.is_embedded

    async def beat(self, _now: float) -> None:
        """Say that it is there, and forget who was not for long."""
        if self._is_alone:
            return
        await database.fetch(
            "INSERT INTO servers (id, name, version, started_at, seen_at) VALUES ($1, $2, $3, $4, now_ms()) "
            "ON CONFLICT (id) DO UPDATE SET seen_at = now_ms()",
            self.id, self.name, corral.__version__, self.started_at,
        )  # fmt: skip
        await database.fetch("DELETE FROM servers WHERE seen_at < now_ms() - $1", _FORGET_MS)

    async def leave(self) -> None:
        """Say that it ends."""
        if not self._is_alone:
            await database.fetch("DELETE FROM servers WHERE id = $1", self.id)

    async def all(self) -> list[ServerProcess]:
        """Return every server there is or was within the hour, this one among them; the oldest first."""
        now = await database.now()
        mine = ServerProcess(self.id, self.name, corral.__version__, self.started_at, now, is_there=True)
        if self._is_alone:
            return [mine]
        rows = await database.fetch(
            f"SELECT id, name, version, started_at, seen_at FROM servers WHERE id <> $1 "  # noqa: S608
            f"ORDER BY seen_at DESC LIMIT {_LISTED}",
            self.id,
        )
        others = [
            ServerProcess(
                row["id"], row["name"], row["version"], row["started_at"], row["seen_at"],
                is_there=row["seen_at"] >= now - _GONE_MS,
            )
            for row in rows
        ]  # fmt: skip
        return sorted([mine, *others], key=lambda one: one.id)
