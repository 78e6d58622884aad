"""Tables for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from corral.web.answers import CSV, Answer

#: How a cell begins that a spreadsheet would carry out.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_csv(headers: Sequence[str], rows: Iterable[Sequence[object]], name: str) -> Answer:
    """Answer a table as a file of this name; None is an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(headers)
    writer.writerows([_cell(value) for value in row] for row in rows)
    told = {"cache-control": "no-store", "content-disposition": f'attachment; filename="{name}"', "vary": "accept"}
    return Answer(out.getvalue(), headers=told, content_type=CSV)


def dollars(micros: int | None) -> str | None:
    """Return millionths of a dollar as dollars, all of them."""
    if micros is None:
        return None
    return f"{'-' if micros < 0 else ''}{abs(micros) // 1_000_000}.{abs(micros) % 1_000_000:06}"


def _cell(value: object) -> object:
    """Return text that a spreadsheet shows and does not carry out."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
