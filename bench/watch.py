"""`python -m bench.watch`: a process that watches a run over many SSE connections and counts what arrives.

Reads one JSON object from stdin ({host, port, path, key, watchers, timed, events, seconds}), prints `ready` when every
stream is open, and one JSON object when each has had all its events or the time is up. Events whose payload has a `"t"`
(the clock's nanoseconds when they were sent) are timed.

It must cost less than the server it measures: one selector, no tasks, no parsing beyond `id:` and `"t"`. With `timed`
only so many streams, spread over all of them, are read at once and timed; the others are emptied 20 times a second.
"""

from __future__ import annotations

import array
import json
import re
import selectors
import socket
import sys
import time
from typing import Any

_ID = b"\nid: "
#: Seconds between two looks at the streams that are not timed.
_SWEEP = 0.05
_SENT = re.compile(rb'"t":(\d+)')


Seen = dict[str, Any]


class Stream:
    """One watcher's connection."""

    __slots__ = ("count", "ended", "open", "socket", "tail")

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.count = 0
        self.open = self.ended = False
        self.tail = b""


def main() -> None:
    told = json.loads(sys.stdin.readline())
    request = (
        f"GET {told['path']} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {told['key']}\r\n"
        "Accept: text/event-stream\r\n\r\n"
    ).encode()
    selector = selectors.DefaultSelector()
    streams = [connect(told["host"], told["port"], request) for _ in range(told["watchers"])]
    for stream in streams:
        selector.register(stream.socket, selectors.EVENT_READ, stream)
    deadline = time.monotonic() + told["seconds"]
    while not all(stream.open for stream in streams):
        for key, _ in selector.select(1.0):
            opened(key.data)
        if time.monotonic() > deadline:
            sys.exit("the streams did not open in time")
    print("ready", flush=True)
    print(json.dumps(count(selector, streams, told, deadline)), flush=True)


def connect(host: str, port: int, request: bytes) -> Stream:
    """Open a connection and ask for the stream."""
    connection = socket.create_connection((host, port), timeout=30)
    connection.sendall(request)
    connection.setblocking(False)
    return Stream(connection)


def opened(stream: Stream) -> None:
    """Read an answer's head; what comes with it is counted."""
    data = stream.tail + stream.socket.recv(65536)
    if b"\r\n\r\n" not in data:
        stream.tail = data
        return
    if not data.startswith(b"HTTP/1.1 200"):
        sys.exit(f"the stream was refused: {data[:300]!r}")
    stream.open = True
    stream.count += data.count(_ID)
    stream.tail = data[-4:]


def count(selector: selectors.BaseSelector, streams: list[Stream], told: dict[str, Any], deadline: float) -> Seen:
    """Count until every stream has had its events; return how many came, and how late."""
    events, step = told["events"], len(streams) // told["timed"] if told["timed"] else 1
    swept = [stream for n, stream in enumerate(streams) if n % step]
    for stream in swept:
        selector.unregister(stream.socket)
    waited = array.array("q")
    look_at = finished_at = 0
    while time.monotonic() < deadline:
        for key, _ in selector.select(_SWEEP):
            finished_at = read(key.data, waited) or finished_at
            if key.data.ended:
                selector.unregister(key.fileobj)
        if time.monotonic_ns() < look_at:
            continue
        look_at = time.monotonic_ns() + int(_SWEEP * 1e9)
        for stream in swept:
            finished_at = read(stream, None) or finished_at
        if all(stream.count >= events or stream.ended for stream in streams):
            break
    ordered = sorted(waited)
    return {
        "delivered": sum(stream.count for stream in streams),
        "least": min(stream.count for stream in streams),
        "finished_at": finished_at,
        "p50": at_rank(ordered, 0.50),
        "p99": at_rank(ordered, 0.99),
        "timed": len(ordered),
    }


def read(stream: Stream, waited: array.array[int] | None) -> int:
    """Take what has come on a stream, and note how late each of its events is; return the time, 0 if nothing came."""
    try:
        data = stream.socket.recv(1 << 18)
    except BlockingIOError:
        return 0
    at = time.monotonic_ns()
    if waited is not None:
        for sent in _SENT.findall(data):
            waited.append(at - int(sent))
    # An id split between two reads is seen in the seam.
    stream.count += data.count(_ID) + (stream.tail + data[:4]).count(_ID)
    stream.tail = data[-4:] if len(data) >= 4 else (stream.tail + data)[-4:]
    stream.ended = not data
    return at


def at_rank(ordered: list[int], rank: float) -> float:
    """Return a percentile of sorted nanoseconds, in milliseconds."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * rank))] / 1e6 if ordered else 0.0


if __name__ == "__main__":
    main()
