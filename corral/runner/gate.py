"""The one way out: whatever a runner says of an attempt is masked here before it is written to disk or sent.

The CLI knows the attempt's secrets, so anything that it says may hold one: events, streamed text, calls of tools, the
last words of a process. What leaves some other way is a leak, so nothing does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from corral.base.redactor import Blocks, Redactor
from corral.runner.trim import MOST_BYTES, trim
from corral.wire.events import EventType, TokenFrame, Usage

#: The exact action is what a person approves, so more of it is kept.
MOST_APPROVAL_BYTES = 900_000
#: Events whose whole text was streamed before: their last frames go with them, not after them.
WHOLE_TEXTS = frozenset({EventType.AGENT_MESSAGE, EventType.AGENT_THINKING})
#: More blocks than these do not come at a time: the oldest has ended without a word.
_MOST_BLOCKS = 16


class _Streamed(msgspec.Struct):
    """What an event says of the block that was streamed before it."""

    block: str | None = None


_decode = msgspec.json.Decoder(_Streamed).decode


class Gate:
    """What masks one attempt's secrets."""

    def __init__(self, secrets: Iterable[tuple[str, str]] = (), *, known: Collection[str] = ()) -> None:
        """Take the secrets by name, and values that are no secret even if they are among them."""
        self._redactor = Redactor(secrets, known=known)
        self._blocks = Blocks(self._redactor)
        self._kinds: dict[str, str] = {}  # of the blocks that have not ended

    def event(self, type: EventType, payload: bytes) -> bytes:
        """Return an event's payload as it may leave: masked first, and then no longer than an event may be."""
        masked = self._redactor.json(payload)
        return trim(masked, MOST_APPROVAL_BYTES if type == EventType.PERMISSION_REQUESTED else MOST_BYTES)

    def json(self, data: bytes) -> bytes:
        """Return JSON as it may leave."""
        return self._redactor.json(data)

    def text(self, text: str) -> str:
        """Return a text as it may leave."""
        return self._redactor.text(text)

    def usage(self, usage: Usage) -> Usage:
        """Return a usage line as it may leave: its names come from the CLI."""
        source, model = self.text(usage.source), self.text(usage.model)
        if (source, model) == (usage.source, usage.model):
            return usage
        return msgspec.structs.replace(usage, source=source, model=model)

    def frame(self, frame: TokenFrame) -> TokenFrame | None:
        """Return what is decided of streamed text; what may become a secret waits for what comes after it."""
        if self._redactor.is_empty:
            return frame
        if frame.block not in self._kinds:
            if len(self._kinds) >= _MOST_BLOCKS:
                self._end(next(iter(self._kinds)))  # nobody misses it: its text comes as an event
            self._kinds[frame.block] = frame.kind
        frame.offset, frame.text = self._blocks.feed(frame.block, frame.text)
        return frame if frame.text else None

    def rest(self, type: EventType, payload: bytes) -> TokenFrame | None:
        """Return what was held back of the block whose text this event brings."""
        if self._kinds and type in WHOLE_TEXTS and (block := _decode(payload).block) in self._kinds:
            return self._end(block)
        return None

    def _end(self, block: str) -> TokenFrame | None:
        kind = self._kinds.pop(block)
        offset, text = self._blocks.end(block)
        return TokenFrame(block, offset, text, kind) if text else None
