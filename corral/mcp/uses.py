"""How runs find MCP servers when they use them: the newest of each machine. What is lost of it, the next run says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from corral.base.errors import CorralError
from corral.base.logs import get_logger
from corral.platform.database import Unit, alone, commit, many, sql

#: The machine of agents that have none.
PLATFORM = "the platform"
#: Machines that are told of: those that used a server last.
_MOST = 20
_LONGEST_ERROR = 2000

log = get_logger()


class Use(NamedTuple):
    """What a machine's newest run says of a server."""

    machine: str
    error: str | None  #: None: it can be used
    run_id: str
    at: int


class Seen(NamedTuple):
    """What a run says of a server."""

    server: str  #: its id, or its name where nothing else is known
    error: str | None


async def note(org_id: int, machine: str, run_id: str, seen: Iterable[Seen]) -> None:
    """Keep what a run says of its servers, of those that are there. Raises nothing: it is worth no run's trouble."""
    try:
        await commit(_noting(org_id, machine, run_id, list(seen)))
    except CorralError as error:
        log.info("it was not kept how MCP servers are", run=run_id, why=error.message)
    except Exception:
        log.exception("it was not kept how MCP servers are", run=run_id)


def of(org_id: int, server_nos: Iterable[int]) -> Unit[Mapping[int, list[Use]]]:
    """Return what is known of servers, newest first, within a unit."""
    nos = list(server_nos)
    found: dict[int, list[Use]] = {no: [] for no in nos}
    if nos:
        rows = yield alone(
            "SELECT server_no, machine, ok, error, run_id, at FROM mcp_uses "  # noqa: S608 - our numbers
            f"WHERE org_id = $1 AND server_no IN ({', '.join(map(str, nos))}) ORDER BY at DESC, no DESC",
            org_id,
        )
        for row in rows:
            uses = found[row["server_no"]]
            if len(uses) < _MOST:
                uses.append(Use(row["machine"], None if row["ok"] else row["error"], row["run_id"], row["at"]))
    return found


def forgetting(server_no: int) -> Unit[None]:
    """Forget a server that is gone."""
    yield sql("DELETE FROM mcp_uses WHERE server_no = $1", server_no)


def _noting(org_id: int, machine: str, run_id: str, seen: list[Seen]) -> Unit[None]:
    yield many(
        "INSERT INTO mcp_uses (org_id, server_no, machine, ok, error, run_id, at) "
        "SELECT $1, no, $3, $4, $5, $6, now_ms() FROM mcp_servers WHERE org_id = $1 AND (id = $2 OR name = $2) "
        "ON CONFLICT (server_no, machine) DO UPDATE SET ok = excluded.ok, error = excluded.error, "
        "run_id = excluded.run_id, at = excluded.at",
        [(org_id, one.server, machine[:100], one.error is None, _storable(one.error), run_id) for one in seen],
    )


def _storable(error: str | None) -> str | None:
    return error.replace("\0", "")[:_LONGEST_ERROR] if error is not None else None
