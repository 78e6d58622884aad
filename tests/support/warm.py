"""Processes of ours that begin with their modules imported: forked from one process a worker that has imported them.

Imports and migrations are most of what commands and starts of servers cost, and the same each time. What is forked
has a session, environment, folder and standard streams of its own, and ends as any process does.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from tests.support.waiting import PATIENCE

REPOSITORY = Path(__file__).parents[2]
#: What the interpreter reads of its environment when it starts: who wants it otherwise starts one.
_INTERPRETERS = re.compile(r"PYTHON\w*|LANG|LC_\w+|TZ|COVERAGE_\w+")
#: What nothing reads while it is imported.
_HARMLESS = re.compile(
    r"(CORRAL|ANTHROPIC|OPENAI|OPENROUTER|CLAUDE|BUN)_\w+|HOME|PATH|TERM|IS_SANDBOX|ALLOWED_DIRS|RUNNER_NAME"
)
#: What may be begun: the command, and what drives Claude Code.
CORRAL, CLAUDE = "corral.cli.app", "corral.runner.engines.claude"


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class Forked:
    """A process, as `subprocess.Popen` has it."""

    def __init__(self, pid: int, told: int) -> None:
        """Take its id, and from where its exit code is read."""
        self.pid = pid
        self.returncode: int | None = None
        self._told = told

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("corral", timeout or 0)
            self.returncode = int(os.read(self._told, 16) or -signal.SIGKILL)
            os.close(self._told)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Origin:
    """The process that has imported everything. It ends with the one that made it, and all it forked with it."""

    def __init__(self) -> None:
        self._asking = threading.Lock()
        self._control, theirs = socket.socketpair()
        with theirs:
            self.env = {name: value for name, value in os.environ.items() if _INTERPRETERS.fullmatch(name)}
            self.env["PYTHONUNBUFFERED"] = "1"
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.warm", str(theirs.fileno())],
                env={"PATH": os.environ["PATH"], **self.env},
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def fork(
        self,
        arguments: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        streams: tuple[IO[bytes], ...],
        *,
        module: str = CORRAL,
    ) -> Forked:
        """Start a module's `main` with these three streams."""
        told, tell = os.pipe()
        asked = json.dumps([[module, *arguments], dict(env), str(cwd)]).encode()
        with self._asking:
            fds = [*(stream.fileno() for stream in streams), tell]
            socket.send_fds(self._control, [len(asked).to_bytes(4, "big")], fds)
            self._control.sendall(asked)
            pid = int.from_bytes(_exactly(self._control, 4), "big")
        os.close(tell)
        return Forked(pid, told)

    def end(self) -> None:
        """End it, and what it forked; wait until it has."""
        self._control.close()
        self._process.wait(10 * PATIENCE)


_origin: Origin | None = None
_making = threading.Lock()


def origin() -> Origin:
    global _origin  # noqa: PLW0603 - one for all tests of this process, made when the first needs it
    with _making:
        if _origin is None:
            _origin = Origin()
        return _origin


def end() -> None:
    """End the process that is forked from, if there is one."""
    global _origin  # noqa: PLW0603 - see above
    with _making:
        if _origin is not None:
            _origin.end()
            _origin = None


def suits(command: Sequence[str], env: Mapping[str, str]) -> bool:
    """Whether the command is one of `corral` that may as well be forked."""
    if list(command[:3]) != [sys.executable, "-m", "corral"]:
        return False
    ours = {name: value for name, value in env.items() if _INTERPRETERS.fullmatch(name)}
    rest = env.keys() - ours.keys()
    return all(_HARMLESS.fullmatch(name) for name in rest) and ours.items() <= origin().env.items()


def run(arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path, stdin: str = "", within: float = 60) -> Ended:
    """Run `corral` with these arguments to its end."""
    command = [sys.executable, "-m", "corral", *arguments]
    seconds = within * PATIENCE
    env = {"PYTHONUNBUFFERED": "1", **env}
    if not suits(command, env):
        done = subprocess.run(
            command, env=env, cwd=cwd, input=stdin, capture_output=True, text=True, timeout=seconds, check=False
        )
        return Ended(done.returncode, done.stdout, done.stderr)
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin.encode())
        given.seek(0)
        process = origin().fork(arguments, env, cwd, (given, out, err))
        try:
            code = process.wait(seconds)
        finally:
            process.send_signal(signal.SIGKILL)
        out.seek(0)
        err.seek(0)
        return Ended(code, out.read().decode(), err.read().decode())


