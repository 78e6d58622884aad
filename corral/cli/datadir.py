"""Corral's directory on this machine: where it is, who holds it, and how to reach the server that does.

`server.lock` is held by the one server process (or offline command) that uses the directory; `server.json` stands while
a server answers; `key` (mode 600) is what local commands show to it, `runner-key` what the child runner does.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from corral.cli.errors import CommandError

if sys.platform != "win32":
    import fcntl


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """Where the server that holds the directory answers."""

    pid: int
    url: str


class Held(CommandError):
    """Another process uses this data directory."""


def default_path(env: Mapping[str, str], *, demo: bool = False) -> Path:
    """Return `$CORRAL_DATA`, else `~/.corral` (the demo, which shares nothing with it, has a directory beside it)."""
    if env.get("CORRAL_DATA"):
        return Path(env["CORRAL_DATA"]).expanduser().absolute()
    return Path.home() / (".corral-demo" if demo else ".corral")


class DataDir:
    """One data directory."""

    def __init__(self, path: Path) -> None:
        """Take its path; nothing is made before `create`."""
        self.path = path
        self.key_file = path / "key"
        self.runner_key_file = path / "runner-key"
        self._lock_file = path / "server.lock"
        self._info_file = path / "server.json"

    def create(self) -> None:
        """Make the directory, readable by its owner alone."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise CommandError(
                f"{self.path} cannot be used as data directory: {error.strerror}", hint="Name another with --data DIR."
            ) from error

    def key(self) -> str:
        """Return the local key, or nothing when no server has been started here yet."""
        try:
            return self.key_file.read_text(encoding="utf-8").strip()
        except OSError:
            return ""

    def server(self) -> ServerInfo | None:
        """Return where the running server answers, None when none does."""
        try:
            told = json.loads(self._info_file.read_text(encoding="utf-8"))
            info = ServerInfo(pid=int(told["pid"]), url=str(told["url"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return info if self.is_held() else None  # a killed server leaves its file behind

    def is_held(self) -> bool:
        """Tell whether a process holds the lock now."""
        try:
            with self._lock_file.open("r", encoding="utf-8") as file:
                return not _try_lock(file, shared=True)  # two who only ask don't see each other
        except OSError:
            return False

    def holder(self) -> str:
        """Return who wrote itself into the lock last: the command and its pid, for people."""
        try:
            told = json.loads(self._lock_file.read_text(encoding="utf-8"))
            return f"{told['command']} (pid {told['pid']})"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"

    @contextlib.contextmanager
    def locked(self, command: str, *, patience: float = 5.0) -> Iterator[bool]:
        """Hold the directory. Offline commands hold it for moments: wait for those up to `patience` seconds."""
        with self.try_locked(command) as held:
            if held:
                yield True
                return
        deadline = time.monotonic() + patience
        while self.server() is None and time.monotonic() < deadline:
            time.sleep(0.05)
            with self.try_locked(command) as held:
                if held:
                    yield True
                    return
        raise self._held()

    @contextlib.contextmanager
    def try_locked(self, command: str) -> Iterator[bool]:
        """Hold the directory if nobody does, and say whether."""
        self.create()
        with self._lock_file.open("a+", encoding="utf-8") as file:
            if not _try_lock(file):
                yield False
                return
            file.truncate(0)
            file.write(json.dumps({"pid": os.getpid(), "command": command}))
            file.flush()
            yield True

    @contextlib.contextmanager
    def announced(self, url: str) -> Iterator[None]:
        """Tell local commands where the server answers, for as long as it does."""
        fresh = self._info_file.with_suffix(".new")
        fresh.write_text(json.dumps({"pid": os.getpid(), "url": url}) + "\n", encoding="utf-8")
        fresh.replace(self._info_file)
        try:
            yield
        finally:
            self._info_file.unlink(missing_ok=True)

    def _held(self) -> Held:
        info, who = self.server(), self.holder()
        if info is None:
            return Held(f"{self.path} is in use by {who}.", hint="Wait for it to end, or name another with --data DIR.")
        return Held(
            f"A server runs already: {who} uses {self.path} and answers at {info.url}",
            hint=f"Stop it with `kill {info.pid}`, or start a second one beside it with --data DIR --port N.",
        )


def _try_lock(file: IO[str], *, shared: bool = False) -> bool:
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
