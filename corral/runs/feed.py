"""The only reader of logs: pages of events, and the live feed that one process reads once for all who watch a run.

A watcher listens before it reads, so that no event falls between. Hinted frames are pushed only if they begin right
after what was pushed last; else the rows are read. Who cannot keep up is left to catch up from the rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from corral import bus
from corral.platform import database
from corral.runs import packs
from corral.runs.chunks import Chunk, Shelf
from corral.runs.frames import Logged, sse
from corral.runs.hints import log_topic
from corral.wire.events import ENDS_RUN

log = structlog.get_logger(__name__)

#: Events read in one go when somebody catches up.
_PAGE = 500
#: Bytes that are kept of a watched run for those who catch up: of what was pushed lately, and of the pages read lately.
_KEPT = 1024 * 1024
#: So many watchers of one run are a crowd.
_CROWD = 50
_LONGEST_REST = 0.05


class Sink(Protocol):
    """Where one watcher's frames go."""

    def write(self, chunk: bytes) -> bool:
        """Take a chunk without waiting; False if it was not taken, because too much is waiting already."""

    async def drained(self) -> None:
        """Wait until there is room again; raises when the watcher has gone."""

    def close(self) -> None:
        """The feed has ended: the run has, or the server stops."""


async def events(run_no: int, *, after: int = 0, before: int | None = None, limit: int | None = None) -> list[Logged]:
    """Return events in ascending order: those after a sequence, or the last `limit` ones before one."""
    if before is not None:
        return await packs.before(run_no, before, after=after, limit=limit or _PAGE)
    return await packs.after(run_no, after, limit)


class Feeds:
    """The runs that somebody in this process watches."""

    def __init__(self, frame: Callable[[bytes], bytes] = bytes) -> None:
        """Take what makes a transport's chunk of bytes; it is applied once for all watchers of a run."""
        self.frame = frame
        self.stopping = False
        self._feeds: dict[int, Feed] = {}

    async def watch(self, run_no: int, run_id: str, after: int, sink: Sink) -> None:
        """Push everything after a sequence to the sink until the run ends, the sink goes, or the server stops."""
        feed = self._feeds.get(run_no)
        if feed is None:
            feed = self._feeds[run_no] = Feed(self, run_no, run_id)
        try:
            await feed.watch(after, sink)
        finally:
            if not feed.watched and self._feeds.get(run_no) is feed:
                del self._feeds[run_no]
                feed.close()

    async def reread(self) -> None:
        """Ask once how far every watched log has grown, and read those that are behind: for hints that were lost."""
        if not self._feeds:
            return
        watched = tuple(self._feeds.items())
        wanted = ",".join(str(no) for no, _ in watched)
        rows = await database.fetch(f"SELECT no, last_seq FROM runs WHERE no IN ({wanted})")  # noqa: S608 - integers
        grown = {row["no"]: row["last_seq"] for row in rows}
        for no, feed in watched:
            if no in grown:
                feed.grown(grown[no])
            else:
                feed.finish()  # the run was deleted

    def close(self) -> None:
        """End every stream: the server stops."""
        self.stopping = True
        for feed in tuple(self._feeds.values()):
            feed.finish()


class _Watcher:
    """One who watches: where its frames go, how far it is, and what ends its time among the live ones."""

    __slots__ = ("left", "seq", "sink")

    def __init__(self, sink: Sink, seq: int) -> None:
        self.sink, self.seq = sink, seq
        self.left: asyncio.Future[bool] | None = None  # True: the stream is over; False: fell behind


