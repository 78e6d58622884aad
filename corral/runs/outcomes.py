"""What became of a command: its result, stored once, and what follows from it."""

from __future__ import annotations

from typing import Any

import msgspec

from corral.base.errors import Conflict, NotFound
from corral.platform.database import Row, Unit, sql
from corral.runs import ending
from corral.runs.hints import Hints, decide
from corral.wire.runner import CommandKind, CommandResult, CommandStatus

#: Characters of a result that are kept, where it is more than a sentence.
_LONGEST = {CommandKind.MCP_TEST.value: 1_000_000}


def settle(command_id: str, status: CommandStatus, message: str = "") -> Unit[None]:
    """Store the result of a command to the platform's own engine, which may do so together with what it did."""
    rows = yield sql(
        "UPDATE commands SET done_at = now_ms(), status = $2, message = $3 WHERE id = $1 AND done_at IS NULL "
        "RETURNING kind, payload, run_no, attempt",
        command_id,
        status.value,
        message,
    )
    if rows:
        yield from _note_applied(rows[0], status)


async def finish(org_id: int, runner_id: int | str, command_id: str, result: CommandResult) -> None:
    """Store a command's result; the same result twice is one."""

    def unit(hints: Hints) -> Unit[None]:
        rows = yield sql(
            "SELECT c.no, c.kind, c.payload, c.run_no, c.attempt, c.done_at, r.session FROM commands c "
            "JOIN runners r ON r.no = c.runner_no "
            "WHERE c.id = $1 AND c.org_id = $2 AND (r.uid = $3 OR CAST(r.number AS text) = $3)",
            command_id, org_id, str(runner_id),
        )  # fmt: skip
        if not rows:
            raise NotFound("There is no such command for this runner")
        command = rows[0]
        if command["session"] != result.session:
            raise Conflict("A newer process of this runner has taken over")
        if command["done_at"] is None:
            yield sql(
                "UPDATE commands SET done_at = now_ms(), status = $2, message = $3 WHERE no = $1",
                command["no"], result.status.value, result.message[: _LONGEST.get(command["kind"], 2000)],
            )  # fmt: skip
        yield from _note_applied(command, result.status)
        if command["kind"] == CommandKind.PAUSE and result.status == CommandStatus.UNSUPPORTED:
            yield from _pause_without(command, hints)

    await decide(unit)


def _note_applied(command: Row, status: CommandStatus) -> Unit[None]:
    """The answer applies once, so what may have reached the agent counts; also when the attempt has ended meanwhile."""
    if command["kind"] == CommandKind.APPROVE and status in {CommandStatus.DONE, CommandStatus.INTERRUPTED}:
        approve: dict[str, Any] = msgspec.json.decode(command["payload"])
        yield sql(
            "UPDATE approvals SET applied_at = now_ms() WHERE run_no = $1 AND attempt = $2 AND request_id = $3",
            command["run_no"], command["attempt"], approve["request_id"],
        )  # fmt: skip


def _pause_without(command: Row, hints: Hints) -> Unit[None]:
    """Pause a run whose runner does not know how: it is fenced, and ends the process tree for that."""
    runs = yield sql(
        "UPDATE runs SET followups = followups WHERE no = $1 AND attempt = $2 AND attempt_open "
        "AND pause_requested IS NOT NULL RETURNING pause_requested",
        command["run_no"],
        command["attempt"],
    )
    if runs:
        yield from ending.pause(command["run_no"], msgspec.json.decode(runs[0]["pause_requested"]), hints)
