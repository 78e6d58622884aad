"""How an event looks to those who watch: encoded once, written to all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from corral.wire.events import ENDS_RUN, TokenFrame


class Logged(msgspec.Struct, frozen=True):
    """One entry of a run's log as it is stored."""

    seq: int
    attempt: int
    type: str
    payload: str  #: JSON object
    created_at: int  #: ms


def moment(ms: int) -> str:
    """Return RFC 3339 in UTC with milliseconds, as every face shows times."""
    return f"{_second(ms // 1000)}.{ms % 1000:03d}Z"


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    """Remember: events come many a second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def event_json(run_id: str, event: Logged) -> str:
    """Return the canonical JSON of an event; its payload goes in as it is stored."""
    return (
        f'{{"id":{event.seq},"run_id":"{run_id}","sequence":{event.seq},"event_type":"{event.type}",'
        f'"payload":{event.payload},"created_at":"{moment(event.created_at)}"}}'
    )


def sse(run_id: str, events: Iterable[Logged]) -> bytes:
    """Return the events as server-sent ones: `id:` is the sequence, the JSON has no line breaks."""
    return "".join([f"id: {event.seq}\ndata: {event_json(run_id, event)}\n\n" for event in events]).encode()


def token_sse(frame: TokenFrame) -> bytes:
    """Return a live token: no `id:`, because it is not stored and nobody resumes from it."""
    return b'data: {"event_type":"agent.token","payload":' + msgspec.json.encode(frame) + b"}\n\n"


def log_hint(run_id: str, events: list[Logged]) -> Callable[[], bytes]:
    """Make the hint that a log has grown by these: first and last sequence, whether the run ended, and the frames."""
    return lambda: (
        b"%d %d %d\n"
        % (
            events[0].seq,
            events[-1].seq,
            events[-1].type in ENDS_RUN,
        )
        + sse(run_id, events)
    )


def token_hint(frames: list[TokenFrame]) -> Callable[[], bytes]:
    """Make the hint that carries live tokens."""
    return lambda: b"0 0 0\n" + b"".join([token_sse(frame) for frame in frames])
