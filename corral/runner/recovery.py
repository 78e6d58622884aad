"""What did the process before us leave? End it, say that it ended, and find what was not sent."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import msgspec

from corral.base.logs import get_logger
from corral.runner import spool, tree
from corral.runner.journal import Journal
from corral.runner.spool import Spool
from corral.wire.events import EventType

MESSAGE = "The runner was restarted while this ran"

log = get_logger()


async def recover(spools: Path, private: Path, journal: Journal) -> list[Spool]:
    """End every tree that was left and every attempt without an end; return what the server may not have.

    Of what was private to those attempts nothing stays.
    """
    left = await asyncio.to_thread(_open_spools, spools)
    unfinished = [one for one in left if one.end is None]
    await _end_trees(journal, {one.head.run_id for one in unfinished})
    shutil.rmtree(private, ignore_errors=True)
    for one in unfinished:
        one.settle()
        one.append(EventType.SESSION_INTERRUPTED, msgspec.json.encode({"message": MESSAGE}))
        await one.sync()
        log.info("interrupted a run of the runner before", run=one.head.run_id, attempt=one.head.attempt)
    journal.begin()
    return left


async def _end_trees(journal: Journal, run_ids: set[str]) -> None:
    processes = {one.process for one in journal.state.processes}
    marks = run_ids | {one.run_id for one in journal.state.processes if one.run_id}
    if not processes and not marks:
        return
    try:
        ended = await tree.end(processes, marks)
    except tree.StillAliveError as error:
        # Going on is safer than not: a run that resumes is told of by its log, a runner that is down by nothing.
        log.warning("processes of the runner before survived SIGKILL", pids=error.left)
        return
    log.info("ended what the runner before left", processes=ended)


def _open_spools(folder: Path) -> list[Spool]:
    """Return the spools that are not closed, oldest first."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    left = []
    for path in sorted(folder.glob(f"*{spool.SUFFIX}")):
        try:
            one = None if spool.is_closed(path) else spool.load(path)
        except OSError as error:
            log.warning("a spool cannot be read", spool=str(path), error=str(error))
            continue
        if one is not None:
            left.append(one)
    return left
