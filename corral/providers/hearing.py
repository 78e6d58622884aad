"""What was heard of an answer that is still coming: shown to whoever watches, and paid for should it be cut off."""

from __future__ import annotations

import msgspec

from corral.base.redactor import Blocks
from corral.providers.journal import Journal
from corral.providers.limits import Clocks
from corral.providers.provider import Spent, clean
from corral.wire.events import Usage

_CHARACTERS_A_TOKEN = 4


class Heard:
    """What was heard of an answer so far."""

    def __init__(self, model: str, source: str, asked: int) -> None:
        """Take which model answers, what its ledger line is called, and how many tokens it was asked with."""
        self.clocks: Clocks | None = None
        self._model = model
        self._source = source
        self._asked = asked
        self._spent: Spent | None = None
        self._journal: Journal | None = None
        self._blocks: Blocks | None = None
        self._kinds: dict[str, bool] = {}
        self._characters = 0

    def show(self, journal: Journal) -> None:
        """Let people watch."""
        self._journal = journal
        self._blocks = Blocks(journal.redactor)

    def beat(self) -> None:
        """The provider is alive."""
        if self.clocks is not None:
            self.clocks.beat()

    def piece(self, block: str, text: str, *, is_thought: bool) -> None:
        """Take a piece of its text."""
        self._characters += len(text)
        if self._blocks is not None:
            self._kinds[block] = is_thought
            self._tell(block, *self._blocks.feed(block, clean(text)))

    def end(self) -> None:
        """Show what was held back: it is whole now."""
        if self._blocks is not None:
            for block in self._kinds:
                self._tell(block, *self._blocks.end(block))

    def _tell(self, block: str, offset: int, text: str) -> None:
        if self._journal is not None and text:
            self._journal.frame(block, offset, text, is_thought=self._kinds[block])

    def spent(self, so_far: Spent) -> None:
        """Take what the provider says it has cost so far."""
        self._spent = so_far

    def lines(self) -> list[Usage]:
        """Return what it cost until it was cut: as the provider said, else counted; nothing if it had not begun."""
        if self._spent is None and not self._characters:
            return []
        spent = self._spent or Spent(input_tokens=self._asked)
        written = max(spent.output_tokens, -(-self._characters // _CHARACTERS_A_TOKEN))
        spent = msgspec.structs.replace(spent, output_tokens=written)
        return [
            msgspec.structs.replace(usage_line(f"{self._source}/{self._model}", self._model, spent), estimated=True)
        ]


def usage_line(source: str, model: str, spent: Spent) -> Usage:
    """Return the ledger line of what an answer cost."""
    return Usage(
        source=source,
        model=model,
        input_tokens=spent.input_tokens,
        output_tokens=spent.output_tokens,
        cache_read_tokens=spent.cache_read_tokens,
        cache_write_tokens=spent.cache_write_tokens,
        cost_micros=spent.cost_micros,
    )
