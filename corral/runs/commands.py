"""What the server wants done about runs on a runner: rows that are offered until their result is stored.

What becomes of them is told by `outcomes`.
"""

from __future__ import annotations

import msgspec

from corral.base.ids import new_id
from corral.platform import database
from corral.platform.database import Row, Unit, alone, sql
from corral.runs.hints import Hints
from corral.wire.runner import Command, CommandKind, CommandResult, CommandStatus


def issue(run: Row, kind: CommandKind, payload: msgspec.Struct, hints: Hints) -> Unit[None]:
    """Ask the runner that holds the attempt to do something; `run` has no, id, org_id, attempt and runner_no."""
    yield sql(
        "INSERT INTO commands (id, org_id, runner_no, run_no, run_id, attempt, kind, payload, created_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now_ms())",
        new_id(), run["org_id"], run["runner_no"], run["no"], run["id"], run["attempt"], kind.value,
        msgspec.json.encode(payload).decode(),
    )  # fmt: skip
    hints.runner(run["runner_no"])


def ask_runner(
    org_id: int, runner_no: int, command_id: str, *, kind: CommandKind, payload: bytes, hints: Hints
) -> Unit[None]:
    """Ask a runner for something that is about no run."""
    yield sql(
        "INSERT INTO commands (id, org_id, runner_no, run_no, run_id, attempt, kind, payload, created_at) "
        "VALUES ($1, $2, $3, 0, '', 0, $4, $5, now_ms())",
        command_id, org_id, runner_no, kind.value, payload.decode(),
    )  # fmt: skip
    hints.runner(runner_no)


def give_up(command_id: str) -> Unit[None]:
    """Nobody waits for the result any more."""
    yield sql(
        "UPDATE commands SET done_at = now_ms(), status = 'dropped' WHERE id = $1 AND done_at IS NULL", command_id
    )


async def outcome(command_id: str) -> CommandResult | None:
    """Return the result of a command, once there is one."""
    rows = await database.fetch(
        "SELECT status, message FROM commands WHERE id = $1 AND done_at IS NOT NULL", command_id
    )
    return CommandResult("", CommandStatus(rows[0]["status"]), rows[0]["message"] or "") if rows else None


def offered(command_id: str) -> Unit[bool]:
    """Take the one offer of such a command; False if it was offered before."""
    rows = yield sql(
        "UPDATE commands SET status = 'offered' WHERE id = $1 AND status IS NULL AND done_at IS NULL RETURNING no",
        command_id,
    )
    return bool(rows)


def open_for(runner_no: int) -> Unit[list[Command]]:
    """Return the runner's commands without a result, oldest first."""
    rows = yield alone(
        "SELECT id, kind, run_id, attempt, payload FROM commands WHERE runner_no = $1 AND done_at IS NULL "
        "AND status IS NULL ORDER BY no LIMIT 50",
        runner_no,
    )
    return [
        Command(row["id"], row["kind"], row["run_id"], row["attempt"], msgspec.Raw(row["payload"].encode()))
        for row in rows
    ]


def close(run_no: int) -> Unit[None]:
    """Drop what nobody needs to do any more: the attempt it was meant for has ended."""
    yield sql(
        "UPDATE commands SET done_at = now_ms(), status = 'dropped' WHERE run_no = $1 AND done_at IS NULL", run_no
    )
