"""Lines, tables and ages."""

from __future__ import annotations

import io
import os
import re
from datetime import UTC, datetime

import pytest

from corral.cli.terminal import Terminal, ago, cut


def test_a_table_is_aligned_and_uncut_in_a_pipe() -> None:
    stream = io.StringIO()
    Terminal(stream).table(["ID", "WHAT"], [["1", "a" * 300], ["22", "b\nc"]])
    assert stream.getvalue() == f"ID  WHAT\n1   {'a' * 300}\n22  b c\n"


def test_a_row_is_a_line_of_the_terminal_whichever_column_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((40, 24)))
    stream = io.StringIO()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    Terminal(stream).table(["WHO", "WHAT", "FROM"], [["a" * 60, "key.created", "127.0.0.1"], ["b", "c", "d" * 90]])
    lines = [re.sub(r"\x1b\[\d*m", "", line) for line in stream.getvalue().splitlines()]
    assert max(map(len, lines)) <= 40
    assert "key.created" in lines[1]
    assert "…" in lines[1]
    assert lines[2].endswith("…")


def test_no_colour_where_there_is_no_terminal() -> None:
    assert Terminal(io.StringIO()).paint("x", "red") == "x"


def test_json_is_one_line_in_a_pipe() -> None:
    stream = io.StringIO()
    Terminal(stream).json({"a": ["ä"]})
    assert stream.getvalue() == '{"a": ["ä"]}\n'


def test_an_age_has_one_unit() -> None:
    now = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
    assert ago("2026-01-02T11:59:50Z", now=now) == "10 s"
    assert ago("2026-01-02T11:57:00Z", now=now) == "3 min"
    assert ago("2026-01-01T11:57:00Z", now=now) == "1 d"
    assert ago(None) == "never"


def test_a_clock_that_is_behind_makes_no_negative_age() -> None:
    assert ago("2026-01-02T12:00:09Z", now=datetime(2026, 1, 2, 12, tzinfo=UTC)) == "0 s"


def test_what_is_cut_says_so() -> None:
    assert cut("abcdef", 4) == "abc…"
    assert cut("abcd", 4) == "abcd"
