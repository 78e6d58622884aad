"""What an agent's run is given beside its assignment: secrets and MCP servers, for the lease holder alone.

Nothing of this is stored with the run, published or logged: it is read anew for each attempt.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from corral.base.errors import CorralError, Unavailable
from corral.base.logs import get_logger
from corral.mcp import render, servers
from corral.platform import database
from corral.platform.database import Unit, sql
from corral.runs import ending
from corral.runs.hints import Hints, decide
from corral.secrets import vault
from corral.wire.events import EventType
from corral.wire.runner import Assignment
from corral.wire.runs import RunStatus

log = get_logger()


async def outfit(assignments: Sequence[Assignment]) -> list[Assignment]:
    """Return the assignments with what their agents have; a run that lacks something ends here, saying what."""
    if all(work.agent is None for work in assignments):
        return list(assignments)
    ready = []
    for work in assignments:
        try:
            ready.append(await _outfit(work))
        except Unavailable:  # nothing is wrong with the run: the runner is offered it again
            raise
        except CorralError as error:
            log.warning("a run cannot be given what its agent has", run=work.run_id, why=error.message)
            await decide(partial(_fail, work, error.message))
    return ready


async def _outfit(work: Assignment) -> Assignment:
    if work.agent is None:
        return work
    rows = await database.fetch("SELECT org_id FROM runs WHERE id = $1", work.run_id)
    org_id, agent_id = rows[0]["org_id"], work.agent.id
    work.env = await vault.resolve(org_id, agent_id, f"run:{work.run_id}", work.attempt)
    rendered = render.render(await servers.for_agent(org_id, agent_id, work.agent.team), work.env)
    if rendered.missing:
        lacks = "; ".join(f"MCP server {one.server} needs the secret {one.key}" for one in rendered.missing)
        raise CorralError(f"{lacks}: store what is missing, or change the server")
    work.mcp_servers = rendered.servers
    return work


def _fail(work: Assignment, why: str, hints: Hints) -> Unit[None]:
    rows = yield sql(
        "UPDATE runs SET followups = followups WHERE id = $1 AND attempt = $2 AND lease = $3 AND attempt_open "
        "RETURNING no",
        work.run_id, work.attempt, work.lease,
    )  # fmt: skip
    if rows:
        reason = {"code": "outfit", "message": why}
        yield from ending.end(rows[0]["no"], EventType.RUN_FAILED, RunStatus.FAILED, reason, hints)
