"""A process that stores and reads secrets until it is told to stop, or changes the master key until it is killed.

The former reads back all that it stored, each time; it says how often it did at the end, and what was wrong at once.
"""

from __future__ import annotations

import asyncio
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import tortoise.backends.asyncpg  # noqa: F401 - loaded by who needs it: here by the process that others are forked from

from corral.platform import database
from corral.platform.settings import Settings
from corral.secrets import keyring, rotation, vault
from tests.support.processes import die_with_parent

#: So many secrets of its own a process stores, again and again.
MANY = 8


def run(data: str, url: str, org: int, name: str, pipe: Connection) -> None:
    """The process. With `rotate` in the place of a name it changes the master key."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(main(Settings(data=Path(data), database_url=url), org, name, pipe))


async def main(settings: Settings, org: int, name: str, pipe: Connection) -> None:
    keyring.use(settings)
    await database.connect(settings)
    try:
        pipe.send("begins")
        if name == "rotate":
            while True:
                await rotation.rotate(renew=True)
        await use(org, name, pipe)
    finally:
        await database.disconnect()


async def use(org: int, name: str, pipe: Connection) -> None:
    stored: dict[str, str] = {}
    rounds = 0
    while not pipe.poll():
        key, value = f"{name}_{rounds % MANY}", f"{name} {rounds}"
        await vault.put(org, key, value)
        stored[key] = value
        found = await vault.resolve(org, None, f"key:{name}")
        wrong = {key: found.get(key) for key, value in stored.items() if found.get(key) != value}
        assert not wrong, wrong
        rounds += 1
        await asyncio.sleep(0.002)
    pipe.send(rounds)
