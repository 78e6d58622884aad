"""What a successor must know if this process dies: the processes it had started, the commands it had carried out.

Which attempts it held, the spool says: each without an event that ended it. Lines are appended and never changed; now
and then the file is written anew with what still counts.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from corral.base.logs import get_logger
from corral.runner.spool import write_all
from corral.runner.tree import Process
from corral.wire.runner import CommandStatus

#: Results of so many commands are remembered after the server has them: an older poll's answer may still offer them.
REMEMBERED = 1000
#: After so many lines the file is written anew, without what no longer counts.
REWRITE_LINES = 5000


log = get_logger()


class Started(msgspec.Struct, tag_field="line", tag="process"):
    """A worker or a CLI was started; `run_id` is empty for a spare worker."""

    process: Process
    run_id: str = ""


class Gone(msgspec.Struct, tag_field="line", tag="gone"):
    """Everything of this run was proven dead."""

    run_id: str


class Begun(msgspec.Struct, tag_field="line", tag="begun"):
    """A command is about to be carried out."""

    command_id: str


class Done(msgspec.Struct, tag_field="line", tag="done"):
    """How a command ended."""

    command_id: str
    status: CommandStatus
    message: str = ""


class Told(msgspec.Struct, tag_field="line", tag="told"):
    """The server has the command's result."""

    command_id: str


Line = Started | Gone | Begun | Done | Told

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode


@dataclass(slots=True)
class State:
    """What the lines of a journal come to."""

    processes: list[Started] = field(default_factory=list)
    begun: dict[str, None] = field(default_factory=dict)
    done: dict[str, Done] = field(default_factory=dict)
    told: dict[str, None] = field(default_factory=dict)

    def apply(self, line: Line) -> None:
        """Take one more line into account."""
        match line:
            case Started():
                # Once a spare gets a run, it is that run's and no spare any more.
                self.processes = [*(one for one in self.processes if one.process != line.process), line]
            case Gone(run_id):
                self.processes = [one for one in self.processes if one.run_id != run_id]
            case Begun(command_id):
                self.begun[command_id] = None
            case Done(command_id):
                self.done[command_id] = line
            case Told(command_id):
                self.told[command_id] = None

    def forget(self) -> None:
        """Drop commands that were settled long ago."""
        for command_id in list(self.told)[:-REMEMBERED]:
            for known in (self.told, self.begun, self.done):
                known.pop(command_id, None)

    def lines(self) -> list[Line]:
        """Return the lines that come to this state."""
        return [*self.processes, *map(Begun, self.begun), *self.done.values(), *map(Told, self.told)]


class Journal:
    """The file. Until `begin`, `state` is what the predecessor left; from then on it is kept along."""

    def __init__(self, path: Path) -> None:
        """Read what was left."""
        self.state = _read(path)
        self._path = path
        self._fd = -1
        self._lines = 0

    def begin(self) -> None:
        """Start to write, now that nothing of the predecessor is alive."""
        self.state.processes.clear()
        self._rewrite()

    def started(self, process: Process, run_id: str = "") -> None:
        """Note a process. A full disk is no reason to end it: `CORRAL_RUN` and its parent lead to it as well."""
        self._try_append(Started(process, run_id))

    def gone(self, run_id: str) -> None:
        """Note that nothing of a run is left."""
        self._try_append(Gone(run_id))

    def begun(self, command_id: str) -> None:
        """Note that a command is about to be carried out. OSError: that could not be noted, so it must not be."""
        try:
            self._append(Begun(command_id))
        except OSError:
            del self.state.begun[command_id]
            raise

    def done(self, command_id: str, status: CommandStatus, message: str) -> None:
        """Note how it ended."""
        self._try_append(Done(command_id, status, message))

    def told(self, command_id: str) -> None:
        """Note that the server has the result."""
        self._try_append(Told(command_id))

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _try_append(self, line: Line) -> None:
        try:
            self._append(line)
        except OSError as error:
            log.warning("the journal cannot be written", error=str(error))

    def _append(self, line: Line) -> None:
        self.state.apply(line)
        # The newline before it keeps a line readable that follows one which a full disk cut off.
        write_all(self._fd, b"\n" + _encode(line) + b"\n")
        self._lines += 1
        if self._lines > REWRITE_LINES:
            try:
                self._rewrite()
            except OSError as error:
                log.warning("the journal cannot be written anew", error=str(error))
                self._lines = 0  # it only grows meanwhile

    def _rewrite(self) -> None:
        self.state.forget()
        fresh = self._path.with_suffix(".new")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            write_all(fd, b"".join(_encode(line) + b"\n" for line in self.state.lines()))
            fresh.replace(self._path)
        except OSError:
            os.close(fd)
            raise
        self.close()
        self._fd, self._lines = fd, 0


def _read(path: Path) -> State:
    state = State()
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return state
    for line in data.split(b"\n"):
        try:
            state.apply(_decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue  # empty, or cut off by a crash; the lines after it stand for themselves
    return state
