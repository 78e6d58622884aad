"""`corral usage`: what was spent, the lines that bills are made of, and what models cost."""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from corral.cli import complete, options
from corral.cli.client import Client
from corral.cli.connect import connected
from corral.cli.errors import CommandError, Misused
from corral.cli.naming import agent_id, epic_id, run_id, task_id
from corral.cli.terminal import stderr, stdout

app = typer.Typer(help="What was spent, for people and for bills; and what models cost.", invoke_without_command=True)
prices_app = typer.Typer(help="What models cost, in US dollars a million tokens.", invoke_without_command=True)
app.add_typer(prices_app, name="prices")

_BY = ("agent", "model", "day", "team", "epic", "task", "user", "key", "run")

_Period = Annotated[str | None, typer.Option(help="day, week or month: today, or the last 7 or 30 days.")]
_Month = Annotated[str | None, typer.Option(metavar="YYYY-MM", help="A whole month.")]
_From = Annotated[str | None, typer.Option("--from", metavar="DATE", help="The first day, as 2026-11-01.")]
_To = Annotated[str | None, typer.Option("--to", metavar="DATE", help="The last day; today, if only --from is given.")]
_Zone = Annotated[str, typer.Option("--tz", metavar="ZONE", help="Whose days, as Europe/Berlin.")]
_Agent = Annotated[
    str | None, typer.Option(metavar="AGENT", help="Only what this agent spent.", autocompletion=complete.agents)
]
_Team = Annotated[str | None, typer.Option(help="Only what this team spent.")]
_Label = Annotated[str | None, typer.Option(help="Only runs with this label.")]
_Model = Annotated[str | None, typer.Option(help="Only what was spent on this model.")]
_Epic = Annotated[str | None, typer.Option(metavar="EPIC", help="Only what was spent on this epic.")]
_Task = Annotated[str | None, typer.Option(metavar="ID", help="Only what was spent on this task.")]
_Run = Annotated[str | None, typer.Option(metavar="ID", help="Only what this run spent.")]
_File = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file, not to standard output.")
]
_Rate = Annotated[float, typer.Option(min=0, help="Dollars a million tokens.")]


@app.callback()
def usage(context: typer.Context, as_json: options.Json = False, data: options.Data = None) -> None:
    """Without a subcommand, report the last 30 days by agent."""
    if context.invoked_subcommand is None:
        report(as_json=as_json, data=data)


@app.command()
def report(
    *,
    by: Annotated[str, typer.Option(help=f"What to sum up by: {', '.join(_BY)}.")] = "agent",
    period: _Period = None,
    month: _Month = None,
    first: _From = None,
    last: _To = None,
    tz: _Zone = "UTC",
    agent: _Agent = None,
    team: _Team = None,
    label: _Label = None,
    model: _Model = None,
    epic: _Epic = None,
    task: _Task = None,
    run: _Run = None,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Sum up what was spent: tokens in four classes, and dollars."""
    if by not in _BY:
        raise Misused(f"--by: there is no {by!r}", hint=f"There are {', '.join(_BY)}.", field="by")
    with connected(data) as client:
        asked = _asked(
            client, period=period, month=month, first=first, last=last, tz=tz, agent=agent, team=team, label=label,
            model=model, epic=epic, task=task, run=run,
        )  # fmt: skip
        found = client.get("/api/usage", **asked, group_by=None if by in _BY[:3] else by)
    out = stdout()
    if as_json:
        out.json(found)
        return
    rows = [(_name(by, one), one) for one in _parts(by, found)]
    if found.get("other_groups"):
        rows.append(("others", found["other_groups"]))
    out.table(
        [by.upper(), "COST", "INPUT", "OUTPUT", "CACHE READ", "CACHE WRITE"],
        [[name, *_sums(one)] for name, one in [*rows, ("total", found)]],
    )
    stderr().line(f"{found['from']} to {found['to']}, {found['tz']}", "dim")


@app.command()
def export(
    *,
    statement: Annotated[
        bool, typer.Option("--statement", help="A month's sums by day, agent and model, not its lines.")
    ] = False,
    month: _Month = None,
    first: _From = None,
    last: _To = None,
    tz: _Zone = "UTC",
    agent: _Agent = None,
    team: _Team = None,
    label: _Label = None,
    model: _Model = None,
    epic: _Epic = None,
    task: _Task = None,
    run: _Run = None,
    output: _File = None,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Write the lines of the ledger as CSV, newest first; or a month's statement. As JSON: a line each."""
    with connected(data) as client:
        if statement:
            if any((first, last, agent, model, epic, task, run)):
                raise Misused("A statement is of a --month, and of all, a --team or a --label")
            kind = "json" if as_json else "csv"
            text, _ = client.text("/api/usage/statement", month=month, team=team, label=label, tz=tz, format=kind)
            pages = [text]
        else:
            asked = _asked(
                client, month=month, first=first, last=last, tz=tz, agent=agent, team=team, label=label, model=model,
                epic=epic, task=task, run=run,
            )  # fmt: skip
            pages = _lines(client, asked) if as_json else _pages(client, asked)
    if output is None:
        sys.stdout.writelines(pages)
        return
    with output.open("w", encoding="utf-8", newline="") as file:
        file.writelines(pages)
    stderr().line(f"Written to {output}", "dim")


@prices_app.callback()
def prices(
    context: typer.Context,
    version: Annotated[int | None, typer.Option(help="As a line of the ledger names it.")] = None,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Without a subcommand, list the prices: the org's own first, which come before the built-in ones."""
    if context.invoked_subcommand is not None:
        return
    with connected(data) as client:
        found = client.get("/api/usage/prices", version=version)
    if as_json:
        stdout().json(found)
    else:
        _show(found)


@prices_app.command("set")
def set_(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Its name, with * for any letters.")],
    *,
    input: _Rate,
    output: _Rate,
    cache_read: _Rate,
    cache_write: _Rate,
    first: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="From this day on (UTC); from ever, if left out.")
    ] = None,
    tier: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ABOVE:IN:OUT:READ:WRITE",
            help="What requests cost that ask with more tokens than that; may be repeated.",
        ),
    ] = None,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Set a price of your own. What was recorded before keeps its cost."""
    price = {
        "model": model,
        "from": first,
        "input": input,
        "output": output,
        "cache_read": cache_read,
        "cache_write": cache_write,
        "tiers": [_tier(text) for text in tier or ()],
    }
    with connected(data) as client:
        own = [one for one in _own(client) if (one["model"], one["from"]) != (model, first)]
        found = client.put("/api/usage/prices", {"prices": [*own, price]})
    if as_json:
        stdout().json(found)
    else:
        stdout().line(f"Set, as version {found['version']}.", "green")


@prices_app.command()
def remove(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The name it was set with.")],
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Take your own prices of a model back: the built-in one counts again, if there is one."""
    with connected(data) as client:
        own = _own(client)
        left = [one for one in own if one["model"] != model]
        if len(left) == len(own):
            raise CommandError(f"There is no price of your own for {model}", hint="`corral usage prices` lists them.")
        found = client.put("/api/usage/prices", {"prices": left})
    if as_json:
        stdout().json(found)
    else:
        stdout().line(f"Removed, as version {found['version']}.", "green")


