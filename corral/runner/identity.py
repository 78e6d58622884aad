"""Who this runner is: a uid in its data directory, which one process at a time holds."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from corral.base.errors import BadRequest, Conflict
from corral.base.ids import is_id, new_id

try:
    import fcntl
except ImportError:  # Windows, where runners don't run yet
    fcntl = None  # type: ignore[assignment]


class Identity:
    """The locked data directory. The lock ends with the process, however that ends."""

    def __init__(self, data: Path, *, patience: float = 0.0) -> None:
        """Make and lock `data`, for which another runner has `patience` seconds to end; read or make the uid."""
        _make_private(data)
        self._lock = _lock(data / "runner.lock", data, patience)
        self.uid = _uid(data / "runner.json")

    def release(self) -> None:
        """Let go of the directory."""
        os.close(self._lock)


def _make_private(data: Path) -> None:
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        data.chmod(0o700)
    except OSError as error:
        raise BadRequest(
            f"{data} cannot be the runner's data directory ({error.strerror}); set CORRAL_DATA to one that can",
            field="CORRAL_DATA",
        ) from error


def _lock(path: Path, data: Path, patience: float) -> int:
    if fcntl is None:
        raise BadRequest("Runners need Linux or macOS: on Windows, start one inside WSL")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() >= deadline:
                holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
                os.close(fd)
                raise Conflict(
                    f"Another runner (pid {holder}) uses {data}; stop it, or give this one a CORRAL_DATA of its own",
                    field="CORRAL_DATA",
                ) from None
            time.sleep(0.1)
    os.ftruncate(fd, 0)
    os.pwrite(fd, str(os.getpid()).encode(), 0)
    return fd


def _uid(path: Path) -> str:
    try:
        uid = json.loads(path.read_text(encoding="utf-8"))["uid"]
        if isinstance(uid, str) and is_id(uid):
            return uid
    except FileNotFoundError:
        pass
    except (ValueError, KeyError, TypeError):
        pass  # cut off by a power loss at its very first write: nobody knows that uid yet
    uid, fresh = new_id(), path.with_suffix(".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump({"uid": uid}, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    return uid
