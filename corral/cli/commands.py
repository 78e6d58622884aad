"""Which commands there are, in the order that `corral --help` lists them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from corral.cli import (
    agents,
    approvals,
    ask,
    audit,
    backup,
    budgets,
    doctor,
    keys,
    mcps,
    messages,
    options,
    orgs,
    people,
    plan,
    processes,
    runners,
    runs,
    secrets,
    sign_in,
    status,
    tasks,
    usage,
)


def build() -> typer.Typer:
    """Return the application with all its commands."""
    app = typer.Typer(
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(corral)
    command: Callable[..., None]
    for command in (processes.up, processes.demo):
        app.command(rich_help_panel="Start here")(command)
    for command in (runs.run, runs.runs, runs.logs, runs.followup, runs.pause):
        app.command(rich_help_panel="Runs")(command)
    app.command("continue", rich_help_panel="Runs")(runs.continue_)
    for command in (runs.cancel, runs.delete):
        app.command(rich_help_panel="Runs")(command)
    app.add_typer(approvals.app, name="approvals", rich_help_panel="Runs")
    app.add_typer(agents.app, name="agents", rich_help_panel="Agents")
    app.add_typer(tasks.app, name="tasks", rich_help_panel="Agents")
    app.command(rich_help_panel="Agents")(ask.ask)
    app.add_typer(messages.app, name="messages", rich_help_panel="Agents")
    app.command(rich_help_panel="Look after it")(runners.runners)
    app.add_typer(usage.app, name="usage", rich_help_panel="Look after it")
    app.add_typer(budgets.app, name="budgets", rich_help_panel="Look after it")
    app.add_typer(keys.app, name="keys", rich_help_panel="Look after it")
    app.add_typer(people.app, name="people", rich_help_panel="Look after it")
    app.add_typer(people.invitations, name="invitations", rich_help_panel="Look after it")
    app.add_typer(orgs.app, name="orgs", rich_help_panel="Look after it")
    app.add_typer(plan.limits, name="limits", rich_help_panel="Look after it")
    app.add_typer(plan.app, name="plan", rich_help_panel="Look after it")
    app.add_typer(secrets.app, name="secrets", rich_help_panel="Look after it")
    app.add_typer(mcps.app, name="mcps", rich_help_panel="Look after it")
    cared_for = (audit.audit, backup.backup, backup.restore, sign_in.sign_in, status.status, doctor.doctor, version)
    for command in cared_for:
        app.command(rich_help_panel="Look after it")(command)
    for command in (processes.serve, processes.runner, processes.migrate):
        app.command(rich_help_panel="Processes of a larger installation")(command)
    return app


def corral(
    context: typer.Context, show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    """Run a team of coding agents across your machines."""
    if show_version:
        version()
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def version(as_json: options.Json = False) -> None:
    """Print Corral's version."""
    from corral import __version__
    from corral.cli.terminal import stdout

    if as_json:
        stdout().json({"version": __version__})
    else:
        stdout().line(f"corral {__version__}")