def _asked(
    client: Client,
    *,
    tz: str,
    period: str | None = None,
    month: str | None = None,
    first: str | None = None,
    last: str | None = None,
    agent: str | None = None,
    epic: str | None = None,
    task: str | None = None,
    run: str | None = None,
    **rest: str | None,
) -> dict[str, str | None]:
    """Return the question as the API takes it."""
    if month is not None:
        if first or last or period:
            raise Misused("--month says which days; leave the other options for that out", field="month")
        first, last = _days(month)
    return {
        **rest,
        "tz": tz,
        "period": period,
        "from": first,
        "to": last,
        "agent": agent_id(client, agent) if agent else None,
        "epic": epic_id(client, epic) if epic else None,
        "task": task_id(client, task) if task else None,
        "run": run_id(client, run) if run else None,
    }


def _days(month: str) -> tuple[str, str]:
    try:
        first = date.fromisoformat(f"{month}-01")
    except ValueError as error:
        raise Misused(f"--month: {month!r} is no month; it looks like {datetime.now(UTC):%Y-%m}") from error
    return first.isoformat(), ((first + timedelta(days=31)).replace(day=1) - timedelta(days=1)).isoformat()


def _pages(client: Client, asked: dict[str, str | None]) -> list[str]:
    """Return all pages of the ledger; the first one has the headers."""
    text, following = client.text("/api/usage/ledger", **asked, format="csv")
    pages = [text]
    while following is not None:
        text, following = client.text(following)
        pages.append(text.partition("\r\n")[2])
    return pages


def _lines(client: Client, asked: dict[str, str | None]) -> list[str]:
    """Return all lines of the ledger, each as JSON on a line of its own."""
    text, following = client.text("/api/usage/ledger", **asked)
    found = json.loads(text)["data"]
    while following is not None:
        text, following = client.text(following)
        found += json.loads(text)["data"]
    return [f"{json.dumps(line, ensure_ascii=False)}\n" for line in found]


def _parts(by: str, found: dict[str, Any]) -> list[dict[str, Any]]:
    match by:
        case "agent":
            return [one for one in found["by_agent"] if one["total_tokens"]]
        case "model":
            return list(found["by_model"])
        case "day":
            return [one for one in found["daily_breakdown"] if one["total_tokens"]]
    return list(found["groups"])


def _name(by: str, one: dict[str, Any]) -> str:
    if by in {"model", "day"}:
        return str(one["model" if by == "model" else "date"])
    id_ = one["agent_id" if by == "agent" else "id"]
    return str(one["name"] or id_ or f"without {'an' if by[0] in 'aeu' else 'a'} {by}")


def _sums(one: dict[str, Any]) -> list[str]:
    tokens = (one[f"{name}_tokens"] for name in ("input", "output", "cache_read", "cache_write"))
    return [f"${one['cost_usd']:,.4f}", *(f"{count:,}" for count in tokens)]


def _show(found: dict[str, Any]) -> None:
    out = stdout()
    rows = []
    for price in found["prices"]:
        since = price["from"] or "ever"
        rows.append([price["model"], *_rates(price), since, "built in" if price["builtin"] else "your own"])
        rows += [[f"  above {tier['above']:,}", *_rates(tier), "", ""] for tier in price["tiers"]]
    out.table(["MODEL", "INPUT", "OUTPUT", "CACHE READ", "CACHE WRITE", "FROM", "SET BY"], rows)
    stderr().line(f"US dollars a million tokens; version {found['version']}", "dim")


def _rates(price: dict[str, Any]) -> list[str]:
    return [f"{price[name]:g}" for name in ("input", "output", "cache_read", "cache_write")]


def _tier(text: str) -> dict[str, Any]:
    try:
        above, *rates = text.split(":")
        dollars = [float(rate) for rate in rates]
        names = ("input", "output", "cache_read", "cache_write")
        return {"above": int(above), **dict(zip(names, dollars, strict=True))}
    except ValueError as error:
        raise Misused(
            f"--tier: {text!r} is no tier; it looks like 200000:6:22.5:0.6:7.5 (above:in:out:read:write)", field="tier"
        ) from error


def _own(client: Client) -> list[dict[str, Any]]:
    return [price for price in client.get("/api/usage/prices")["prices"] if not price["builtin"]]
