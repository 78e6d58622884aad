"""What an attempt has spent, message by message, and whether it may go on: reckoned where it is spent."""

from __future__ import annotations

from corral.wire.events import Usage
from corral.wire.prices import MILLION, Prices
from corral.wire.runner import Limits, Money, Pause

#: Who has spent all waits so long for more: the server looks each second whether there is some.
PATIENCE_SECONDS = 3.0
_GO_ON = "It goes on where it stopped once the budget is raised, or a new period begins."


class Unsettled:
    """What is known of messages whose turn has not told its sums. Feed it drafts and usage lines in order."""

    def __init__(self) -> None:
        """Start with none."""
        self._drafts: dict[str, Usage] = {}

    @property
    def lines(self) -> list[Usage]:
        """Return what counts should nothing more be heard: the newest draft of each message."""
        return list(self._drafts.values())

    def knows(self, usage: Usage) -> bool:
        """Tell whether there was a word on this message before."""
        return usage.source in self._drafts

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


class Purse:
    """The money of one attempt: any amount if nothing limits it."""

    def __init__(self, limits: Limits, money: Money | None) -> None:
        """Take what limits the attempt."""
        self._prices = Prices(money.prices if money is not None else ())
        self._allowed = money.allowed_micros if money is not None else None
        self._most_usd = limits.max_cost_usd
        self._spent = 0
        self._unsettled = Unsettled()

    def knows(self, usage: Usage) -> bool:
        """Tell whether there was a word on this message before."""
        return self._unsettled.knows(usage)

    def draft(self, usage: Usage) -> None:
        """Take the newest word on a message."""
        self._unsettled.draft(usage)

    def spend(self, usage: Usage) -> None:
        """Take a usage line."""
        self._unsettled.spend(usage)
        self._spent += self._prices.counted([usage])

    def fund(self, allowed_micros: int) -> None:
        """Let it spend so much in all."""
        self._allowed = allowed_micros

    @property
    def spent(self) -> int:
        """Return what is spent, in millionths of a dollar: as reported, else as the prices say."""
        return self._spent + self._prices.counted(self._unsettled.lines)

    @property
    def is_at_its_limit(self) -> bool:
        """Tell whether the run's own limit of its cost is reached."""
        return self._most_usd is not None and self.spent >= self._most_usd * MILLION

    def pause(self) -> Pause | None:
        """Return why the run must pause, if what its budget gave it is spent."""
        if self._allowed is None or (spent := self.spent) < self._allowed:
            return None
        of = f"${spent / MILLION:.4f} of the ${self._allowed / MILLION:.4f} that it was given"
        message = f"Its budget is used up: this attempt has spent {of}"
        return Pause("budget", message, _GO_ON)
