"""What people type for an id."""

from __future__ import annotations

from pathlib import Path

import pytest

from corral.cli.errors import CommandError
from corral.cli.naming import only
from corral.cli.runs import absolute

ONE, TWO = "0198c0de-0000-7000-8000-aaaaaaaa1111", "0198c0de-0000-7000-8000-bbbbbbbb1111"


def test_the_end_of_an_id_is_enough() -> None:
    assert only([ONE, TWO], "aaaa1111", "run") == ONE
    assert only([ONE, TWO], "…aaaa1111", "run") == ONE


def test_an_ambiguous_or_unknown_id_is_refused() -> None:
    with pytest.raises(CommandError, match="any of 2 runs"):
        only([ONE, TWO], "1111", "run")
    with pytest.raises(CommandError, match="no run"):
        only([ONE, TWO], "cccc", "run")


def test_three_letters_are_no_id() -> None:
    with pytest.raises(CommandError):
        only([ONE], "111", "run")


def test_a_directory_is_relative_to_here_unless_it_is_absolute_anywhere() -> None:
    assert absolute(".") == str(Path.cwd())
    assert absolute("/srv/x") == "/srv/x"
    assert absolute(r"C:\code\api") == r"C:\code\api"
