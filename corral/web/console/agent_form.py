"""The form that makes and changes an agent: its fields, and the columns they stand for."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from corral.agents.roster import PROVIDERS, Agent
from corral.base.paths import parse
from corral.web.console.agent_views import engine_of
from corral.web.console.overtaken import Change
from corral.wire.runs import Engine, PermissionMode


class AgentForm(Change):
    """What the form holds."""

    name: str = ""
    glyph: str = ""
    role: str = ""
    instructions: str = ""
    team: str = ""
    manager: str = ""
    engine: str = Engine.CLAUDE_CODE.value
    model: str = ""
    cwd: str = ""
    runner: str = ""
    labels: str = ""
    permission_mode: str = PermissionMode.DEFAULT.value
    allowed_tools: str = ""
    max_turns: Annotated[str, msgspec.Meta(max_length=9)] = ""
    autostart: bool = False


_LONGEST = {"name": 200, "glyph": 16, "team": 200, "model": 200}
_TURNS_MOST = 1_000_000


def problems(form: AgentForm) -> dict[str, str]:
    """Return what is wrong with the form, by field."""
    errors = {}
    if not form.name.strip():
        errors["name"] = "Give it a name."
    if not form.role.strip():
        errors["role"] = "Say what it is there for."
    for field, most in _LONGEST.items():
        if len(getattr(form, field)) > most:
            errors[field] = f"At most {most} characters, please."
    if form.engine not in {*PROVIDERS, *Engine} or form.engine == Engine.PROVIDER:
        errors["engine"] = "Choose one of these."
    if form.engine in PROVIDERS and not form.model.strip():
        errors["model"] = "An agent in the platform needs a model."
    if form.permission_mode not in {*PermissionMode}:
        errors["permission_mode"] = "Choose one of these."
    if form.cwd.strip() and parse(form.cwd.strip()) is None:
        errors["cwd"] = f"{form.cwd.strip()} is not an absolute path."
    turns = form.max_turns.strip()
    if turns and not (turns.isascii() and turns.isdigit() and 0 < int(turns) <= _TURNS_MOST):
        errors["max_turns"] = f"A number from 1 to {_TURNS_MOST:,}, or nothing."
    return errors


def fields(form: AgentForm, agent: Agent | None) -> dict[str, Any]:
    """Return the columns that a form without problems stands for; what it doesn't show stays as the agent has it."""
    in_platform = form.engine in PROVIDERS
    config = dict(agent.provider_config) if agent else {}
    shown: dict[str, Any] = {
        "cwd": form.cwd.strip(),
        "runner": form.runner,
        "labels": _listed(form.labels),
        "permission_mode": form.permission_mode if form.permission_mode != PermissionMode.DEFAULT else "",
    }
    config = {name: value for name, value in {**config, **shown}.items() if value or name not in shown}
    return {
        **({} if agent else {"project_id": None}),
        "name": form.name.strip(),
        "glyph": form.glyph.strip() or form.name.strip()[:1].upper(),
        "role": form.role.strip().replace("\r\n", "\n"),
        "instructions": form.instructions.strip().replace("\r\n", "\n") or None,
        "team": form.team.strip() or None,
        "manager_id": form.manager or None,
        "cli_name": None if in_platform else form.engine,
        "provider": form.engine if in_platform else None,
        "model": form.model.strip() or None,
        "allowed_tools": ",".join(_listed(form.allowed_tools)),
        "max_turns": int(form.max_turns) if form.max_turns.strip() else None,
        "autostart": form.autostart,
        "provider_config": config,
    }


def filled(agent: Agent) -> AgentForm:
    """Return the form as an agent fills it."""
    config = agent.provider_config
    return AgentForm(
        name=agent.name,
        glyph=agent.glyph,
        role=agent.role,
        instructions=agent.instructions or "",
        team=agent.team or "",
        manager=agent.manager_id or "",
        engine=engine_of(agent),
        model=agent.model or "",
        cwd=str(config.get("cwd") or ""),
        runner=str(config.get("runner") or ""),
        labels=", ".join(map(str, config.get("labels") or ())),
        permission_mode=str(config.get("permission_mode") or PermissionMode.DEFAULT),
        allowed_tools=", ".join(_listed(agent.allowed_tools)),
        max_turns=str(agent.max_turns or ""),
        autostart=agent.autostart,
    )


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
