"""Secrets as pages show them: whose they are, what refers to them, and who was given them. Never what they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from corral.agents import roster, unmet
from corral.agents.roster import Agent
from corral.agents.unmet import Need
from corral.mcp import render, servers
from corral.mcp.servers import Server
from corral.platform import keys, orgs
from corral.runs import reads
from corral.secrets import vault
from corral.secrets.vault import Entry, Use
from corral.web.console.agent_views import ENGINES
from corral.web.console.run_views import agent_name, short, title

_SECRETS_MOST = 1000
_KEYS_MOST = 500


@dataclass(frozen=True, slots=True)
class By:
    """Who was given a secret: a run, or who had an MCP server tested with it."""

    text: str
    title: str = ""  #: what the run is about
    path: str | None = None
    agent: str | None = None  #: the run's
    agent_id: str | None = None


@dataclass(frozen=True, slots=True)
class SecretView:
    """One secret: a row of the list, or the head of its page."""

    key: str
    agent_id: str | None
    agent: str | None  #: whose it is; None is the org's
    version: int
    updated_at: int
    used_at: int | None
    by: By | None
    servers: list[Server]  #: that refer to it
    provider: str | None  #: whose API agents in the platform call with it
    path: str  #: of its own page
    replace: str  #: of the form that stores another value


@dataclass(frozen=True, slots=True)
class UseView:
    """One use."""

    at: int
    version: int
    attempt: int | None
    by: By


@dataclass(frozen=True, slots=True)
class NeedView:
    """A secret that is missing."""

    key: str
    server: Server | None  #: that refers to it
    provider: str | None  #: or whose API is called with it
    agents: str  #: the names of those who lack it
    path: str  #: of the form that stores it


def address(page: str, key: str, agent_id: str | None = None) -> str:
    """Return where a secret's page or form is; its name is too long for a part of a path."""
    asked = {"key": key, "agent": agent_id}
    return f"/app/secrets/{page}?{urlencode({name: value for name, value in asked.items() if value})}"


async def views(org_id: int) -> list[SecretView]:
    """Return all secrets by name, the org's before agents' own."""
    found = await vault.page(org_id, scope="org", limit=_SECRETS_MOST)
    found += await vault.page(org_id, scope="agent", limit=_SECRETS_MOST)
    shown = await _views(org_id, found)
    return sorted(shown, key=lambda one: (one.key, one.agent or ""))


async def of_agent(org_id: int, agent: Agent) -> list[SecretView]:
    """Return what an agent's runs are given: its own secrets, and those of the org that it has none instead of."""
    own = await vault.page(org_id, scope="agent", agent_id=agent.id, limit=_SECRETS_MOST)
    names = {entry.key for entry in own}
    given = [entry for entry in await vault.page(org_id, scope="org", limit=_SECRETS_MOST) if entry.key not in names]
    return sorted(await _views(org_id, [*own, *given]), key=lambda one: one.key)


async def view(org_id: int, key: str, agent_id: str | None) -> SecretView:
    """Return one secret; NotFound."""
    (found,) = await _views(org_id, [await vault.get(org_id, key, agent_id=agent_id)])
    return found


async def uses(org_id: int, found: Sequence[Use]) -> list[UseView]:
    """Return the views of uses."""
    by = await _by(org_id, (use.used_by for use in found))
    return [UseView(use.used_at, use.version, use.attempt, by[use.used_by]) for use in found]


async def needs(org_id: int) -> list[NeedView]:
    """Return what is missing."""
    return [need_view(need) for need in await unmet.unmet(org_id)]


def need_view(need: Need) -> NeedView:
    """Return the view of what is missing."""
    provider = _PROVIDERS.get(need.key) if need.server is None else None
    return NeedView(
        need.key, need.server, provider, ", ".join(agent.name for agent in need.agents), address("new", need.key)
    )


async def _views(org_id: int, found: Sequence[Entry]) -> list[SecretView]:
    there = [server for server in reversed(await servers.page(org_id)) if render.references(server)]
    names = await roster.names(org_id)
    teams = {agent.id: agent.team for agent in await roster.page(org_id)}
    by = await _by(org_id, (entry.last_used_by for entry in found if entry.last_used_by))
    return [_view(entry, there, names, teams, by) for entry in found]


def _view(
    entry: Entry,
    there: Sequence[Server],
    names: Mapping[str, str],
    teams: Mapping[str, str | None],
    by: Mapping[str, By],
) -> SecretView:
    whose = entry.agent_id
    referring = [server for server in there if entry.key in render.references(server)]
    return SecretView(
        key=entry.key,
        agent_id=whose,
        agent=names.get(whose, "an agent that is gone") if whose else None,
        version=entry.version,
        updated_at=entry.updated_at,
        used_at=entry.last_used_at,
        by=by[entry.last_used_by] if entry.last_used_by else None,
        servers=[server for server in referring if whose is None or server.is_for(whose, teams.get(whose))],
        provider=_PROVIDERS.get(entry.key),
        path=address("one", entry.key, whose),
        replace=address("new", entry.key, whose),
    )


#: The secrets that agents in the platform are executed with, and what they open.
_PROVIDERS = {f"{name.upper()}_API_KEY": label.partition(",")[0] for name, label in ENGINES if name in roster.PROVIDERS}


async def _by(org_id: int, used_by: Iterable[str]) -> dict[str, By]:
    """Return who they are, by the name rows know them by."""
    wanted = set(used_by)
    if not wanted:
        return {}
    runs = {run.id: run for run in await reads.some(org_id, (one[4:] for one in wanted if one.startswith("run:")))}
    people = await orgs.people(org_id)
    made: dict[str, str] = {}
    if any(one.startswith("key:") for one in wanted):
        made = {f"key:{key.id}": key.name for key in await keys.page(org_id, limit=_KEYS_MOST)}
    found = {}
    for one in wanted:
        kind, _, id_ = one.partition(":")
        if kind == "run":
            run = runs.get(id_)
            found[one] = By(
                f"run {short(id_)}",
                title(run.prompt) if run else "",
                f"/app/runs/{id_}" if run else None,
                agent_name(run.agent) if run else None,
                run.agent_id if run else None,
            )
        elif one in made:
            found[one] = By(f"API key “{made[one]}”")
        else:
            found[one] = By(people.get(one, "somebody who is gone"))
    return found
