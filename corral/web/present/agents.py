"""Agents with both references' fields, and everybody at a glance."""

from __future__ import annotations

from typing import Any

import msgspec

from corral.agents.roster import Agent
from corral.agents.world import Entry
from corral.runs.frames import moment
from corral.web.present.times import shown


class AgentView(msgspec.Struct, kw_only=True):
    """Somebody who works."""

    id: str
    name: str
    role: str  #: also what it is told to be, if there are no instructions
    instructions: str | None
    model: str | None  #: null is the CLI's own choice
    provider: str | None  #: anthropic, openai or openrouter
    glyph: str
    manager: str | None  #: an agent's id
    team: str | None
    status: str  #: idle, working, waiting, paused or archived
    project_id: str | None
    cli_name: str | None  #: with one it runs on a runner, without in the platform through its provider
    allowed_tools: str  #: run without asking; separated by commas
    max_turns: int | None
    provider_config: dict[str, Any]
    autostart: bool  #: its tasks start by themselves
    created_at: str
    updated_at: str


class WorldUsage(msgspec.Struct):
    """What a live run has cost so far."""

    total_tokens: int
    cost_usd: float


class WorldEntry(msgspec.Struct, kw_only=True):
    """An agent, or a live run that has none."""

    kind: str  #: agent or run
    id: str
    name: str
    glyph: str
    role: str
    team: str | None
    manager: str | None
    status: str  #: of an agent: idle, working, waiting or paused; of a run its own
    phase: str  #: what it is at: its task's title, or what its run was told
    run_id: str | None
    task_id: str | None
    runner_id: int | None
    since: str | None  #: when its run came into its state
    usage: WorldUsage


def agent_view(agent: Agent) -> AgentView:
    """Show an agent."""
    return AgentView(
        id=agent.id,
        name=agent.name,
        role=agent.role,
        instructions=agent.instructions,
        model=agent.model,
        provider=agent.provider,
        glyph=agent.glyph,
        manager=agent.manager_id,
        team=agent.team,
        status=agent.status,
        project_id=agent.project_id,
        cli_name=agent.cli_name,
        allowed_tools=agent.allowed_tools,
        max_turns=agent.max_turns,
        provider_config=agent.provider_config,
        autostart=agent.autostart,
        created_at=moment(agent.created_at),
        updated_at=moment(agent.updated_at),
    )


def world_entry(entry: Entry) -> WorldEntry:
    """Show what somebody is at."""
    return WorldEntry(
        kind=entry.kind,
        id=entry.id,
        name=entry.name,
        glyph=entry.glyph,
        role=entry.role,
        team=entry.team,
        manager=entry.manager,
        status=entry.status,
        phase=entry.phase,
        run_id=entry.run_id,
        task_id=entry.task_id,
        runner_id=entry.runner_id,
        since=shown(entry.since),
        usage=WorldUsage(entry.total_tokens, entry.cost_micros / 1_000_000),
    )
