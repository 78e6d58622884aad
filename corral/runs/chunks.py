"""Pieces of a log, encoded once and shared by all who watch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Chunk(NamedTuple):
    """Encoded frames of consecutive events."""

    first: int
    last: int
    data: bytes
    ends: bool  #: its last event ends the run
    more: bool = False  #: it was a full page: the rows may go on right after it


class Shelf:
    """Chunks by their first sequence; the oldest go when together they are more than so many bytes."""

    def __init__(self, most: int) -> None:
        """Start empty."""
        self._most = most
        self._size = 0
        self._chunks: dict[int, Chunk] = {}

    def __iter__(self) -> Iterator[int]:
        """Yield the first sequences, oldest first."""
        return iter(self._chunks)

    def get(self, first: int) -> Chunk | None:
        """Return the chunk that begins there."""
        return self._chunks.get(first)

    def put(self, chunk: Chunk) -> None:
        """Keep a chunk, for a while."""
        before = self._chunks.pop(chunk.first, None)
        self._chunks[chunk.first] = chunk
        self._size += len(chunk.data) - (len(before.data) if before else 0)
        while self._size > self._most:
            self._size -= len(self._chunks.pop(next(iter(self._chunks))).data)

    def clear(self) -> None:
        """Forget all."""
        self._chunks.clear()
        self._size = 0
