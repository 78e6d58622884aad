"""What a run is given beside its assignment: an agent's secrets and MCP servers, for the lease holder alone; prices.

Nothing of this is stored with the run, published or logged: it is read anew for each attempt.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec

from corral.base.errors import CorralError, Unavailable
from corral.base.logs import get_logger
from corral.mcp import render, servers
from corral.mcp.servers import Server
from corral.platform import database
from corral.platform.database import Rows, Unit, sql
from corral.runs import commands, ending, outcomes
from corral.runs.hints import Hints, decide
from corral.secrets import vault
from corral.usage import pricelists
from corral.wire.agents import McpServer
from corral.wire.events import EventType
from corral.wire.runner import Assignment, Command, CommandKind, CommandStatus, McpTest, Money
from corral.wire.runs import RunStatus

log = get_logger()


async def outfit(assignments: Sequence[Assignment]) -> list[Assignment]:
    """Return the assignments of a poll with what their agents have.

    A run that lacks something ends here, saying what.
    """
    if all(work.agent is None and not _is_limited(work) for work in assignments):
        return list(assignments)
    ready = []
    for work in assignments:
        try:
            if (given := await _outfit(work)) is not None:
                ready.append(given)
        except Unavailable:  # nothing is wrong with the run: the runner is offered it again
            raise
        except CorralError as error:
            log.warning("a run cannot be given what its agent has", run=work.run_id, why=error.message)
            await decide(partial(_fail, work, error.message))
    return ready


class Asked(msgspec.Struct):
    """What a command `mcp_test` holds until it is given to the runner: no secret."""

    server_id: str
    agent_id: str | None
    team: str | None
    by: str


async def equip(commands_: Sequence[Command]) -> list[Command]:
    """Return the commands with the secrets that they need; what cannot be given has its result at once."""
    return [command for one in commands_ if (command := await _equip(one)) is not None]


async def _equip(command: Command) -> Command | None:
    if command.kind != CommandKind.MCP_TEST:
        return command
    if not await database.commit(commands.offered(command.id)):
        return None
    rows = await database.fetch("SELECT org_id FROM commands WHERE id = $1", command.id)
    asked = msgspec.json.decode(command.payload, type=Asked)
    try:
        server = await render_one(rows[0]["org_id"], asked)
    except CorralError as error:
        await database.commit(outcomes.settle(command.id, CommandStatus.FAILED, error.message))
        return None
    return Command(command.id, command.kind, "", 0, msgspec.Raw(msgspec.json.encode(McpTest(server))))


async def render_one(org_id: int, asked: Asked) -> McpServer:
    """Return a server with its secrets, for a test of it."""
    server = await servers.get(org_id, asked.server_id)
    values = await vault.resolve(org_id, asked.agent_id, asked.by) if render.references(server) else {}
    rendered = render.render([server], values)
    if rendered.missing:
        names = ", ".join(missing.key for missing in rendered.missing)
        raise CorralError(f"it needs secrets that nobody has stored: {names}")
    return rendered.servers[0]


def _is_limited(work: Assignment) -> bool:
    """Tell whether it may cost so much and no more."""
    return work.money is not None or work.limits.max_cost_usd is not None


async def _outfit(work: Assignment) -> Assignment | None:
    """Return the assignment with what its agent has; None if its lease is no longer good."""
    if work.agent is None and not _is_limited(work):
        return work
    org_id, work.env, given = await database.commit(_belongings(work))
    if not org_id:
        return None
    if _is_limited(work):
        work.money = work.money or Money()
        work.money.prices = list((await pricelists.current(org_id)).ordered)
    rendered = render.render(given, work.env)
    if rendered.missing:
        lacks = "; ".join(f"MCP server {one.server} needs the secret {one.key}" for one in rendered.missing)
        raise CorralError(f"{lacks}: store what is missing, or change the server")
    work.mcp_servers = rendered.servers
    return work


def _belongings(work: Assignment) -> Unit[tuple[int, dict[str, str], list[Server]]]:
    """Return the run's org, its agent's secrets and servers; nothing to an attempt that is another's, or over."""
    held = yield from _held(work)
    if not held:
        return 0, {}, []
    org_id = int(held[0]["org_id"])
    if work.agent is None:
        return org_id, {}, []
    env = yield from vault.resolving(org_id, work.agent.id, f"run:{work.run_id}", work.attempt)
    return org_id, env, (yield from servers.given(org_id, work.agent.id, work.agent.team))


def _fail(work: Assignment, why: str, hints: Hints) -> Unit[None]:
    held = yield from _held(work)
    if held:
        reason = {"code": "outfit", "message": why}
        yield from ending.end(held[0]["no"], EventType.RUN_FAILED, RunStatus.FAILED, reason, hints)


def _held(work: Assignment) -> Unit[Rows]:
    """Return the run's row if the assignment's lease is good, and keep it so until the commit."""
    return (
        yield sql(
            "UPDATE runs SET followups = followups WHERE id = $1 AND attempt = $2 AND lease = $3 AND attempt_open "
            "RETURNING no, org_id",
            work.run_id, work.attempt, work.lease,
        )
    )  # fmt: skip
