"""A process that stores and reads secrets until its stdin ends: `python -m tests.secrets.user DATA URL ORG NAME`.

It reads back all that it stored, each time; says how often it did when it is told to stop, and what was wrong at once.
With `rotate` in the place of a name it changes the master key over and over, until it is killed.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from corral.platform import database
from corral.platform.settings import Settings
from corral.secrets import keyring, rotation, vault

#: So many secrets of its own a process stores, again and again.
MANY = 8


async def main(data: str, url: str, org: int, name: str) -> None:
    settings = Settings(data=Path(data), database_url=url)
    keyring.use(settings)
    await database.connect(settings)
    try:
        if name == "rotate":
            await change()
        else:
            await use(org, name)
    finally:
        await database.disconnect()


async def change() -> None:
    say("begins")
    while True:
        await rotation.rotate(renew=True)


async def use(org: int, name: str) -> None:
    stopped = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    say("begins")
    stored: dict[str, str] = {}
    rounds = 0
    while not stopped.done():
        key, value = f"{name}_{rounds % MANY}", f"{name} {rounds}"
        await vault.put(org, key, value)
        stored[key] = value
        found = await vault.resolve(org, None, f"key:{name}")
        wrong = {key: found.get(key) for key, value in stored.items() if found.get(key) != value}
        assert not wrong, wrong
        rounds += 1
        await asyncio.sleep(0.002)
    say(str(rounds))


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
