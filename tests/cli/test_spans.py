"""Spans of time as people type them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from corral.cli.errors import Misused
from corral.cli.spans import span


def test_a_span_is_a_number_and_a_unit() -> None:
    assert [span(text, "since") for text in ("30m", "12h", "2d", "1w")] == [
        timedelta(minutes=30),
        timedelta(hours=12),
        timedelta(days=2),
        timedelta(weeks=1),
    ]


@pytest.mark.parametrize("text", ["", "12", "0h", "3y", "-1h", "1.5h"])
def test_what_is_no_span_is_refused_with_how_one_looks(text: str) -> None:
    with pytest.raises(Misused, match=r"--since .* 30m"):
        span(text, "since")