class Feed:
    """One run's live feed in one process."""

    def __init__(self, feeds: Feeds, run_no: int, run_id: str) -> None:
        """Listen at once; what is hinted before anybody is live is read from the rows."""
        self._feeds, self._run_no, self._run_id = feeds, run_no, run_id
        self._live: dict[_Watcher, None] = {}
        self._joining = 0
        self._recent = Shelf(_KEPT)  # pushed lately, without a gap
        self._pages = Shelf(_KEPT)  # read lately
        self._reading: dict[int, asyncio.Task[Chunk | None]] = {}
        self._seq = 0  # pushed so far: the end of the recent chunks, and where the live ones are or soon will be
        self._gathered: list[Chunk] = []  # pushed, but not written yet
        self._rest: asyncio.Handle | None = None  # set while what comes gathers
        self._known = 0  # how far the log has grown, as far as anybody said
        self._reader: asyncio.Task[None] | None = None
        self._unlisten = bus.current().listen(log_topic(run_no), self._hear)

    @property
    def watched(self) -> bool:
        """Tell whether anybody watches."""
        return bool(self._live) or self._joining > 0

    async def watch(self, after: int, sink: Sink) -> None:
        """Catch the sink up and keep it live; catch it up again whenever it has fallen behind."""
        watcher = _Watcher(sink, after)
        over = False
        while not over and not self._feeds.stopping:
            self._joining += 1
            try:
                over = await self._catch_up(watcher)
            finally:
                self._joining -= 1
            if over or self._feeds.stopping:
                return
            over = await self._stay_live(watcher)
            if not over:
                await sink.drained()

    def grown(self, last_seq: int) -> None:
        """Hear that the log has grown so far; read what was not pushed."""
        self._known = max(self._known, last_seq)
        if self._live and self._seq < self._known and self._reader is None:
            self._reader = asyncio.get_running_loop().create_task(self._read())

    def finish(self) -> None:
        """Let every watcher go."""
        for watcher in tuple(self._live):
            _let_go(watcher, over=True)

    def close(self) -> None:
        """Stop to listen."""
        self._unlisten()
        if self._rest is not None:
            self._rest.cancel()
        for task in (self._reader, *self._reading.values()):
            if task is not None:
                task.cancel()

    async def _catch_up(self, watcher: _Watcher) -> bool:
        """Write what has been; returns True if the log's last entry is the run's end."""
        ended = False
        while chunk := self._kept(watcher.seq + 1) or await self._read_once(watcher.seq):
            while not watcher.sink.write(chunk.data):
                await watcher.sink.drained()
            watcher.seq, ended = chunk.last, chunk.ends
            if watcher.seq >= self._known and not chunk.more:
                break
        return ended

    def _kept(self, first: int) -> Chunk | None:
        return self._recent.get(first) or self._pages.get(first)

    async def _read_once(self, after: int) -> Chunk | None:
        """Read a page, once for all who want it now: whoever fell behind did so in company."""
        reading = self._reading.get(after)
        if reading is None:
            reading = self._reading[after] = asyncio.get_running_loop().create_task(self._page(after))
            reading.add_done_callback(lambda _: self._reading.pop(after, None))
        return await asyncio.shield(reading)

    async def _page(self, after: int) -> Chunk | None:
        """Return a page, which ends where a recent chunk begins."""
        limit = min(_PAGE, next((first - 1 - after for first in self._recent if first - 1 > after), _PAGE))
        rows = await events(self._run_no, after=after, limit=limit)
        if not rows:
            return None
        chunk = self._chunk(rows, more=len(rows) == limit)
        if chunk.more:  # a part of one would be outgrown
            self._pages.put(chunk)
        return chunk

    def _chunk(self, rows: list[Logged], *, more: bool) -> Chunk:
        data = self._feeds.frame(sse(self._run_id, rows))
        return Chunk(rows[0].seq, rows[-1].seq, data, rows[-1].type in ENDS_RUN, more)

    async def _stay_live(self, watcher: _Watcher) -> bool:
        """Be pushed to until the stream is over (True) or the sink cannot keep up (False)."""
        if not self._live and self._seq != watcher.seq:
            self._begin(watcher.seq)
        watcher.left = asyncio.get_running_loop().create_future()
        self._live[watcher] = None
        self.grown(self._known)
        try:
            return await watcher.left
        finally:
            self._live.pop(watcher, None)

    def _hear(self, hint: bytes) -> None:
        head, _, frames = hint.partition(b"\n")
        first, last, ends = (int(number) for number in head.split())
        if last == 0:
            self._gather(Chunk(0, 0, self._feeds.frame(frames), ends=False))
            return
        if self._reader is None:
            if not self._live and first != self._seq + 1:
                self._begin(first - 1)
            if first == self._seq + 1:
                self._known = max(self._known, last)
                self._push(Chunk(first, last, self._feeds.frame(frames), bool(ends)))
                return
        self.grown(last)

    async def _read(self) -> None:
        """Read what hints did not bring, and push it to all at once."""
        try:
            while self._live and self._seq < self._known:
                rows = await events(self._run_no, after=self._seq, limit=_PAGE)
                if not rows:
                    break
                if rows[0].seq == self._seq + 1:
                    self._push(self._chunk(rows, more=len(rows) == _PAGE))
        except Exception as error:  # noqa: BLE001 - the next hint or reread tries again
            log.warning("a log could not be read", error=str(error))
        finally:
            self._reader = None

    def _begin(self, seq: int) -> None:
        """Forget the recent chunks; the next one begins after `seq`."""
        self._recent.clear()
        self._gathered.clear()
        self._seq = seq

    def _push(self, chunk: Chunk) -> None:
        """Keep the next chunk for those who catch up, and write it to the live ones."""
        self._seq = chunk.last
        self._recent.put(chunk)
        self._gather(chunk)

    def _gather(self, chunk: Chunk) -> None:
        if not self._live:
            return
        self._gathered.append(chunk)
        if self._rest is None:
            self._write()

    def _write(self) -> None:
        """Write what has gathered, as one, to the live ones."""
        gathered, self._gathered = self._gathered, []
        began = asyncio.get_running_loop().time()
        data = gathered[0].data if len(gathered) == 1 else b"".join([chunk.data for chunk in gathered])
        stored = [chunk for chunk in gathered if chunk.last]
        before, last = (stored[0].first - 1, stored[-1].last) if stored else (self._seq, self._seq)
        over = bool(stored) and stored[-1].ends and not stored[-1].more
        for watcher in tuple(self._live):
            if watcher.seq >= last > before:
                continue  # it has read them
            if watcher.seq == before and watcher.sink.write(data):
                watcher.seq = last
                if over:
                    _let_go(watcher, over=True)
            else:
                _let_go(watcher, over=False)
        if len(self._live) >= _CROWD:
            self._rest = asyncio.get_running_loop().call_soon(self._written, began)

    def _written(self, began: float) -> None:
        """Rest half as long as the writing took: a crowd gets fewer, larger chunks before it slows the server down."""
        loop = asyncio.get_running_loop()
        self._rest = loop.call_later(min((loop.time() - began) / 2, _LONGEST_REST), self._rested)

    def _rested(self) -> None:
        self._rest = None
        if self._gathered:
            self._write()


def _let_go(watcher: _Watcher, *, over: bool) -> None:
    if watcher.left is not None and not watcher.left.done():
        watcher.left.set_result(over)


_feeds = Feeds()


def feeds() -> Feeds:
    """Return this process's feeds."""
    return _feeds


def reset(frame: Callable[[bytes], bytes] = bytes) -> Feeds:
    """Begin anew, with the framing of the server that starts."""
    global _feeds  # noqa: PLW0603 - one set of feeds a process
    _feeds = Feeds(frame)
    return _feeds
