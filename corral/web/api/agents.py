"""Agents, as Fleetrun and Abbado have them: one resource with both sets of fields. And everybody at a glance."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from corral.agents import roster, world
from corral.base.errors import BadRequest
from corral.base.ids import is_id
from corral.base.paths import parse
from corral.web import spelling
from corral.web.api.launches import Directory, Label, Model, RunnerName, RunnerNumber
from corral.web.api.paging import Id, Page, cut
from corral.web.api.runs import Done
from corral.web.call import Call
from corral.web.present.agents import AgentView, WorldEntry, agent_view, world_entry
from corral.web.routes import Routes
from corral.wire.runs import PermissionMode

route = Routes("agents")

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"\S")]
Telling = Annotated[str, msgspec.Meta(min_length=1, max_length=200_000, pattern=r"\S")]
Glyph = Annotated[str, msgspec.Meta(min_length=1, max_length=16, pattern=r"\S")]
Provider = Literal["anthropic", "openai", "openrouter"]
CliName = Literal["claude-code", "codex", "openclaw"]
Tools = Annotated[str, msgspec.Meta(max_length=20_000)]
Turns = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]

#: What an agent of a project has unless it says otherwise.
_OF_PROJECT = {
    "cli_name": "claude-code",
    "allowed_tools": "Read,Edit,Write,Bash,Glob,Grep",
    "max_turns": 100,
    "role": "builder",
    "glyph": "🤖",
}
_REQUIRED = ("role", "model", "provider", "glyph")
_COLUMNS = {"manager": "manager_id", "status": "state"}
_STATES = {"idle": roster.ACTIVE, "paused": roster.PAUSED, "archived": roster.ARCHIVED}
_DEEPEST, _LARGEST = 20, 100_000


class CreateAgent(msgspec.Struct, forbid_unknown_fields=True):
    """An agent to add. With `project_id` only `name` is further required; else role, model, provider and glyph are."""

    name: Name
    role: Telling | None = None
    model: Model | None = None
    provider: Provider | None = None
    glyph: Glyph | None = None
    manager: Id | None = None
    team: Name | None = None
    project_id: Id | None = None
    cli_name: CliName | None = None
    instructions: Telling | None = None  #: the system prompt; the role if there are none
    allowed_tools: Tools | None = None  #: run without asking; separated by commas
    max_turns: Turns | None = None
    provider_config: dict[str, Any] | None = None  #: of a CLI's: cwd, permission_mode, runner, labels
    autostart: bool = False


class ChangeAgent(msgspec.Struct, forbid_unknown_fields=True):
    """What to change about an agent; what is left out stays."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    role: Telling | msgspec.UnsetType = msgspec.UNSET
    model: Model | msgspec.UnsetType | None = msgspec.UNSET
    provider: Provider | msgspec.UnsetType | None = msgspec.UNSET
    glyph: Glyph | msgspec.UnsetType = msgspec.UNSET
    manager: Id | msgspec.UnsetType | None = msgspec.UNSET
    team: Name | msgspec.UnsetType | None = msgspec.UNSET
    status: Literal["idle", "paused", "archived"] | msgspec.UnsetType = msgspec.UNSET
    project_id: Id | msgspec.UnsetType | None = msgspec.UNSET
    cli_name: CliName | msgspec.UnsetType | None = msgspec.UNSET
    instructions: Telling | msgspec.UnsetType | None = msgspec.UNSET
    allowed_tools: Tools | msgspec.UnsetType = msgspec.UNSET
    max_turns: Turns | msgspec.UnsetType | None = msgspec.UNSET
    provider_config: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    autostart: bool | msgspec.UnsetType = msgspec.UNSET


class KnownConfig(msgspec.Struct):
    """The keys of `provider_config` that mean something; others are kept as they are."""

    cwd: Directory | None = None
    permission_mode: PermissionMode | None = None
    runner: RunnerName | RunnerNumber | None = None
    labels: Annotated[list[Label], msgspec.Meta(max_length=50)] | None = None


@route.get("/api/agents", scope="agents:read")
async def list_agents(call: Call, query: Page) -> list[AgentView]:
    """List the agents that are not archived, newest first."""
    found = await roster.page(call.org_id, limit=query.size + 1, before=query.before)
    return [agent_view(agent) for agent in cut(call, found, query, [agent.id for agent in found])]


@route.post("/api/agents", scope="agents:write", status=201, answers=(AgentView,), also=(409,))
async def create_agent(call: Call, body: CreateAgent) -> AgentView:
    """Add an agent."""
    fields = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not None}
    if body.project_id is not None:
        fields = {**_OF_PROJECT, **fields}
    elif missing := next((name for name in _REQUIRED if name not in fields), None):
        raise BadRequest(f"{missing} is missing; only an agent of a project may leave it out", field=missing)
    columns = _columns({"allowed_tools": "", "provider_config": {}, **fields})
    return agent_view(await roster.create(call.org_id, call.new_id(), columns))


@route.get("/api/agents/world", scope="agents:read")
async def show_world(call: Call) -> list[WorldEntry]:
    """Show every agent, and every live run that has none, with status, usage, phase and role."""
    return [world_entry(entry) for entry in await world.world(call.org_id)]


@route.get("/api/agents/<id>", scope="agents:read")
async def get_agent(call: Call, id: str) -> AgentView:
    """Show an agent, archived or not."""
    return agent_view(await roster.get(call.org_id, id))


@route.patch("/api/agents/<id>", scope="agents:write")
async def change_agent(call: Call, id: str, body: ChangeAgent) -> AgentView:
    """Change some fields of an agent; runs that have begun keep the agent they began with."""
    fields = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not msgspec.UNSET}
    return agent_view(await roster.update(call.org_id, id, _columns(fields)))


route.also_put()


@route.delete("/api/agents/<id>", scope="agents:write", answer=Done, also=(204,))
async def archive_agent(call: Call, id: str) -> Done | None:
    """Archive an agent: it leaves the list and stays readable. An agent of a project answers 204."""
    agent = await roster.update(call.org_id, id, {"state": roster.ARCHIVED})
    return Done() if agent.project_id is None else None


def _columns(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of checked fields."""
    if (project_id := fields.get("project_id")) is not None and not is_id(project_id):
        raise BadRequest(f"project_id: {project_id!r} is no project's id", field="project_id")
    if "provider_config" in fields:
        _check_config(fields["provider_config"])
    if "status" in fields:
        fields = {**fields, "status": _STATES[fields["status"]]}
    return {_COLUMNS.get(name, name): value for name, value in fields.items()}


def _check_config(config: dict[str, Any]) -> None:
    field = "provider_config"
    if _depth(config) > _DEEPEST or len(msgspec.json.encode(config)) > _LARGEST:
        raise BadRequest(f"{field} is nested more than {_DEEPEST} deep, or has over {_LARGEST:,} bytes", field=field)
    try:
        known = msgspec.convert(config, KnownConfig)
    except msgspec.ValidationError as error:
        found = spelling.explain(error, config, KnownConfig, {})
        raise BadRequest(f"{field}.{found.message}", field=f"{field}.{found.field}") from error
    if known.cwd is not None and parse(known.cwd) is None:
        raise BadRequest(f"{field}.cwd must be an absolute path, not {known.cwd!r}", field=f"{field}.cwd")


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max((_depth(one) for one in inner), default=0)
