"""Lines of the audit log as people read them: who, what in words, what changed from what to what, and where that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corral.agents import roster
from corral.platform import acting
from corral.platform.audit import Line
from corral.platform.audited import Action
from corral.runs import reads
from corral.web.api.audit import actors
from corral.web.console import secret_views
from corral.web.console.run_views import agent_name, short

#: What was done, in words that go before what it was done to; by the kind of what was changed.
ACTIONS: dict[str, dict[Action, str]] = {
    "Runs": {
        "run.launched": "launched",
        "run.followed_up": "followed up a run with",
        "run.messaged": "wrote to",
        "run.paused": "paused",
        "run.continued": "let go on",
        "run.cancelled": "cancelled",
        "run.deleted": "deleted",
        "approval.answered": "answered",
    },
    "Agents": {
        "agent.created": "added",
        "agent.changed": "changed",
        "agent.paused": "paused",
        "agent.resumed": "resumed",
        "agent.archived": "archived",
    },
    "Tasks and messages": {
        "task.created": "made",
        "task.changed": "changed",
        "task.cancelled": "cancelled",
        "epic.created": "made",
        "epic.changed": "changed",
        "epic.deleted": "deleted",
        "message.sent": "sent",
        "message.replayed": "replayed",
    },
    "Machines and tools": {
        "runner.registered": "connected",
        "runner.changed": "changed",
        "mcp.created": "added",
        "mcp.changed": "changed",
        "mcp.tested": "tested",
        "mcp.deleted": "deleted",
    },
    "Secrets": {
        "secret.stored": "stored",
        "secret.deleted": "deleted",
        "secrets.rotated": "encrypted all secrets anew under",
        "master_key.renewed": "made",
    },
    "Money": {
        "budget.created": "set",
        "budget.changed": "changed",
        "budget.deleted": "deleted",
        "prices.changed": "set",
    },
    "People": {
        "member.joined": "joined",
        "member.changed": "changed the role of",
        "member.removed": "removed",
        "member.left": "left",
        "invitation.created": "made",
        "invitation.revoked": "revoked",
        "account.changed": "changed their account",
        "password.changed": "changed their password",
        "identity.connected": "connected an identity",
        "identity.disconnected": "disconnected an identity",
        "sign_in_link.created": "made a sign-in link for",
        "sign_in.begun": "signed in",
        "sign_in.switched": "came from another org",
        "sign_in.ended": "signed out",
    },
    "Access": {
        "org.created": "set up",
        "org.changed": "changed",
        "key.changed": "changed",
        "limits.changed": "changed",
        "plan.changed": "changed",
        "key.created": "made",
        "key.revoked": "revoked",
        "policy.changed": "changed",
        "database.restored": "restored",
    },
}
KNOWN: dict[str, str] = {action: word for some in ACTIONS.values() for action, word in some.items()}
#: What things are called, before their names.
_KINDS = {
    "key": "API key",
    "mcp": "MCP server",
    "master_key": "master key",
    "prices": "prices of the org’s own, version",
    **dict.fromkeys(("org", "policy", "limits", "plan", "user", "database"), ""),
}
#: Where things of a kind are looked at: by their id, or all of them.
_PATHS = {
    "run": "/app/runs/{}",
    "agent": "/app/agents/{}",
    "task": "/app/tasks/{}",
    "epic": "/app/epics/{}",
    "message": "/app/bus/{}",
    "runner": "/app/runners/{}",
    "mcp": "/app/mcps/{}",
    "budget": "/app/budgets/{}",
    "key": "/app/keys",
    "invitation": "/app/people",
    "user": "/app/people",
    "policy": "/app/settings",
    "prices": "/app/prices",
}
_GONE = ("run.deleted", "epic.deleted", "mcp.deleted", "budget.deleted", "secret.deleted")
_SYSTEM = {acting.CORRAL.actor: "Corral", acting.OPERATOR.actor: "The operator", acting.NOBODY: "Somebody"}
_ONLY_ONE = {
    "org": "the org",
    "policy": "the rules for delegation",
    "limits": "how often keys may call",
    "plan": "the plan",
    "database": "the database",
}
_SHOWN = ("name", "title", "email")


@dataclass(frozen=True, slots=True)
class Fact:
    """Something a line tells beside what was done."""

    label: str
    now: str
    before: str | None = None  #: where it was something else


@dataclass(frozen=True, slots=True)
class LineView:
    """One line."""

    id: str
    at: int
    actor: str
    who: str
    action: str
    word: str
    kind: str
    thing: str
    path: str | None  #: of the thing, if that has a page and is there
    target_id: str
    facts: list[Fact]
    address: str | None
    request_id: str | None


async def views(org_id: int, lines: Sequence[Line]) -> list[LineView]:
    """Return the views of lines."""
    who = await _who(org_id, lines)
    agents = await roster.names(org_id)
    return [_view(line, who, {**agents, **who}) for line in lines]


def words(action: str) -> str:
    """Return an action in words, also one that is not known here."""
    return KNOWN.get(action, action.rpartition(".")[2].replace("_", " "))


def called(actor: str, names: Mapping[str, str]) -> str:
    """Return what who acted is called."""
    kind, _, id_ = actor.partition(":")
    return names.get(actor) or _SYSTEM.get(actor) or f"{_KINDS.get(kind) or kind} {short(id_)}"


async def _who(org_id: int, lines: Sequence[Line]) -> dict[str, str]:
    """Return what those are called that acted, that something was done to, or that details name."""
    wanted = {line.actor for line in lines} | {f"user:{line.target_id}" for line in lines if line.target_kind == "user"}
    wanted |= {told for line in lines for told in line.detail.values() if isinstance(told, str) and ":" in told}
    found = await actors(org_id, wanted)
    found = {actor: f"API key “{name}”" if actor.startswith("key:") else name for actor, name in found.items()}
    for run in await reads.some(org_id, {actor[4:] for actor in wanted if actor.startswith("run:")}):
        found[f"run:{run.id}"] = f"{agent_name(run.agent) or 'An agent'} in run {short(run.id)}"
    return found


def _view(line: Line, who: Mapping[str, str], names: Mapping[str, str]) -> LineView:
    kind = line.target_kind
    return LineView(
        id=line.id,
        at=line.at,
        actor=line.actor,
        who=called(line.actor, who),
        action=line.action,
        word=words(line.action),
        kind=_KINDS.get(kind, kind.replace("_", " ")),
        thing=_thing(line, names),
        path=_path(line),
        target_id=line.target_id,
        facts=_facts(line.detail, names),
        address=line.address,
        request_id=line.request_id,
    )


def _thing(line: Line, names: Mapping[str, str]) -> str:
    """Return what it was done to: by the name it had, else by the end of its id."""
    if line.target_kind in _ONLY_ONE:
        return " ".join([_ONLY_ONE[line.target_kind], line.detail.get("name") or ""]).strip()
    if line.actor == f"user:{line.target_id}":
        return ""
    if line.target_kind == "user":
        return names.get(f"user:{line.target_id}") or line.detail.get("name") or "somebody who is gone"
    named = next((str(line.detail[name]) for name in _SHOWN if line.detail.get(name)), None)
    if named is None and line.target_kind == "agent":
        named = names.get(line.target_id)
    return named or (short(line.target_id) if len(line.target_id) == 36 else line.target_id)


def _path(line: Line) -> str | None:
    if line.action in _GONE:
        return None
    if line.target_kind == "approval" and isinstance(line.detail.get("run"), str):
        return f"/app/runs/{line.detail['run']}"
    if line.target_kind == "secret":
        return secret_views.address("one", line.target_id, line.detail.get("agent"))
    path = _PATHS.get(line.target_kind)
    return path.format(line.target_id) if path else None


def _facts(detail: Mapping[str, Any], names: Mapping[str, str]) -> list[Fact]:
    before, after = detail.get("from") or {}, detail.get("to") or {}
    found = [Fact(_label(name), _told(after[name], names), _told(before.get(name), names)) for name in after]
    if detail.get("also"):
        found.append(Fact("also changed", ", ".join(map(_label, detail["also"]))))
    rest = (name for name in detail if name not in {"from", "to", "also", *_SHOWN})
    return found + [Fact(_label(name), _told(detail[name], names)) for name in rest if detail[name] not in ("", [])]


def _label(name: str) -> str:
    return name.removesuffix("_id").replace("_", " ")


def _told(value: Any, names: Mapping[str, str]) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_told(one, names) for one in value) or "none"
    text = "none" if value is None else str(value)
    return names.get(text) or (short(text) if len(text) == 36 and text.count("-") == 4 else text)
