"""Whole logs, page by page: a run of 100,000 events does not keep the others waiting while it is read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from corral.runs import feed
from corral.runs.frames import Logged

_PAGE = 1000


async def pages(run_no: int, *, after: int = 0, limit: int | None = None) -> AsyncIterator[list[Logged]]:
    """Yield the events after a sequence, up to `limit` of them, in lists."""
    left = limit
    while left is None or left > 0:
        most = _PAGE if left is None else min(left, _PAGE)
        page = await feed.events(run_no, after=after, limit=most)
        if page:
            yield page
        if len(page) < most:
            return
        after = page[-1].seq
        left = None if left is None else left - most
        await asyncio.sleep(0)
