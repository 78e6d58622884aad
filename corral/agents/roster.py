"""The agents of an org: who there is, what they are set to, who manages whom, and what they are doing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from corral.agents import holds
from corral.base.errors import BadRequest, NotFound
from corral.base.ids import is_id
from corral.platform import audit, database, orgs, plans
from corral.platform.audited import Action
from corral.platform.database import Row, Unit, sql
from corral.runs.hints import Hints, decide
from corral.wire.agents import AgentSnapshot

#: What agents are set to; what they do follows their runs.
ACTIVE, PAUSED, ARCHIVED = "active", "paused", "archived"
PROVIDERS = ("anthropic", "openai", "openrouter")
#: What the audit log tells of a new agent, what of a change it only names, and how it calls changes of `state`.
_TOLD = ("name", "team", "manager_id", "provider", "cli_name", "model", "autostart")
_UNTOLD = ("role", "instructions", "provider_config")
_DONE: dict[object, Action] = {ACTIVE: "agent.resumed", PAUSED: "agent.paused", ARCHIVED: "agent.archived"}


class Agent(msgspec.Struct, frozen=True):
    """An agent as it is now."""

    no: int
    id: str
    org_id: int
    name: str
    role: str
    instructions: str | None
    model: str | None
    provider: str | None
    glyph: str
    manager_id: str | None
    team: str | None
    state: str
    project_id: str | None
    cli_name: str | None
    allowed_tools: str
    max_turns: int | None
    provider_config: dict[str, Any]
    autostart: bool
    created_at: int
    updated_at: int
    status: str  #: idle | working | waiting | paused | archived

    def snapshot(self) -> AgentSnapshot:
        """Return what a run keeps of it."""
        return AgentSnapshot(
            id=self.id,
            name=self.name,
            role=self.role,
            instructions=self.instructions,
            model=self.model,
            provider=self.provider,
            team=self.team,
            glyph=self.glyph,
            max_turns=self.max_turns,
        )


_STATUS = (
    "CASE WHEN a.state <> 'active' THEN a.state ELSE coalesce((SELECT CASE max(CASE r.status WHEN 'running' THEN 2 "
    "WHEN 'waiting' THEN 1 ELSE 0 END) WHEN 2 THEN 'working' WHEN 1 THEN 'waiting' END FROM runs r "
    "WHERE r.agent_id = a.id AND r.status IN ('queued', 'running', 'waiting', 'paused')), 'idle') END AS status"
)
#: How many agents an org has, `$1`; none if one of them is this one, `$2`, which has its place.
COUNT = (
    "SELECT count(*) AS n FROM agents WHERE org_id = $1 AND state <> 'archived' AND NOT EXISTS "
    "(SELECT 1 FROM agents WHERE org_id = $1 AND id = $2 AND state <> 'archived')"
)
#: Agents with their status, of the org `$1`.
AGENTS = f"SELECT a.*, {_STATUS} FROM agents a WHERE a.org_id = $1"  # noqa: S608 - a constant


async def page(org_id: int, *, limit: int = 1000, before: str | None = None) -> list[Agent]:
    """Return the org's agents that are not archived, newest first; `before` is an agent's id, exclusive."""
    last = (await get(org_id, before, field="before")).no if before is not None else 1 << 62
    rows = await database.fetch(
        f"{AGENTS} AND a.state <> 'archived' AND a.no < $2 ORDER BY a.no DESC LIMIT $3", org_id, last, limit
    )
    return [from_row(row) for row in rows]


async def get(org_id: int, agent_id: str, *, field: str | None = None) -> Agent:
    """Return one agent, archived or not; NotFound, or BadRequest about `field` where its id was part of a body."""
    rows = await database.fetch(f"{AGENTS} AND a.id = $2", org_id, agent_id) if is_id(agent_id) else ()
    if rows:
        return from_row(rows[0])
    if field is not None:
        raise BadRequest(f"{field}: there is no agent {agent_id} here", field=field)
    raise NotFound(f"There is no agent {agent_id} here")


async def names(org_id: int, ids: Collection[str] | None = None) -> dict[str, str]:
    """Return what the org's agents are called, or these of them, archived ones too, by id."""
    some = "" if ids is None else f" AND id IN ({', '.join(f'${n}' for n in range(2, len(ids) + 2))})"
    rows = await database.fetch(f"SELECT id, name FROM agents WHERE org_id = $1{some}", org_id, *(ids or ()))  # noqa: S608
    return {row["id"]: row["name"] for row in rows}


async def create(org_id: int, agent_id: str, fields: Mapping[str, Any]) -> Agent:
    """Add an agent. `fields` are columns; `provider_config` is an object."""

    def unit(_hints: Hints) -> Unit[None]:
        _check_engine(fields)
        yield from orgs.lock(org_id)
        yield from plans.within(org_id, "agents", COUNT, agent_id)
        yield from _check_manager(org_id, agent_id, fields.get("manager_id"))
        columns = {"id": agent_id, "org_id": org_id, "state": ACTIVE, "autostart": False, **_stored(fields)}
        marks = ", ".join(f"${n}" for n in range(1, len(columns) + 1))
        made = yield sql(
            f"INSERT INTO agents ({', '.join(columns)}, inbox_seq, created_at, updated_at) "  # noqa: S608 - our columns
            f"VALUES ({marks}, 0, now_ms(), now_ms()) ON CONFLICT (id) DO NOTHING RETURNING no",
            *columns.values(),
        )
        if made:
            told = {name: fields.get(name) for name in _TOLD}
            yield from audit.note(org_id, "agent.created", "agent", agent_id, **told)

    await decide(unit)
    return await get(org_id, agent_id)


