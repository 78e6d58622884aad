"""Streamed text on its way to live watchers: merged, at most 20 frames a second, never kept."""

from __future__ import annotations

from corral.wire.events import TokenFrame

FRAME_SECONDS = 0.05
#: More than this waiting means that nobody takes it: the whole text comes as an event anyway.
MOST_CHARACTERS = 64 * 1024


class Tokens:
    """The frames of one run that wait for the next POST."""

    def __init__(self) -> None:
        """Begin empty, and due at once."""
        self._frames: list[TokenFrame] = []
        self._characters = 0
        self._due = 0.0

    def add(self, frame: TokenFrame) -> None:
        """Keep a frame; one that continues the last is merged into it."""
        if self._characters + len(frame.text) > MOST_CHARACTERS:
            self.clear()
        last = self._frames[-1] if self._frames else None
        if (
            last is not None
            and (last.block, last.kind) == (frame.block, frame.kind)
            and last.offset + len(last.text) == frame.offset
        ):
            last.text += frame.text
        else:
            self._frames.append(TokenFrame(frame.block, frame.offset, frame.text, frame.kind))
        self._characters += len(frame.text)

    def due_in(self, now: float) -> float | None:
        """Return the seconds until the next frame may go, None when none waits."""
        return max(self._due - now, 0.0) if self._frames else None

    def take(self, now: float, *, early: bool = False) -> list[TokenFrame]:
        """Return what may go now; `early` takes all, because the event that has the whole text goes as well."""
        if not self._frames or (now < self._due and not early):
            return []
        frames = self._frames
        self._frames, self._characters = [], 0
        self._due = max(now, self._due) + FRAME_SECONDS * len(frames)
        return frames

    def clear(self) -> None:
        """Drop everything: nobody is there to see it."""
        self._frames, self._characters = [], 0
