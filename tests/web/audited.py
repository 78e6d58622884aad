"""What each route that is no GET writes to the audit log, or why it writes nothing; and requests that make it do so.

Written by hand: a new route has neither, and fails the test that walks the table until somebody has thought about it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from tests.support.seeds import AGENT, Request, Seeds

#: Routes of the API and what they are written down as.
API = {
    "POST /api/v1/runs": "run.launched",
    "POST /api/v1/runs/<id>/followup": "run.followed_up",
    "POST /api/runs/<id>/cancel": "run.cancelled",
    "POST /api/runs/<id>/pause": "run.paused",
    "POST /api/runs/<id>/continue": "run.continued",
    "POST /api/runs/<id>/message": "run.messaged",
    "DELETE /api/runs/<id>": "run.deleted",
    "POST /api/approvals/<id>": "approval.answered",
    "POST /api/agents": "agent.created",
    "PATCH /api/agents/<id>": "agent.changed",
    "PUT /api/agents/<id>": "agent.changed",
    "DELETE /api/agents/<id>": "agent.archived",
    "POST /api/tasks": "task.created",
    "PATCH /api/tasks/<id>": "task.changed",
    "POST /api/tasks/<id>/cancel": "task.cancelled",
    "POST /api/run": "run.launched",
    "POST /api/epics": "epic.created",
    "PATCH /api/epics/<id>": "epic.changed",
    "DELETE /api/epics/<id>": "epic.deleted",
    "POST /api/messages": "message.sent",
    "POST /api/messages/<id>/replay": "message.replayed",
    "POST /api/v1/tools/<name>": "message.sent",
    "POST /api/v1/runners/register": "runner.registered",
    "POST /api/secrets": "secret.stored",
    "DELETE /api/secrets": "secret.deleted",
    "POST /api/secrets/rotate": "master_key.renewed",
    "POST /api/mcps": "mcp.created",
    "PATCH /api/mcps/<id>": "mcp.changed",
    "DELETE /api/mcps/<id>": "mcp.deleted",
    "POST /api/mcps/<id>/test": "mcp.tested",
    "PUT /api/usage/prices": "prices.changed",
    "POST /api/budgets": "budget.created",
    "PATCH /api/budgets/<id>": "budget.changed",
    "DELETE /api/budgets/<id>": "budget.deleted",
    "POST /api/v1/keys": "key.created",
    "DELETE /api/v1/keys/<id>": "key.revoked",
    "POST /api/v1/sign-in-links": "sign_in_link.created",
    "PATCH /api/v1/policy": "policy.changed",
}

#: The forms of pages, likewise.
PAGES = {
    "POST /app/runs": "run.launched",
    "POST /app/runs/<run_id>/say": "run.messaged",
    "POST /app/runs/<run_id>/pause": "run.paused",
    "POST /app/runs/<run_id>/continue": "run.continued",
    "POST /app/runs/<run_id>/cancel": "run.cancelled",
    "POST /app/runs/<run_id>/delete": "run.deleted",
    "POST /app/approvals/<approval_id>": "approval.answered",
    "POST /app/agents": "agent.created",
    "POST /app/agents/<agent_id>/edit": "agent.changed",
    "POST /app/agents/<agent_id>/state": "agent.paused",
    "POST /app/agents/<agent_id>/say": "message.sent",
    "POST /app/board/move": "task.changed",
    "POST /app/tasks": "task.created",
    "POST /app/tasks/<task_id>/edit": "task.changed",
    "POST /app/tasks/<task_id>/start": "run.launched",
    "POST /app/tasks/<task_id>/cancel": "task.cancelled",
    "POST /app/epics": "epic.created",
    "POST /app/epics/<epic_id>": "epic.changed",
    "POST /app/epics/<epic_id>/delete": "epic.deleted",
    "POST /app/messages": "message.sent",
    "POST /app/messages/<message_id>/replay": "message.replayed",
    "POST /app/runners/new": "key.created",
    "POST /app/mcps": "mcp.created",
    "POST /app/mcps/<mcp_id>/edit": "mcp.changed",
    "POST /app/mcps/<mcp_id>/rules": "mcp.changed",
    "POST /app/mcps/<mcp_id>/test": "mcp.tested",
    "POST /app/mcps/<mcp_id>/delete": "mcp.deleted",
    "POST /app/secrets/new": "secret.stored",
    "POST /app/secrets/delete": "secret.deleted",
    "POST /app/budgets": "budget.created",
    "POST /app/budgets/<budget_id>/edit": "budget.changed",
    "POST /app/budgets/<budget_id>/limit": "budget.changed",
    "POST /app/budgets/<budget_id>/delete": "budget.deleted",
    "POST /app/prices": "prices.changed",
    "POST /app/prices/remove": "prices.changed",
    "POST /app/keys": "key.created",
    "POST /app/keys/<key_id>/revoke": "key.revoked",
    "POST /app/keys/<key_id>/limit": "key.changed",
    "POST /app/settings": "policy.changed",
    "POST /app/sign-in": "sign_in.begun",
    "POST /app/sign-out": "sign_in.ended",
}

#: Routes that write no line, and why.
UNWRITTEN = {
    "POST /api/v1/runners/<id>/poll": "renews a lease and takes work, which nobody decides; the run's log has it",
    "POST /api/v1/runs/<id>/events": "is the run's log",
    "POST /app/invitation": "shows what an invitation offers",
    "POST /app/sign-in/provider": "leads to the provider; whoever comes back has a line",
    "POST /app/profile/identities": "leads to the provider; the identity that comes back has a line",
    "POST /api/v1/runners/<id>/commands/<command_id>": "tells how something went that has its line",
}


def requests(seeds: Seeds) -> dict[str, Callable[[], Request]]:
    """Requests that change something, where those of `Seeds` do not."""
    return {
        **{
            f"{verb} /api/agents/<id>": lambda: Request({"id": seeds.agent()}, {"team": "red"})
            for verb in ("PATCH", "PUT")
        },
        "PATCH /api/epics/<id>": lambda: Request({"id": seeds.epic()}, {"title": "another"}),
        "PATCH /api/v1/policy": lambda: Request({}, {"max_depth": 5}),
        "POST /api/secrets/rotate": lambda: Request({}, {}),
        "POST /api/v1/tools/<name>": lambda: tool(seeds),
    }


def tool(seeds: Seeds) -> Request:
    """A run's agent writes to another."""
    key = seeds.hand.tools(seeds.hand.working()).key
    body = {"call_id": uuid.uuid4().hex, "input": {"to": seeds.agent(name=named("reader")), "text": "hello"}}
    return Request({"name": "send_message"}, body, key=key)


