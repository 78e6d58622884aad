"""Long texts of a known size, the same at each call."""

from __future__ import annotations

from itertools import cycle, islice

_WORDS = (
    "the runner claims a job and streams what the agent says while another waits for a review of its plan "
    "so every line is kept in order and nothing gets lost when a machine sleeps"
).split()


def words(count: int) -> str:
    """`count` words in sentences of twelve."""
    chosen = list(islice(cycle(_WORDS), count))
    sentences = (" ".join(chosen[at : at + 12]).capitalize() + "." for at in range(0, count, 12))
    return " ".join(sentences)


def lines(count: int) -> str:
    """`count` numbered lines."""
    return "\n".join(f"line {number}: {_WORDS[number % len(_WORDS)]}" for number in range(1, count + 1))
