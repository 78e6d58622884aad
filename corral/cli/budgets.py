"""`corral budgets`: what an org, a team, an agent, a tree of tasks or a key may spend."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from corral.cli import complete, options
from corral.cli.client import Client, segment
from corral.cli.connect import connected
from corral.cli.errors import Misused
from corral.cli.naming import agent_id, key_id, only, short, task_id
from corral.cli.terminal import stderr, stdout

app = typer.Typer(help="Budgets: list, set and delete them.", invoke_without_command=True)

_PERIODS = ("day", "week", "month", "total")
_Hard = Annotated[
    bool | None,
    typer.Option("--hard/--soft", help="Stop runs, or only warn. A new one is hard.", show_default=False),
]


@app.callback()
def budgets(context: typer.Context, as_json: options.Json = False, data: options.Data = None) -> None:
    """Without a subcommand, list the budgets and how they stand."""
    if context.invoked_subcommand is None:
        list_(as_json=as_json, data=data)


@app.command("list")
def list_(as_json: options.Json = False, data: options.Data = None) -> None:
    """List the budgets and how they stand in their present periods, newest first."""
    out = stdout()
    with connected(data) as client:
        found = client.get("/api/budgets")
    if as_json:
        out.json(found)
        return
    if not found:
        stderr().line("No budgets. Set one: corral budgets set 500 --period month")
        return
    out.table(
        ["ID", "NAME", "OF", "LIMIT", "SPENT", "RESERVED", "LEFT", "", "STOPS"],
        [
            [
                short(one["id"], out),
                one["name"],
                " ".join(word for word in (one["scope"], one["target_name"]) if word),
                _limit(one),
                f"${one['spent_usd']:,.2f}",
                f"${one['reserved_usd']:,.2f}",
                f"${one['left_usd']:,.2f}",
                f"{one['percent']:.0f} %",
                _stops(one),
            ]
            for one in found
        ],
    )


@app.command("set")
def set_(
    limit: Annotated[float, typer.Argument(metavar="DOLLARS", help="US dollars, at least 0.01.")],
    *,
    period: Annotated[str, typer.Option(help=f"What it is for: {', '.join(_PERIODS)}.")] = "month",
    team: Annotated[str | None, typer.Option(help="Of this team.")] = None,
    agent: Annotated[
        str | None, typer.Option(metavar="AGENT", help="Of this agent.", autocompletion=complete.agents)
    ] = None,
    task: Annotated[str | None, typer.Option(metavar="ID", help="Of this task and everything below it.")] = None,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="Of what this API key pays for: name or id.")] = None,
    name: Annotated[str | None, typer.Option(help="What holds and warnings call it.")] = None,
    tz: Annotated[str | None, typer.Option("--tz", metavar="ZONE", help="Whose days, as Europe/Berlin.")] = None,
    hard: _Hard = None,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Set a budget: of the org, unless a team, agent, task or key is named. One that is there is changed."""
    if period not in _PERIODS:
        raise Misused(f"--period: there is no {period!r}", hint=f"There are {', '.join(_PERIODS)}.", field="period")
    with connected(data) as client:
        scope, target = _whose(client, team=team, agent=agent, task=task, key=key)
        given = {"limit_usd": limit, "name": name, "tz": tz, "hard": hard}
        body = {name: value for name, value in given.items() if value is not None}
        same = [
            one
            for one in client.get("/api/budgets")
            if (one["scope"], one["target"], one["period"]) == (scope, target, period)
        ]
        if same:
            found = client.patch(f"/api/budgets/{segment(same[0]['id'])}", body)
        else:
            found = client.post("/api/budgets", {"scope": scope, "target": target, "period": period, **body})
    if as_json:
        stdout().json(found)
        return
    done = "Changed" if same else "Set"
    stdout().line(f"{done}: {found['name']}, {_limit(found)}, of which ${found['spent_usd']:,.2f} is spent.", "green")


@app.command()
def delete(
    budget: Annotated[str, typer.Argument(metavar="ID", help="The budget's id, or enough of its end; or its name.")],
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Delete a budget: what it has stopped goes on, if no other one forbids that."""
    with connected(data) as client:
        there = client.get("/api/budgets")
        named = [one["id"] for one in there if one["name"] == budget]
        id_ = named[0] if len(named) == 1 else only((one["id"] for one in there), budget, "budget")
        answer = client.delete(f"/api/budgets/{segment(id_)}")
    if as_json:
        stdout().json(answer)
    else:
        stdout().line("Deleted.", "green")


def _whose(client: Client, **named: str | None) -> tuple[str, str | None]:
    """Return the scope and the target as the API takes them."""
    chosen = {scope: typed for scope, typed in named.items() if typed is not None}
    if len(chosen) > 1:
        raise Misused(f"A budget is for one thing: choose one of {', '.join(f'--{scope}' for scope in chosen)}")
    if not chosen:
        return "org", None
    ((scope, typed),) = chosen.items()
    find = {"agent": agent_id, "task": task_id, "key": key_id}
    return scope, find[scope](client, typed) if scope in find else typed


def _limit(budget: dict[str, Any]) -> str:
    dollars = f"${budget['limit_usd']:,.2f}"
    return f"{dollars} in all" if budget["period"] == "total" else f"{dollars} a {budget['period']}"


def _stops(budget: dict[str, Any]) -> str:
    if not budget["hard"]:
        return "no, it warns"
    stopped = {"paused": budget["paused_runs"], "held": budget["held_runs"]}
    return ", ".join(f"{count} {word}" for word, count in stopped.items() if count) or "yes"
