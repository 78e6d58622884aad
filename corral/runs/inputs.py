"""What a run must be told: rows, given to its live attempt or, when it has ended its turn, to the next one.

`runs.awaits` counts them, and the results of others that are still to come: as long as it is not 0, the end of a turn
is not the end of the run (`ingest` stores `session.waiting` then), so that nothing a run was sent is ever lost.
"""

from __future__ import annotations

from corral.platform.database import Row, Unit, sql
from corral.runs import commands, placements, states
from corral.runs.hints import Hints
from corral.wire.runner import CommandKind, Message, Resume
from corral.wire.runs import RunStatus


def expect(run_no: int) -> Unit[None]:
    """Let the run not end before it was told one more thing, which `tell` will bring as an expected one."""
    yield sql("UPDATE runs SET awaits = awaits + 1 WHERE no = $1", run_no)


def forget(run_no: int) -> Unit[None]:
    """Take an expectation back: it will not come."""
    yield sql("UPDATE runs SET awaits = awaits - 1 WHERE no = $1 AND awaits > 0", run_no)


def tell(run: Row, text: str, hints: Hints, *, expected: bool = False) -> Unit[None]:
    """Tell a run that has not ended something; `run` is its locked row (no, id, org_id, attempt, …)."""
    no = yield from keep(run["org_id"], run["no"], text)
    if not expected:
        yield from expect(run["no"])
    if run["attempt_open"] and run["started_at"] is not None:
        yield from commands.issue(run, CommandKind.MESSAGE, Message(text, no), hints)
    elif run["status"] == RunStatus.WAITING:
        yield from resume(run["no"], hints)


def keep(org_id: int, run_no: int, text: str) -> Unit[int]:
    """Keep something until the run is told it; returns its number."""
    rows = yield sql(
        "INSERT INTO inputs (org_id, run_no, text, created_at) VALUES ($1, $2, $3, now_ms()) RETURNING no",
        org_id,
        run_no,
        text,
    )
    return int(rows[0]["no"])


def give(run_no: int, hints: Hints) -> Unit[None]:
    """Give an attempt that has just started what came while there was none."""
    rows = yield from _open(run_no)
    if not rows:
        return
    runs = yield sql("SELECT no, id, org_id, attempt, runner_no FROM runs WHERE no = $1", run_no)
    for row in rows:
        yield from commands.issue(runs[0], CommandKind.MESSAGE, Message(row["text"], row["no"]), hints)


def taken(run_no: int, input_nos: object) -> Unit[int]:
    """The agent has taken these up, says its attempt's last event; returns how much there is still to hear."""
    numbers = ",".join(str(no) for no in input_nos if type(no) is int) if isinstance(input_nos, list) else ""
    if numbers:
        rows = yield sql(
            f"UPDATE inputs SET done_at = now_ms() WHERE run_no = $1 AND no IN ({numbers}) AND done_at IS NULL "  # noqa: S608 - integers
            "RETURNING no",
            run_no,
        )
        yield sql("UPDATE runs SET awaits = awaits - $2 WHERE no = $1", run_no, len(rows))
    runs = yield sql("SELECT awaits FROM runs WHERE no = $1", run_no)
    return int(runs[0]["awaits"])


def resume(run_no: int, hints: Hints) -> Unit[bool]:
    """Queue the next attempt of a run that has ended its turn, if there is something to tell it."""
    rows = yield from _open(run_no)
    if not rows:
        return False
    runs = yield sql(
        "UPDATE runs SET awaits = awaits - $2 WHERE no = $1 "
        "RETURNING org_id, engine, labels, runner_no, cwd, session_id, placement_id",
        run_no,
        len(rows),
    )
    yield sql("UPDATE inputs SET done_at = now_ms() WHERE run_no = $1 AND done_at IS NULL", run_no)
    placement = yield from placements.home(runs[0], runs[0]["session_id"])
    told = "\n\n".join(row["text"] for row in rows)
    also = {"resume": Resume.CONTINUE.value, "next_prompt": told, "placement_id": placement}
    yield from states.advance(run_no, RunStatus.QUEUED, hints, **also)
    hints.placement(placement)
    return True


def _open(run_no: int) -> Unit[list[Row]]:
    rows = yield sql("SELECT no, text FROM inputs WHERE run_no = $1 AND done_at IS NULL ORDER BY no", run_no)
    return list(rows)
