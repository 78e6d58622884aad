from __future__ import annotations

from typing import Any

import pytest

from corral.runs.life import EARLIER, UNREACHABLE, Span, _spans
from corral.runs.models import Run

Waits = list[tuple[int, int | None]]


def life(waits: Waits, **columns: Any) -> list[tuple[str, int, int | None]]:
    defaults = {"status": "running", "created_at": 0, "started_at": 10, "attempt": 1, "attempt_open": True}
    spans: list[Span] = _spans(Run(**{**defaults, **columns}), waits)
    return [(span.state, span.since, span.until) for span in spans]


@pytest.mark.parametrize(
    ("waits", "columns", "told"),
    [
        ([], {"status": "queued", "started_at": None, "attempt": 0}, [("queued", 0, None)]),
        ([], {"status": "cancelled", "started_at": None, "attempt": 0, "ended_at": 7}, [("queued", 0, 7)]),
        ([], {}, [("queued", 0, 10), ("running", 10, None)]),
        ([], {"status": "completed", "ended_at": 50}, [("queued", 0, 10), ("running", 10, 50)]),
        ([(20, None)], {"status": "waiting"}, [("queued", 0, 10), ("running", 10, 20), ("waiting", 20, None)]),
        (
            [(20, 30), (25, 28), (26, 40)],
            {"status": "completed", "ended_at": 50},
            [("queued", 0, 10), ("running", 10, 20), ("waiting", 20, 30), ("waiting", 30, 40), ("running", 40, 50)],
        ),
        (
            [(20, 60)],
            {"status": "cancelled", "ended_at": 50},
            [("queued", 0, 10), ("running", 10, 20), ("waiting", 20, 50)],
        ),
        ([(2, 5)], {"attempt": 2}, [(EARLIER, 0, 10), ("running", 10, None)]),
        (
            [],
            {"status": "queued", "attempt_open": False, "updated_at": 30},
            [(EARLIER, 0, 30), ("queued", 30, None)],
        ),
        ([], {"unreachable_since": 40}, [("queued", 0, 10), ("running", 10, 40), (UNREACHABLE, 40, None)]),
        (
            [],
            {"status": "waiting", "attempt_open": False, "updated_at": 40},
            [("queued", 0, 10), ("running", 10, 40), ("waiting", 40, None)],
        ),
        ([], {"status": "paused", "updated_at": 40}, [("queued", 0, 10), ("running", 10, 40), ("paused", 40, None)]),
    ],
)
def test_a_runs_time_is_told_without_gaps(waits: Waits, columns: dict[str, Any], told: list[Any]) -> None:
    assert life(waits, **columns) == told
