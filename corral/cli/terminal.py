"""Where commands write: plain lines into pipes and files, colours and cut tables on a terminal."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

_STYLES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}
#: What a terminal would obey rather than show; line breaks and tabs stay.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_GAP = "  "
#: Columns that a cut cell keeps at least: the end of an id, with its ellipsis.
_NARROWEST = 10

#: A status in the colour it has in the console.
STATUS_STYLE = {
    "queued": "dim",
    "running": "blue",
    "waiting": "yellow",
    "paused": "magenta",
    "completed": "green",
    "failed": "red",
    "cancelled": "dim",
    "online": "green",
    "offline": "dim",
    "idle": "dim",
    "working": "blue",
    "archived": "dim",
    "pending": "dim",
    "done": "green",
    "error": "red",
    "ok": "green",
    "failing": "red",
    "unknown": "dim",
}


class Terminal:
    """One output stream."""

    def __init__(self, stream: TextIO) -> None:
        """Take the stream; whether it is a terminal decides on colours and widths."""
        self.stream = stream
        self.is_terminal = stream.isatty()
        self._colours = self.is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    @property
    def width(self) -> int | None:
        """Return the columns there are, None where lines have no end."""
        return shutil.get_terminal_size().columns if self.is_terminal else None

    def paint(self, text: str, style: str = "") -> str:
        """Return `text` in a style, where the stream shows styles."""
        if not style or not text or not self._colours:
            return text
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"

    def line(self, text: str = "", style: str = "") -> None:
        """Write a line."""
        self.write(self.paint(text, style) + "\n")

    def write(self, text: str) -> None:
        """Write text that is already clean."""
        self.stream.write(text)
        self.stream.flush()

    def json(self, value: Any) -> None:
        """Write one JSON document."""
        indent = 2 if self.is_terminal else None
        self.line(json.dumps(value, ensure_ascii=False, indent=indent))

    def facts(self, facts: Mapping[str, Any]) -> None:
        """Write a line a fact, its name before it; what is empty is left out."""
        told = {name: one_line(str(value)) for name, value in facts.items() if value not in (None, "", [])}
        width = max((len(name) for name in told), default=0) + len(_GAP)
        for name, value in told.items():
            self.line(self.paint(name.ljust(width), "dim") + self.paint(value, STATUS_STYLE.get(value, "")))

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Write aligned columns; on a terminal they are cut so that a row is a line."""
        cells = [list(headers), *([one_line(cell) for cell in row] for row in rows)]
        widths = [max(len(row[n]) for row in cells) for n in range(len(headers))]
        if self.width:
            widths = _fitting(widths, self.width - len(_GAP) * (len(widths) - 1))
        for number, row in enumerate(cells):
            padded = [cut(cell, width).ljust(width) for cell, width in zip(row, widths, strict=True)]
            if number:
                padded = [self.paint(text, STATUS_STYLE.get(cell, "")) for text, cell in zip(padded, row, strict=True)]
            self.line(_GAP.join(padded).rstrip(), "" if number else "dim")


def stdout() -> Terminal:
    """Return where answers go."""
    return Terminal(sys.stdout)


def stderr() -> Terminal:
    """Return where errors and hints go."""
    return Terminal(sys.stderr)


def clean(text: str) -> str:
    """Return text without what a terminal would obey: agents and their tools may print anything."""
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def one_line(text: str) -> str:
    """Return text on one line."""
    return " ".join(clean(text).split())


def cut(text: str, width: int) -> str:
    """Return at most `width` characters, the last one an ellipsis if some are missing."""
    return text if len(text) <= width else text[: width - 1] + "…"


def _fitting(widths: Sequence[int], room: int) -> list[int]:
    """Return widths that there is room for: the last column gives way first, then whichever is the widest."""
    *others, last = widths
    fitting = [*others, max(min(last, room - sum(others)), min(last, _NARROWEST))]
    while sum(fitting) > room and max(fitting) > _NARROWEST:
        fitting[fitting.index(max(fitting))] -= 1
    return fitting


def ago(moment: str | None, *, now: datetime | None = None) -> str:
    """Tell how long ago an RFC 3339 time was: `12 s`, `3 min`, `5 h`, `2 d`."""
    if not moment:
        return "never"
    seconds = ((now or datetime.now(UTC)) - datetime.fromisoformat(moment)).total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(int(seconds), 0)} s"
