"""What was asked and what was served: the truth that tests hold a run's own ledger against."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from typing import Literal

import msgspec

from corral.demo.tokens import Usage

#: how much is remembered of each kind
KEPT_SERVED, KEPT_REQUESTS, KEPT_ATTEMPTS = 20_000, 200, 10_000

_SECRET_HEADERS = frozenset({"authorization", "x-api-key", "cookie"})


class Served(msgspec.Struct):
    """One request for an answer, and what became of it."""

    no: int
    at: float  #: seconds since the epoch
    id: str  #: the answer's message id
    model: str
    session: str  #: the client's session id, or ""
    key: str  #: of the conversation: the same for all turns of one script
    kind: Literal["turn", "side"]  #: side: what a client asks beside the conversation, such as a title
    turn: int  #: which answer of the script, from 0
    attempt: int  #: of this turn, from 0
    stream: bool
    status: Literal["open", "finished", "cut", "error"] = "open"  #: cut: the client left, or the script cut it
    http: int = 200
    stop_reason: str | None = None
    usage: Usage = Usage()  #: what the client was told; of one that was cut, what it was told until then


class Received(msgspec.Struct):
    """A request as it came in."""

    no: int
    at: float  #: seconds since the epoch
    method: str
    path: str
    headers: dict[str, str]  #: without keys and tokens
    body: msgspec.Raw | None  #: JSON; None if it was something else, or nothing


class Ledger:
    """Bounded records in memory."""

    def __init__(self) -> None:
        self.served: deque[Served] = deque(maxlen=KEPT_SERVED)
        self.received: deque[Received] = deque(maxlen=KEPT_REQUESTS)
        self._attempts: OrderedDict[tuple[str, int], int] = OrderedDict()
        self._no = 0

    def receive(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        """Note a request."""
        told = {name: value for name, value in headers.items() if name.lower() not in _SECRET_HEADERS}
        self.received.append(Received(self._next_no(), time.time(), method, path, told, _raw(body)))

    def begin(
        self, *, id: str, model: str, session: str, key: str, kind: Literal["turn", "side"], turn: int, stream: bool
    ) -> Served:
        """Note an answer that begins; its fields change as it goes on."""
        attempt = self._next_attempt(key, turn) if kind == "turn" else 0
        entry = Served(self._next_no(), time.time(), id, model, session, key, kind, turn, attempt, stream)
        self.served.append(entry)
        return entry

    def _next_attempt(self, key: str, turn: int) -> int:
        """How often this turn was asked for before, and count it."""
        seen = self._attempts.pop((key, turn), 0)
        self._attempts[key, turn] = seen + 1
        if len(self._attempts) > KEPT_ATTEMPTS:
            self._attempts.popitem(last=False)
        return seen

    def _next_no(self) -> int:
        """A number greater than all before."""
        self._no += 1
        return self._no


def _raw(body: bytes) -> msgspec.Raw | None:
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return msgspec.Raw(body)