def forms(seeds: Seeds) -> dict[str, Callable[[], tuple[str, dict[str, Any]]]]:
    """What each page's form is filled in with: the id in its path, and its fields."""
    price = {"model": "form-*", "input": "1", "output": "2", "cache_read": "0.1", "cache_write": "1.25"}
    task = {"title": "changed", "input": "i", "priority": "high"}
    policy = {"delegate_to": "team", "max_depth": 4, "max_fan_out": 9, "max_open_tasks": 9, "max_tasks_per_hour": 9}
    return {
        "POST /app/runs": lambda: ("", {"prompt": "p", "cwd": seeds.hand.root}),
        "POST /app/runs/<run_id>/say": lambda: (seeds.claimed_run()["run_id"], {"text": "hi"}),
        "POST /app/runs/<run_id>/pause": lambda: (seeds.claimed_run()["run_id"], {}),
        "POST /app/runs/<run_id>/continue": lambda: (paused_run(seeds), {}),
        "POST /app/runs/<run_id>/cancel": lambda: (seeds.queued_run(), {}),
        "POST /app/runs/<run_id>/delete": lambda: (seeds.finished_run(), {}),
        "POST /app/approvals/<approval_id>": lambda: (seeds.approval(), {"decision": "allow"}),
        "POST /app/agents": lambda: ("", {**AGENT, "name": named("agent"), "cwd": "/srv"}),
        "POST /app/agents/<agent_id>/edit": lambda: (seeds.agent(), {**AGENT, "name": named("agent"), "cwd": "/srv"}),
        "POST /app/agents/<agent_id>/state": lambda: (seeds.agent(), {"state": "paused"}),
        "POST /app/agents/<agent_id>/say": lambda: (seeds.agent(), {"text": "hi"}),
        "POST /app/board/move": lambda: ("", {"task": seeds.task(), "status": "done"}),
        "POST /app/tasks": lambda: ("", {**task, "agent": seeds.agent()}),
        "POST /app/tasks/<task_id>/edit": lambda: (seeds.task(), {**task, "agent": seeds.agent()}),
        "POST /app/tasks/<task_id>/start": lambda: (seeds.task(), {}),
        "POST /app/tasks/<task_id>/cancel": lambda: (seeds.task(), {}),
        "POST /app/epics": lambda: ("", {"title": "e"}),
        "POST /app/epics/<epic_id>": lambda: (seeds.epic(), {"title": "another"}),
        "POST /app/epics/<epic_id>/delete": lambda: (seeds.epic(), {}),
        "POST /app/messages": lambda: ("", {"to": seeds.agent(), "text": "hi", "type": "note"}),
        "POST /app/messages/<message_id>/replay": lambda: (seeds.dead_message(), {}),
        "POST /app/runners/new": lambda: ("", {"name": named("machine"), "dirs": "/srv"}),
        "POST /app/mcps": lambda: ("", {"name": named("mcp"), "command": "true"}),
        "POST /app/mcps/<mcp_id>/edit": lambda: (seeds.mcp(), {"name": named("mcp"), "command": "false"}),
        "POST /app/mcps/<mcp_id>/rules": lambda: (seeds.mcp(), {"deny": "delete_*"}),
        "POST /app/mcps/<mcp_id>/test": lambda: (seeds.unreachable_mcp(), {}),
        "POST /app/mcps/<mcp_id>/delete": lambda: (seeds.mcp(), {}),
        "POST /app/secrets/new": lambda: ("", {"key": f"FORM_{uuid.uuid4().hex.upper()}", "value": "v"}),
        "POST /app/secrets/delete": lambda: ("", {"key": seeds.secret()}),
        "POST /app/budgets": lambda: ("", {"scope": "agent", "agent": seeds.agent(), "limit": "5", "hard": "false"}),
        "POST /app/budgets/<budget_id>/edit": lambda: (
            seeds.budget(),
            {"name": "other", "limit": "7", "period": "day", "hard": "false"},
        ),
        "POST /app/budgets/<budget_id>/limit": lambda: (seeds.budget(), {"limit": "8"}),
        "POST /app/budgets/<budget_id>/delete": lambda: (seeds.budget(), {}),
        "POST /app/prices": lambda: ("", price),
        "POST /app/prices/remove": lambda: ("", {"model": own_price(seeds)}),
        "POST /app/keys": lambda: ("", {"name": "k", "scopes": ["runs:read"]}),
        "POST /app/keys/<key_id>/revoke": lambda: (seeds.key(), {}),
        "POST /app/keys/<key_id>/limit": lambda: (seeds.key(), {"rate_limit": "77"}),
        "POST /app/settings": lambda: ("", {**policy, "due_hours": 3}),
    }


def paused_run(seeds: Seeds) -> str:
    claimed = seeds.claimed_run()
    seeds.api.post("/api/runs/:id/pause", claimed["run_id"]).raise_for_status()
    assert seeds.hand.send(claimed, (3, "run.paused", {}))[0] == 200
    return str(claimed["run_id"])


def own_price(seeds: Seeds) -> str:
    price = {"model": named("priced"), "input": 1, "output": 2, "cache_read": 0, "cache_write": 0}
    seeds.api.put("/api/usage/prices", body={"prices": [price]}).raise_for_status()
    return str(price["model"])


def named(what: str) -> str:
    return f"{what}-{uuid.uuid4().hex[:8]}"
