"""`corral plan`: what an org may have, and what it has; `corral limits`: how often its keys may call."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from corral.cli import options
from corral.cli.connect import connected
from corral.cli.keys import THE_DEFAULT, rate_of, whole
from corral.cli.operating import operate, org_of
from corral.cli.terminal import stdout

app = typer.Typer(help="Plans: what an org may have, and has.", invoke_without_command=True)
limits = typer.Typer(help="How often the org's keys may call.", invoke_without_command=True)

_Org = Annotated[str, typer.Argument(metavar="ORG", help="The org's number or name.")]


@app.callback()
def plan(context: typer.Context, as_json: options.Json = False, data: options.Data = None) -> None:
    """Without a subcommand, show the org's plan and what is used of it."""
    if context.invoked_subcommand is not None:
        return
    with connected(data) as client:
        found = client.get("/api/plan")
    out = stdout()
    if as_json:
        out.json(found)
        return
    out.line(f"Plan {found['name']}")
    out.table(
        ["", "USED", "OF"],
        [
            [what.replace("_", " "), f"{found['used'][what]:,}", "any number" if most is None else f"{most:,}"]
            for what, most in found["limits"].items()
        ],
    )
    off = sorted(name for name, is_on in found["features"].items() if not is_on)
    if off:
        out.line(f"Not included: {', '.join(name.replace('_', ' ') for name in off)}.", "dim")


@app.command("set")
def set_(
    org: _Org,
    name: Annotated[str, typer.Argument(metavar="PLAN", help="One of CORRAL_PLANS, or `default`.")],
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Give an org a plan. For operators: it works on the server's machine alone, with the server's CORRAL_PLANS."""

    async def change() -> str:
        from corral.platform import plans

        return (await plans.set_plan(await org_of(org), None if name == "default" else name)).name

    given = operate(data, change)
    if as_json:
        stdout().json({"org": org, "plan": given})
    else:
        # Which plan that is, the servers' file says, and the one that is read here may be another or none.
        which = "the default plan" if name == "default" else f"the plan {given}"
        stdout().line(f"{org} has {which}. Running servers go by it within a second.", "green")


@limits.callback()
def show_limits(context: typer.Context, as_json: options.Json = False, data: options.Data = None) -> None:
    """Without a subcommand, show how often the org's keys may call."""
    if context.invoked_subcommand is None:
        with connected(data) as client:
            _show(client.get("/api/v1/limits"), as_json=as_json)


@limits.command("set")
def set_limit(
    rate: Annotated[str, typer.Argument(metavar="N", help="Requests a minute of each key, or `default`.")],
    *,
    org: Annotated[
        str | None, typer.Option(metavar="ORG", help="For operators, on the server's machine: of this org; 0 is off.")
    ] = None,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Say how often each of the org's keys may call that has no limit of its own."""
    number = None if rate == "default" else whole(rate, "N", least=1 if org is None else 0)
    if org is None:
        with connected(data) as client:
            _show(client.patch("/api/v1/limits", {"rate_limit": number}), as_json=as_json)
        return

    async def change() -> None:
        from corral.platform import rates

        await rates.change(await org_of(org), number)

    operate(data, change)
    if as_json:
        stdout().json({"org": org, "rate_limit": number})
    else:
        stdout().line(f"{org}: {rate_of(number, THE_DEFAULT)} requests a minute for each key.", "green")


def _show(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        stdout().json(told)
        return
    own, default = told["rate_limit"], told["default"]
    which = "the server's default" if own is None else "the org's own"
    stdout().line(f"{rate_of(default if own is None else own)} requests a minute for each key ({which}).")