def cheapen_passwords() -> None:
    """Let a password's hash take a millisecond here, not a fifth of a second; what it takes elsewhere has its test."""
    from argon2 import PasswordHasher

    from corral.platform import passwords

    passwords._hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


# In the process that is forked from


def _serve(control: socket.socket, template: Path) -> list[str]:
    """Fork for as long as somebody may ask. Returns in the forked process alone: with its module and arguments."""
    control.set_inheritable(False)
    woken, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    living: dict[int, int] = {}  # where the exit code of each is told
    while True:
        ready, _, _ = select.select([control, woken], [], [])
        if woken in ready:
            woken.recv(4096)
            _reap(living)
        if control not in ready:
            continue
        head, fds, _, _ = socket.recv_fds(control, 4, 4)
        if not head:
            for pid in living:
                os.kill(pid, signal.SIGKILL)
            _reap(living, 0)  # who comes after us may be a container's init, which does not
            shutil.rmtree(template, ignore_errors=True)
            os._exit(0)
        arguments, env, cwd = json.loads(_exactly(control, int.from_bytes(head, "big")))
        _load_sdks(arguments[1:], env)
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for ours in (control, woken, wake):
                ours.close()
            for fd in (fds[3], *living.values()):
                os.close(fd)
            _become(env, cwd, fds[:3])
            _give_tables(arguments[1:], env, template)
            return [str(one) for one in arguments]
        living[pid] = fds[3]
        for fd in fds[:3]:
            os.close(fd)
        control.sendall(pid.to_bytes(4, "big"))


def _reap(living: dict[int, int], options: int = os.WNOHANG) -> None:
    """Tell how those ended that have; with other options, wait until all have."""
    while living:
        pid, status = os.waitpid(-1, options)
        if not pid:
            return
        told = living.pop(pid)
        with contextlib.suppress(BrokenPipeError):  # nobody wants to know
            os.write(told, str(os.waitstatus_to_exitcode(status)).encode())
        os.close(told)


def _become(env: dict[str, str], cwd: str, streams: Sequence[int]) -> None:
    from tests.support.processes import die_with_parent

    os.setsid()
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
        os.close(fd)
    die_with_parent()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path[0] = cwd
    time.tzset()


#: What servers load when they first talk to a model, by what names the model's server; seconds each.
_SDKS = {"ANTHROPIC_BASE_URL": ("anthropic", "mcp"), "OPENAI_BASE_URL": ("openai",)}


def _load_sdks(arguments: Sequence[str], env: Mapping[str, str]) -> None:
    """Load what a server is going to load, once it is asked for: most workers' servers talk to no model."""
    wanted = [name for known, names in _SDKS.items() if known in env for name in names if name not in sys.modules]
    if arguments[:1] != ["serve"] or not wanted:
        return
    for name in wanted:
        importlib.import_module(name)
    assert threading.active_count() == 1, threading.enumerate()
    gc.collect()
    gc.freeze()


def _exactly(control: socket.socket, count: int) -> bytes:
    read = b""
    while len(read) < count:
        piece = control.recv(count - len(read))
        assert piece, "the process that is forked from has ended"
        read += piece
    return read


def _give_tables(arguments: Sequence[str], env: Mapping[str, str], template: Path) -> None:
    """Spare a new server on SQLite its migrations, which take a second: they have tests of their own."""
    if arguments[:1] not in (["serve"], ["up"]) or "--data" not in arguments or "CORRAL_DATABASE_URL" in env:
        return
    data = Path(arguments[list(arguments).index("--data") + 1])
    if not data.exists():
        shutil.copytree(template, data)


def _import() -> Path:
    """Load what commands and servers load; return a new data directory that has its tables."""
    from corral.cli.commands import build
    from corral.platform import database
    from corral.platform.settings import Settings

    for name in ("corral.cli.offline", "corral.cli.demo", "corral.web.app", "corral.runner.main", CLAUDE):
        importlib.import_module(name)
    build()
    cheapen_passwords()
    template = Path(tempfile.mkdtemp(prefix="corral-tables-"))

    async def migrate() -> None:
        await database.connect(Settings(data=template))
        await database.disconnect()

    asyncio.run(migrate())
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            thread.join(30)  # that of a connection that was closed a moment ago
    assert threading.active_count() == 1, threading.enumerate()
    gc.collect()
    gc.freeze()
    return template


if __name__ == "__main__":
    _template = _import()
    _module, *_arguments = _serve(socket.socket(fileno=int(sys.argv[1])), _template)
    sys.argv = ["corral", *_arguments]
    importlib.import_module(_module).main()
