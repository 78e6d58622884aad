"""Agents as pages show them, and the names that rows know people and agents by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from corral.agents import board, roster, world
from corral.agents.roster import Agent
from corral.agents.world import Entry
from corral.platform import orgs
from corral.usage import reports
from corral.usage.ledger import Totals
from corral.web.console.run_views import title
from corral.wire.runs import Engine

#: An agent's status: the class that colours its dot, and its word.
_STATUS = {
    "idle": ("queued", "Idle"),
    "working": ("running", "Working"),
    "waiting": ("waiting", "Waiting"),
    "paused": ("paused", "Paused"),
    "archived": ("cancelled", "Archived"),
}
#: What carries an agent's runs out: a CLI on a runner, or the platform through a provider.
ENGINES = (
    (Engine.CLAUDE_CODE.value, "Claude Code, on a runner"),
    ("anthropic", "Anthropic’s API, in the platform"),
    ("openai", "OpenAI’s API, in the platform"),
    ("openrouter", "OpenRouter’s API, in the platform"),
)


@dataclass(frozen=True, slots=True)
class AgentView:
    """One agent: a row of the list, a place in the chart, or the head of its page."""

    id: str
    name: str
    glyph: str
    role: str  #: its first line
    team: str | None
    status: str  #: the class that colours its dot
    word: str
    state: str  #: active | paused | archived
    engine: str
    model: str | None
    manager_id: str | None
    phase: str  #: what it is at
    task_id: str | None
    run_id: str | None  #: its live run
    cost: float | None  #: of today
    since: int | None
    load: int  #: tasks without an end
    reports: list[AgentView] = field(default_factory=list)


class Names:
    """What senders and receivers of messages are called."""

    def __init__(self, agents: Mapping[str, str], people: Mapping[str, str]) -> None:
        """Take agents by id and people as rows know them."""
        self.agents = agents
        self._people = people

    def of(self, address: str | None) -> str:
        """Return the name of an agent, a person or a key."""
        if address is None:
            return "nobody"
        if address.startswith("key:"):
            return "an API key"
        if address.startswith("run:"):
            return "another agent"
        return self.agents.get(address) or self._people.get(address) or ("everybody" if address == "*" else "somebody")

    def is_agent(self, address: str | None) -> bool:
        """Tell whether this is an agent's id."""
        return address in self.agents


async def names(org_id: int) -> Names:
    """Return the names of everybody in the org."""
    return Names(await roster.names(org_id), await orgs.people(org_id))


async def views(org_id: int, agents: Sequence[Agent]) -> list[AgentView]:
    """Return the views of agents."""
    now = {entry.id: entry for entry in await world.world(org_id) if entry.kind == "agent"}
    load = await board.load(org_id)
    spent = (await reports.lately(org_id, "day")).by_agent()
    return [_view(agent, now.get(agent.id), load.get(agent.id, 0), spent.get(agent.id)) for agent in agents]


async def view(org_id: int, agent: Agent) -> AgentView:
    """Return the view of one agent, with those who report to it."""
    everybody = await views(org_id, await roster.page(org_id))
    found = next((one for one in everybody if one.id == agent.id), None) or _view(agent, None, 0, None)
    found.reports.extend(one for one in reversed(everybody) if one.manager_id == agent.id)
    return found


def chart(agents: Sequence[AgentView]) -> list[AgentView]:
    """Return those without a manager here, with everybody else below theirs; oldest first."""
    by_id = {agent.id: agent for agent in agents}
    tops: list[AgentView] = []
    for agent in agents:
        manager = by_id.get(agent.manager_id or "")
        (manager.reports if manager else tops).append(agent)
    return tops


def engine_of(agent: Agent) -> str:
    """Return the choice of `ENGINES` that an agent has."""
    return agent.cli_name or agent.provider or ""


def _view(agent: Agent, now: Entry | None, load: int, spent: Totals | None) -> AgentView:
    status, word = _STATUS[agent.status]
    return AgentView(
        id=agent.id,
        name=agent.name,
        glyph=agent.glyph,
        role=title(agent.role),
        team=agent.team,
        status=status,
        word=word,
        state=agent.state,
        engine=dict(ENGINES).get(engine_of(agent), engine_of(agent)),
        model=agent.model,
        manager_id=agent.manager_id,
        phase=title(now.phase) if now and now.phase else "",
        task_id=now.task_id if now else None,
        run_id=now.run_id if now else None,
        cost=spent.cost_usd if spent else None,
        since=now.since if now else None,
        load=load,
    )
