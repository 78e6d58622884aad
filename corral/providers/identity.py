"""Which runner row is this process's? One that a process before it had, if that is gone: its runs go on at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from corral.base.ids import is_id, new_id

if sys.platform != "win32":
    import fcntl

#: More processes than that on one data directory get identities that nobody takes over.
_MOST = 64


@contextmanager
def identity(data: Path) -> Iterator[str]:
    """Yield a uid that no other living process of this data directory has."""
    if sys.platform == "win32":  # without locks each process is a new one, and the lease finds what another left
        yield new_id()
        return
    folder = data / "engine"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in range(_MOST):
        fd = os.open(folder / f"{number}.uid", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            continue
        try:
            yield _uid(fd)
        finally:
            os.close(fd)
        return
    yield new_id()


def _uid(fd: int) -> str:
    uid = os.pread(fd, 100, 0).decode("ascii", "replace")
    if not is_id(uid):  # new, or cut off by a power loss at its very first write
        uid = new_id()
        os.ftruncate(fd, 0)
        os.pwrite(fd, uid.encode(), 0)
        os.fsync(fd)
    return uid
