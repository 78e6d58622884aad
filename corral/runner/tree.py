"""End a run's processes, all of them, and prove it: descendants, orphans they left, and what carries the run's mark.

A process is known by pid and start time, so that a pid which was given to somebody else is never signalled.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from corral.base.logs import get_logger
from corral.runner.environment import MARK

GRACE_SECONDS = 5.0
#: SIGKILL is repeated for so long; what still stands then is stuck in the kernel or belongs to somebody else.
KILL_SECONDS = 30.0
_PR_SET_CHILD_SUBREAPER = 36
_PROC = Path("/proc")

log = get_logger()


class Process(msgspec.Struct, frozen=True):
    """One process, told apart from a later one with the same pid by when it started."""

    pid: int
    started: str


@dataclass(frozen=True, slots=True)
class _Entry:
    parent: int
    started: str
    is_dead: bool  #: a zombie: nothing of it runs any more


class StillAliveError(Exception):
    """Processes outlived SIGKILL."""

    def __init__(self, left: Iterable[Process]) -> None:
        """Take what is left."""
        self.left = sorted(process.pid for process in left)
        super().__init__(f"pids {', '.join(map(str, self.left))}")


def identify(pid: int) -> Process | None:
    """Return the process that has `pid` now, None if there is none."""
    entry = _table([pid]).get(pid)
    return None if entry is None or entry.is_dead else Process(pid, entry.started)


def adopt_orphans() -> bool:
    """Make orphans of our descendants our children instead of init's, where the system can; tell whether it does."""
    if sys.platform != "linux":
        return False
    try:
        return int(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)) == 0
    except (OSError, AttributeError):
        return False


async def end(roots: Iterable[Process], marks: Iterable[str] = (), *, grace: float = GRACE_SECONDS) -> int:
    """SIGTERM everything under `roots` or carrying one of `marks`, and SIGKILL it after `grace` seconds.

    Returns how many there were when nothing of it is left, and raises StillAliveError when that cannot be reached.
    """
    hunt = _Hunt(list(roots), set(marks))
    started = time.monotonic()
    told: set[Process] = set()
    pause = 0.005
    while left := await asyncio.to_thread(hunt.look):
        waited = time.monotonic() - started
        if waited >= grace + KILL_SECONDS:
            raise StillAliveError(left)
        for process in left:
            if waited >= grace:
                send_signal(process, signal.SIGKILL)
            elif process not in told:
                told.add(process)
                send_signal(process, signal.SIGTERM)
                send_signal(process, signal.SIGCONT)  # a stopped process hears nothing else
        await asyncio.sleep(min(pause, max(grace - waited, 0.005)) if waited < grace else pause)
        pause = min(pause * 1.5, 0.1)
    return len(hunt.seen)


def send_signal(process: Process, number: signal.Signals) -> None:
    """Signal exactly this process; one that has ended, or belongs to somebody else, is left alone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if not hasattr(os, "pidfd_open"):
            if identify(process.pid) == process:
                os.kill(process.pid, number)
            return
        fd = os.pidfd_open(process.pid)  # from here on the pid cannot become another's
        try:
            if identify(process.pid) == process:
                signal.pidfd_send_signal(fd, number)
        finally:
            os.close(fd)


class Strays:
    """Orphans that came to this process because their worker died: nobody else will end them.

    What is seen in two rounds only is touched, so that a child which somebody here has just started is left alone.
    """

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self._seen: set[Process] = set()

    async def run_once(self, known: Iterable[int]) -> None:
        """Bury dead ones and end living ones; `known` are the children that have an owner."""
        ours = set(known)
        dead: set[Process] = set()
        living: set[Process] = set()
        for pid, entry in (await asyncio.to_thread(_table)).items():
            if entry.parent == os.getpid() and pid not in ours:
                (dead if entry.is_dead else living).add(Process(pid, entry.started))
        for process in dead & self._seen:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)  # noqa: ASYNC222 - it is dead: nothing is waited for
        if again := living & self._seen:
            log.warning("ending processes that a dead worker left", pids=sorted(one.pid for one in again))
            await end(again)
        self._seen = dead | living


class _Hunt:
    """What belongs to the tree, remembered over several looks: an orphan still belongs to it."""

    def __init__(self, roots: list[Process], marks: set[str]) -> None:
        self.seen: set[Process] = set(roots)
        self._marks = {f"{MARK}={mark}".encode() for mark in marks}

    def look(self) -> list[Process]:
        """Return what of it is alive now."""
        table = _table()
        members = {p.pid for p in self.seen if p.pid in table and table[p.pid].started == p.started}
        members |= {pid for pid in table if self._is_marked(pid)}
        children: dict[int, list[int]] = {}
        for pid, entry in table.items():
            children.setdefault(entry.parent, []).append(pid)
        waiting = list(members)
        while waiting:
            found = [pid for pid in children.get(waiting.pop(), []) if pid not in members]
            members.update(found)
            waiting += found
        members.discard(os.getpid())
        self.seen |= {Process(pid, table[pid].started) for pid in members}
        return [Process(pid, table[pid].started) for pid in members if not table[pid].is_dead]

    def _is_marked(self, pid: int) -> bool:
        if not self._marks or pid == os.getpid():
            return False
        try:
            return not self._marks.isdisjoint((_PROC / str(pid) / "environ").read_bytes().split(b"\0"))
        except OSError:
            return False  # not ours to read, or just gone; macOS has no such file


def _table(pids: list[int] | None = None) -> dict[int, _Entry]:
    return _linux_table(pids) if sys.platform == "linux" else _ps_table(pids)


def _linux_table(pids: list[int] | None) -> dict[int, _Entry]:
    table = {}
    for pid in pids if pids is not None else [int(name) for name in os.listdir(_PROC) if name.isdecimal()]:  # noqa: PTH208
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name in parentheses may itself hold spaces and parentheses.
            fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
            table[pid] = _Entry(int(fields[1]), f"{_boot()}:{int(fields[19])}", fields[0] in {b"Z", b"X"})
    return table


def _ps_table(pids: list[int] | None) -> dict[int, _Entry]:
    which = ["-ax"] if pids is None else ["-p", ",".join(map(str, pids))]
    shown = subprocess.run(
        ["ps", *which, "-o", "pid=,ppid=,stat=,lstart="],
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
    )
    table = {}
    for line in shown.stdout.splitlines():
        with contextlib.suppress(ValueError):
            pid, parent, state, started = line.split(None, 3)
            table[int(pid)] = _Entry(int(parent), started.strip(), state.startswith("Z"))
    return table


_boot_ids: list[str] = []


def _boot() -> str:
    """Return what tells this boot of the machine from others: start times count from it."""
    if not _boot_ids:
        try:
            _boot_ids.append((_PROC / "sys/kernel/random/boot_id").read_text().strip()[:8])
        except OSError:
            _boot_ids.append("")
    return _boot_ids[0]
