"""What an attempt has to tell the server, on disk until the server has it: an append-only file of JSON lines.

The file is the only truth; memory holds where each record begins. A line that was cut off by a crash is dropped when
the file is opened again. Records keep their order, so usage lines follow the events they were reported after.
"""

from __future__ import annotations

import asyncio
import os
import time
from array import array
from bisect import bisect_left
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from corral.base.logs import get_logger
from corral.wire.events import ENDS_ATTEMPT, EventType, RunnerEvent, Usage
from corral.wire.purse import Unsettled
from corral.wire.runner import Held

KEPT_SECONDS = 24 * 3600.0
SUFFIX = ".jsonl"

log = get_logger()


class Head(msgspec.Struct, tag_field="line", tag="head"):
    """First line: whose file this is. `first` is the `n` after which it begins."""

    run_id: str
    attempt: int
    lease: str
    first: int = 0


class Event(msgspec.Struct, tag_field="line", tag="event"):
    """An event; `at` is this machine's wall clock."""

    n: int
    type: EventType
    at: float
    payload: msgspec.Raw


class Spent(msgspec.Struct, tag_field="line", tag="usage"):
    """A usage line."""

    usage: Usage


class Drafted(msgspec.Struct, tag_field="line", tag="draft"):
    """What a message is known to have used. `settle` makes usage lines of what stays."""

    usage: Usage


class Closed(msgspec.Struct, tag_field="line", tag="closed"):
    """Last line: the server has all of it, or wants no more."""

    at: float
    why: str  #: stored | fenced | gone


Line = Head | Event | Spent | Drafted | Closed

_encode = msgspec.json.Encoder().encode
_decode_line = msgspec.json.Decoder(Line).decode


@dataclass(slots=True)
class Piece:
    """Some records in their order, ready to be sent; `next` is the record after them."""

    events: list[RunnerEvent] = field(default_factory=list)
    usage: list[Usage] = field(default_factory=list)
    next: int = 0


class Spool:
    """The file of one attempt."""

    def __init__(self, path: Path, fd: int, head: Head) -> None:
        """Not for callers: `create` and `load` make them."""
        self.path = path
        self.head = head
        self.last_n = head.first
        self.end: EventType | None = None  #: the event that ended the attempt, once it is here
        self.end_n = 0
        self.closed: Closed | None = None
        self.unsettled = Unsettled()
        self.drafted = 0  #: records up to the last that changed what is unsettled
        self._fd = fd
        self._size = 0
        self._starts = array("Q")  # where each record begins
        self._ns = array("Q")  # and the n of it, or of the event before it

    @property
    def held(self) -> Held:
        """Return the attempt and its lease."""
        return Held(self.head.run_id, self.head.attempt, self.head.lease)

    @property
    def count(self) -> int:
        """Return the number of records."""
        return len(self._starts)

    def append(self, type: EventType, payload: bytes, *, at: float | None = None) -> int:
        """Add an event and return its number. OSError means that it is not in the file, nor is a part of it."""
        n = self.last_n + 1
        event = Event(n, type, time.time() if at is None else at, msgspec.Raw(payload))
        self._write(event, n)
        return n

    def append_usage(self, usage: Usage) -> None:
        """Add a usage line."""
        self._write(Spent(usage), self.last_n)

    def append_draft(self, usage: Usage) -> None:
        """Add what a message is known to have used: it counts if we die before its turn tells its sums."""
        self._write(Drafted(usage), self.last_n)

    def settle(self) -> None:
        """Count what was only drafted: nobody will tell the sums any more."""
        for usage in self.unsettled.lines:
            self.append_usage(usage)

    def close(self, why: str) -> None:
        """Note that nothing of this has to be sent any more."""
        if self.closed is None:
            self._write(Closed(time.time(), why), self.last_n)

    def reopen(self) -> None:
        """There is something to send again: it is closed anew when the server has that."""
        self.closed = None

    def skip_to(self, n: int) -> None:
        """Number on from `n`, and end again if we ended: the server has what a power cut took from us."""
        if n <= self.last_n:
            return
        end = self.read(bisect_left(self._ns, self.end_n), 1, 1).events if self.end is not None else []
        self.last_n = n
        for event in end:
            self.append(event.type, bytes(event.payload), at=time.time() - event.age)

    async def sync(self) -> None:
        """Make sure that a power cut does not take what was written."""
        if self._fd < 0:
            return  # sent and closed already
        fd = os.dup(self._fd)  # it may be sent and closed meanwhile
        try:
            await asyncio.to_thread(os.fsync, fd)
        finally:
            os.close(fd)

    def release(self) -> None:
        """Close the file; a later `load` opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def after(self, n: int) -> int:
        """Return the record that follows event `n`; usage lines reported right after it come again with it."""
        if n <= self.head.first:
            return 0
        at = bisect_left(self._ns, n)
        return at + 1 if at < len(self._ns) and self._ns[at] == n else at

    def read(self, start: int, most_events: int, most_bytes: int, *, stored: int = 0) -> Piece:
        """Return records from `start`, at least one if there is one; events up to number `stored` are left out."""
        stop = self._reach(start, most_events, most_bytes)
        piece, now = Piece(next=stop), time.time()
        if start >= stop:
            return piece
        begin = self._starts[start]
        data = os.pread(self._fd, self._start_of(stop) - begin, begin)
        for line in data.rstrip(b"\n").split(b"\n"):
            record = _decode_line(line)
            if isinstance(record, Event) and record.n > stored:
                age = max(0.0, now - record.at)
                piece.events.append(RunnerEvent(record.n, record.type, record.payload, age))
            elif isinstance(record, Spent):
                piece.usage.append(record.usage)
        return piece

    def _reach(self, start: int, most_events: int, most_bytes: int) -> int:
        stop = min(start + most_events, self.count)
        while stop > start + 1 and self._start_of(stop) - self._starts[start] > most_bytes:
            stop = start + max(1, (stop - start) // 2)
        return stop

    def _start_of(self, record: int) -> int:
        return self._starts[record] if record < len(self._starts) else self._size

    def _write(self, line: Line, n: int) -> None:
        data = _encode(line) + b"\n"
        try:
            write_all(self._fd, data)
        except OSError:
            os.ftruncate(self._fd, self._size)  # no half lines in the middle of the file
            raise
        self._note(line, n, len(data))

    def _note(self, line: Line, n: int, length: int) -> None:
        if isinstance(line, Closed):
            self.closed = line
        elif not isinstance(line, Head):
            self._starts.append(self._size)
            self._ns.append(n)
            self.last_n = n
            if isinstance(line, Event) and line.type in ENDS_ATTEMPT:
                self.end, self.end_n = line.type, n
            if isinstance(line, Drafted):
                self.unsettled.draft(line.usage)
                self.drafted = self.count
            elif isinstance(line, Spent) and self.unsettled.spend(line.usage):
                self.drafted = self.count
        self._size += length


def create(folder: Path, held: Held, *, first: int = 0) -> Spool:
    """Make the file of an attempt. FileExistsError: this runner has had the attempt before."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = path_of(folder, held)
    spool = Spool(path, _open(path, os.O_CREAT | os.O_EXCL), Head(held.run_id, held.attempt, held.lease, first))
    try:
        spool._write(spool.head, first)  # noqa: SLF001 - its maker
    except OSError:
        spool.release()
        path.unlink()
        raise
    return spool


