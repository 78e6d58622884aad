"""Settings come from the environment or from files, and a wrong one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from corral.base.env import read, read_number
from corral.base.errors import BadRequest


def test_a_value_may_come_from_a_file_without_its_last_line_break(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret\n")
    assert read({"CORRAL_API_KEY_FILE": str(tmp_path / "key")}, "CORRAL_API_KEY") == "secret"


def test_a_value_and_its_file_at_once_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="X and X_FILE are both set"):
        read({"X": "1", "X_FILE": str(tmp_path)}, "X")


def test_a_file_that_cannot_be_read_is_named() -> None:
    with pytest.raises(BadRequest, match="X_FILE names /nowhere/at/all"):
        read({"X_FILE": "/nowhere/at/all"}, "X")


@pytest.mark.parametrize("text", ["many", "-1", "nan"])
def test_a_number_that_is_none_or_too_small_is_refused_naming_the_setting(text: str) -> None:
    with pytest.raises(BadRequest, match="CORRAL_RATE_LIMIT must be a number of at least 0"):
        read_number({"CORRAL_RATE_LIMIT": text}, "CORRAL_RATE_LIMIT", 120)


def test_an_unset_setting_has_its_default() -> None:
    assert (read({}, "X", "d"), read_number({}, "Y", 7)) == ("d", 7)
