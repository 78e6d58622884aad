"""Imported once by the process that servers are forked from: it has served, so that they find everything loaded."""

from __future__ import annotations

import asyncio
import gc
import tempfile
from pathlib import Path

import tortoise.backends.asyncpg  # noqa: F401 - loaded by who needs it

import corral.bus.redis  # noqa: F401 - likewise
from corral.platform.settings import Settings
from corral.web import app


async def serve_once() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with app.serve(Settings(data=Path(folder), port=0)):
            await asyncio.sleep(0)  # its loops begin


asyncio.run(serve_once())
gc.collect()
gc.freeze()  # what all have alike is nobody's garbage: to look for it would be to copy it
