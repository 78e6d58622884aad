"""Units of work: what they yield, are sent and may be told. The same ones run on both databases."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from corral.base.errors import CorralError, Unavailable


class Duplicate(CorralError):
    """A row with this unique value exists."""


class GaveWay(Unavailable):
    """The transaction gave way to another, and may be tried again at once.

    Two waited for each other, or a migration has changed a table that a statement had been prepared for.
    """


class Row(Protocol):
    """A row of either driver: by column name or by position."""

    def __getitem__(self, key: str | int, /) -> Any:
        """Return one column."""

    def __iter__(self) -> Iterator[Any]:
        """Yield the columns."""

    def keys(self) -> Iterable[str]:
        """Return the columns' names."""


class Statement(NamedTuple):
    """SQL with `$n` placeholders; `many` runs it once for each tuple of arguments and answers no rows."""

    sql: str
    args: tuple[Any, ...] = ()
    many: Sequence[tuple[Any, ...]] | None = None
    alone: bool = False  #: before the first other one PostgreSQL commits it by itself, saving two round trips


T = TypeVar("T")
Rows = Sequence[Row]
#: A unit of work: yields statements, is sent their rows, returns what it decided.
Unit = Generator[Statement, Rows, T]


def sql(text: str, *args: Any) -> Statement:
    """Return a statement for a unit to yield; it is sent the rows."""
    return Statement(text, args)


def alone(text: str, *args: Any) -> Statement:
    """Return a statement that needs no transaction with those before it, which have none either."""
    return Statement(text, args, alone=True)


def many(text: str, rows: Sequence[tuple[Any, ...]]) -> Statement:
    """Return a statement that runs once for each tuple of `rows`."""
    return Statement(text, (), rows)