def load(path: Path) -> Spool | None:
    """Open a file again, dropping a last line that was cut off. None when not even its head was written. Blocks."""
    fd = _open(path, 0)
    spool: Spool | None = None
    with path.open("rb") as file:
        for data in file:
            line = _decode(data)
            if line is None:
                break
            if isinstance(line, Head):
                spool = Spool(path, fd, line)
            if spool is None:
                break
            spool._note(line, line.n if isinstance(line, Event) else spool.last_n, len(data))  # noqa: SLF001 - its maker
    if spool is None:
        os.close(fd)
        path.unlink()
        return None
    size = os.fstat(fd).st_size
    if size > spool._size:  # noqa: SLF001 - its maker
        log.warning("dropped a line that a crash cut off", spool=path.name, bytes=size - spool._size)  # noqa: SLF001
        os.ftruncate(fd, spool._size)  # noqa: SLF001
    return spool


def path_of(folder: Path, held: Held) -> Path:
    """Return where an attempt's file is. Run ids come from the server, so they are not trusted to be a file's name."""
    return folder / f"{_safe(held.run_id)}.{int(held.attempt)}{SUFFIX}"


def _safe(run_id: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in run_id)[:100]


def prune(folder: Path, now: float) -> int:
    """Delete the files whose end the server acknowledged a day ago; return how many. Blocks."""
    gone = 0
    for path in folder.glob(f"*{SUFFIX}"):
        try:
            if now - path.stat().st_mtime > KEPT_SECONDS and is_closed(path):
                path.unlink(missing_ok=True)
                gone += 1
        except OSError as error:  # it is there for good, and keeps no other from being deleted
            log.warning("a spool cannot be read or deleted", spool=path.name, error=str(error))
    return gone


def forget(folder: Path, run_id: str) -> None:
    """Delete the files of a run of which nothing has to be sent any more. Blocks."""
    for path in folder.glob(f"{_safe(run_id)}.*{SUFFIX}"):
        if is_closed(path):
            path.unlink(missing_ok=True)


def is_closed(path: Path) -> bool:
    """Tell whether the last line says that nothing of this file has to be sent any more. Blocks."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 200))
        last = file.read().rstrip(b"\n").rpartition(b"\n")[2]
    return isinstance(_decode(last + b"\n"), Closed)


def _decode(data: bytes) -> Line | None:
    if not data.endswith(b"\n"):
        return None
    try:
        line: Line = _decode_line(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return line


def _open(path: Path, flags: int) -> int:
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | flags, 0o600)


def write_all(fd: int, data: bytes) -> None:
    """Write all of it. OSError: a part at most is in the file."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
