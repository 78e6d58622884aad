"""Append the server's own events to a run's log. A runner's events come in through `ingest`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from corral.platform.database import Unit, many, sql
from corral.runs.frames import Logged, log_hint
from corral.runs.hints import Hints
from corral.wire.events import EventType

INSERT = (
    "INSERT INTO events (run_no, seq, org_id, attempt, n, type, payload, created_at) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
)


def append(run_no: int, type_: EventType, payload: Mapping[str, Any], hints: Hints) -> Unit[None]:
    """Append one event, numbered after the last; the run's row is locked by the numbering until the commit."""
    rows = yield sql(
        "UPDATE runs SET last_seq = last_seq + 1 WHERE no = $1 "
        "RETURNING id, org_id, attempt, last_seq, now_ms() AS now",
        run_no,
    )
    run = rows[0]
    event = Logged(run["last_seq"], run["attempt"], type_.value, msgspec.json.encode(payload).decode(), run["now"])
    yield many(
        INSERT,
        [(run_no, event.seq, run["org_id"], event.attempt, None, event.type, event.payload, event.created_at)],
    )
    hints.log(run_no, log_hint(run["id"], [event]))
