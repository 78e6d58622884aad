"""Tables for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable, Sequence

from sanic.request import Request

from corral.web.answers import CSV, Answer
from corral.web.call import request_id

#: How a cell begins that a spreadsheet would carry out.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_csv(headers: Sequence[str], rows: Iterable[Sequence[object]], name: str) -> Answer:
    """Answer a table as a file of this name; None is an empty cell."""
    return Answer(lines([headers, *rows]), headers=_told(name), content_type=CSV)


async def stream_csv(
    request: Request, headers: Sequence[str], pages: AsyncIterator[Iterable[Sequence[object]]], name: str
) -> Answer | None:
    """Answer a table that may be too long to be kept as a whole: page by page, as they are read."""
    answer = Answer(None, headers={**_told(name), "x-request-id": request_id(request)}, content_type=CSV)
    if request.method == "HEAD":
        return answer
    response = await request.respond(answer)
    assert response is not None
    await response.send(lines([headers]))
    async for page in pages:
        await response.send(lines(page))
    await response.eof()
    return None


def lines(rows: Iterable[Sequence[object]]) -> str:
    """Return rows as they stand in such a file."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def wants_csv(request: Request, format: str | None) -> bool:
    """Tell whether a table is asked for: in the query, or else by the header Accept."""
    return format == "csv" or (format is None and "text/csv" in request.headers.getone("accept", ""))


def dollars(micros: int | None) -> str | None:
    """Return millionths of a dollar as dollars, all of them."""
    if micros is None:
        return None
    return f"{'-' if micros < 0 else ''}{abs(micros) // 1_000_000}.{abs(micros) % 1_000_000:06}"


def _told(name: str) -> dict[str, str]:
    return {"cache-control": "no-store", "content-disposition": f'attachment; filename="{name}"', "vary": "accept"}


def _cell(value: object) -> object:
    """Return text that a spreadsheet shows and does not carry out."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
