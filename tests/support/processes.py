"""Child processes of tests: each in a process group of its own, with a log, and gone when the test process is."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.support import warm
from tests.support.waiting import PATIENCE, eventually

LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
PR_SET_PDEATHSIG = 1

#: All processes that live now, so that a failing test can print their logs and the session's end can end them.
LIVING: list[Process] = []


class Process:
    """A command with its log. `start` may be called again after it ended: same command, log appended."""

    def __init__(self, name: str, command: Sequence[str], *, env: Mapping[str, str], log: Path, cwd: Path) -> None:
        self.name = name
        self.command = list(command)
        self.env = dict(env)
        self.log = log
        self.cwd = cwd
        self.shown = 0  #: bytes of the log that belong to earlier tests
        self.popen: subprocess.Popen[bytes] | warm.Forked | None = None

    def start(self) -> None:
        assert not self.is_running(), f"{self.name} runs already"
        with self.log.open("ab") as log:
            if warm.suits(self.command, self.env):
                with Path(os.devnull).open("rb") as nothing:
                    self.popen = warm.origin().fork(self.command[3:], self.env, self.cwd, (nothing, log, log))
            else:
                self.popen = subprocess.Popen(
                    self.command,
                    env=self.env,
                    cwd=self.cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=die_with_parent,  # noqa: PLW1509 - one prctl, no Python state
                )
        if self not in LIVING:
            LIVING.append(self)

    @property
    def pid(self) -> int:
        assert self.popen is not None
        return self.popen.pid

    @property
    def exit_code(self) -> int | None:
        return self.popen.poll() if self.popen else None

    def is_running(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send to this one process, not to its group."""
        assert self.popen is not None
        self.popen.send_signal(number)

    def kill(self) -> None:
        """kill -9 of this one process: what it leaves behind is the product's affair."""
        self.signal(signal.SIGKILL)
        self.wait()

    def wait(self, within: float = 20.0) -> int:
        assert self.popen is not None
        try:
            return self.popen.wait(within * PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {within:g} s") from None

    def stop(self) -> None:
        """End it kindly, then by force, with its group. Harmless when it has ended."""
        if self.popen is None:
            return
        if self.popen.poll() is None:
            self.popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(4)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        if self in LIVING:
            LIVING.remove(self)

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def wait_for_line(self, part: str, within: float = 20.0) -> str:
        """The first line of the log with `part` in it; fails at once when the process has ended without."""
        deadline = time.monotonic() + within * PATIENCE
        while True:
            ended = not self.is_running()
            for line in self.output().splitlines():
                if part in line:
                    return line
            assert not ended, f"{self.name} ended with {self.exit_code}, without {part!r}:\n{self.output()[-3000:]}"
            assert time.monotonic() < deadline, f"{self.name}: no {part!r} in {within:g} s:\n{self.output()[-3000:]}"
            time.sleep(0.02)


def end_all() -> None:
    """End whatever a test left."""
    for process in LIVING.copy():
        process.stop()


def die_with_parent() -> None:
    """In the child: be killed when the test process is, however that ends (Linux; elsewhere `end_all` does it).

    And hear ^C, which a shell makes those deaf to whom it starts in the background.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def base_env(home: Path) -> dict[str, str]:
    """What every child gets, and nothing else of this process's environment."""
    kept = ("PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "COVERAGE_PROCESS_START")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "HOME": str(home),
        "PYTHONUNBUFFERED": "1",
    }


def _candidates() -> Iterator[int]:
    # Below what the kernel gives to clients, so that a restarted server finds its port free; a range of its own for
    # each worker, and for suites that run at the same time.
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    start = 12000 + worker % 16 * 1200 + os.getpid() % 400
    return itertools.cycle(range(start, start + 800))


_ports = _candidates()


def free_port() -> int:
    """A port that nothing listens on, and that will not be handed out again soon."""
    return next(port for port in _ports if is_free(port))


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def is_alive(pid: int) -> bool:
    """Whether a process lives (a zombie does not)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return sys.platform != "linux"
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


def gone(pid: int, within: float = 10.0) -> None:
    eventually(lambda: not is_alive(pid), within=within, what=f"process {pid} is gone")