async def update(org_id: int, agent_id: str, fields: Mapping[str, Any]) -> Agent:
    """Change some columns; pausing, resuming and archiving are changes of `state`."""
    await get(org_id, agent_id)

    def unit(hints: Hints) -> Unit[None]:
        if fields.get("state", ARCHIVED) != ARCHIVED:  # it may come back from the archive
            yield from plans.within(org_id, "agents", COUNT, agent_id)
        yield from _check_manager(org_id, agent_id, fields.get("manager_id"))
        rows = yield sql("UPDATE agents SET state = state WHERE id = $1 RETURNING *", agent_id)
        if not fields.keys().isdisjoint({"cli_name", "provider", "model"}):
            _check_engine({name: rows[0][name] for name in ("cli_name", "provider", "model")} | dict(fields))
        stored = _stored(fields)
        sets = "".join(f", {column} = ${n}" for n, column in enumerate(stored, 3))
        yield sql(
            f"UPDATE agents SET updated_at = now_ms(){sets} WHERE org_id = $1 AND id = $2",  # noqa: S608 - our columns
            org_id, agent_id, *stored.values(),
        )  # fmt: skip
        if changed := audit.changes(msgspec.structs.asdict(from_row(rows[0])), fields, untold=_UNTOLD):
            action = _DONE.get(fields.get("state", ""), "agent.changed") if len(fields) == 1 else "agent.changed"
            yield from audit.note(org_id, action, "agent", agent_id, name=rows[0]["name"], **changed)
        if "state" in fields:
            yield from holds.refresh(agent_id, hints)

    await decide(unit)
    return await get(org_id, agent_id)


def find(org_id: int, name: str) -> Unit[Row]:
    """Return the one active agent of this id or name; NotFound and BadRequest say what to write instead."""
    column = "id" if is_id(name) else "name"
    rows = yield sql(
        f"SELECT * FROM agents WHERE org_id = $1 AND {column} = $2 AND state <> 'archived' ORDER BY no",  # noqa: S608
        org_id,
        name,
    )
    if len(rows) == 1:
        return rows[0]
    if rows:
        ids = ", ".join(f"{row['id']} ({row['team'] or 'no team'})" for row in rows)
        raise BadRequest(f"to: {len(rows)} agents are named {name!r}; use one of their ids: {ids}", field="to")
    there = yield sql("SELECT name FROM agents WHERE org_id = $1 AND state <> 'archived' ORDER BY no LIMIT 30", org_id)
    known = ", ".join(row["name"] for row in there)
    raise NotFound(f"to: there is no agent {name!r}; there are {known}" if known else "to: there are no agents")


def from_row(row: Row) -> Agent:
    """Return the agent of a row of the table, with its status if that was asked for."""
    values = {name: row[name] for name in Agent.__struct_fields__ if name not in {"status", "provider_config"}}
    values["autostart"] = bool(row["autostart"])
    status = row["status"] if "status" in row.keys() else row["state"]  # noqa: SIM118 - a row yields its values
    return Agent(**values, status=status, provider_config=msgspec.json.decode(row["provider_config"]))


def _stored(fields: Mapping[str, Any]) -> dict[str, Any]:
    config = fields.get("provider_config")
    return {**fields, "provider_config": msgspec.json.encode(config).decode()} if config is not None else dict(fields)


def _check_engine(fields: Mapping[str, Any]) -> None:
    """Refuse an agent that nothing could execute."""
    for name in ("provider", "model"):
        if fields.get("cli_name") is None and fields.get(name) is None:
            raise BadRequest(f"{name} must not be null for an agent without a cli_name", field=name)


def _check_manager(org_id: int, agent_id: str, manager_id: str | None) -> Unit[None]:
    """Refuse a manager who is not there, is archived, or reports to this agent."""
    if manager_id is None:
        return
    yield from orgs.lock(org_id)
    chain: Sequence[Row] = yield sql(
        "WITH RECURSIVE up(id, manager_id, state, depth) AS ("
        "SELECT id, manager_id, state, 0 FROM agents WHERE org_id = $1 AND id = $2 UNION ALL "
        "SELECT a.id, a.manager_id, a.state, up.depth + 1 FROM agents a JOIN up ON a.id = up.manager_id "
        "WHERE up.depth < 1000) SELECT id, state FROM up ORDER BY depth",
        org_id,
        manager_id,
    )
    if not chain:
        raise BadRequest(f"manager: there is no agent {manager_id} here", field="manager")
    if chain[0]["state"] == ARCHIVED:
        raise BadRequest(f"manager: {manager_id} is archived", field="manager")
    if any(row["id"] == agent_id for row in chain):
        raise BadRequest("manager: that would close a circle in the org chart", field="manager")
