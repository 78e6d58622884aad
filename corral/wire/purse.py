"""What an attempt has spent, message by message, and whether it may go on: reckoned where it is spent."""

from __future__ import annotations

from corral.wire.events import Usage


class Unsettled:
    """What is known of messages whose turn has not told its sums. Feed it drafts and usage lines in order."""

    def __init__(self) -> None:
        """Start with none."""
        self._drafts: dict[str, Usage] = {}

    @property
    def lines(self) -> list[Usage]:
        """Return what counts should nothing more be heard: the newest draft of each message."""
        return list(self._drafts.values())

    def draft(self, usage: Usage) -> None:
        """Take the newest word on a message."""
        self._drafts[usage.source] = usage

    def spend(self, usage: Usage) -> bool:
        """Take a usage line: of a message that was drafted, or of a turn, whose sums hold all that was drafted.

        Tell whether that leaves fewer drafts.
        """
        before = len(self._drafts)
        if self._drafts.pop(usage.source, None) is None:
            self._drafts.clear()
        return len(self._drafts) < before
