"""`corral agents`: who works here, what they are at and what that costs, and where they are in the org chart."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from corral.cli import complete, options
from corral.cli.chart import chart as draw
from corral.cli.client import Client, segment
from corral.cli.connect import connected
from corral.cli.errors import Misused, Refused
from corral.cli.naming import Names, agent_id, runner_id, short
from corral.cli.reading import text_of
from corral.cli.terminal import STATUS_STYLE, ago, clean, one_line, stderr, stdout
from corral.wire.runs import PermissionMode

app = typer.Typer(
    help="Agents: a role, a model and a place in the org chart. Tasks are given to them: `corral tasks`.",
    invoke_without_command=True,
)

_Role = Annotated[str | None, typer.Option(help="What it is for: its system prompt, unless there are instructions.")]
_Instructions = Annotated[
    str | None, typer.Option(help="Its system prompt, where the role is only a short label; - reads standard input.")
]
_Model = Annotated[str | None, typer.Option(help="The model's id, as claude-sonnet-4-6.")]
_Provider = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="anthropic, openai or openrouter: runs inside the platform, on no runner."),
]
_Cli = Annotated[
    str | None, typer.Option(metavar="NAME", help="claude-code, codex or openclaw: runs on a runner, with its tools.")
]
_Glyph = Annotated[str | None, typer.Option(help="One emoji, its avatar.")]
_Manager = Annotated[
    str | None,
    typer.Option(metavar="AGENT", help="Whom it reports to; '' for nobody.", autocompletion=complete.agents),
]
_Team = Annotated[str | None, typer.Option(help="Its team; '' for none.")]
_Tools = Annotated[str | None, typer.Option(help="What runs without asking, as Read,Edit,Bash.")]
_MaxTurns = Annotated[int | None, typer.Option(min=1, help="Turns of a run at most.")]
_Cwd = Annotated[str | None, typer.Option(help="Directory it works in, on the runner's machine.")]
_Mode = Annotated[PermissionMode | None, typer.Option(help="What it may do unasked on a runner.")]
_Runner = Annotated[str | None, typer.Option(help="Only on this runner: its number or name.")]
_Label = Annotated[list[str] | None, typer.Option(help="Only on runners with this label; may be repeated. '' for any.")]
_Autostart = Annotated[
    bool | None, typer.Option("--autostart/--no-autostart", help="Whether tasks given to it start by themselves.")
]

#: Whose models a CLI talks to by itself.
_MAKERS = {"codex": "openai"}


@app.callback()
@app.command("list")
def agents(context: typer.Context, as_json: options.Json = False, data: options.Data = None) -> None:
    """List agents: what each is at now, and what it cost this month."""
    if context.invoked_subcommand is not None:
        return
    out = stdout()
    with connected(data) as client:
        there = _everybody(client)
    if as_json:
        out.json(there)
    elif not there:
        stderr().line(
            'No agents yet. Make one: corral agents create Ada --role "You build features" --model claude-sonnet-4-6'
        )
    else:
        names = {agent["id"]: agent["name"] for agent in there}
        out.table(
            ["AGENT", "NAME", "STATUS", "COST", "MODEL", "RUNS ON", "TEAM", "MANAGER", "AT"],
            [
                [
                    short(agent["id"], out),
                    agent["name"],
                    agent["status"],
                    _dollars(agent["cost_usd"]),
                    agent["model"] or "–",
                    agent["cli_name"] or agent["provider"] or "–",
                    agent["team"] or "–",
                    names.get(agent["manager"], "–"),
                    agent["phase"] or "–",
                ]
                for agent in there
            ],
        )


@app.command()
def chart(as_json: options.Json = False, data: options.Data = None) -> None:
    """Draw the org chart: who reports to whom, and what everybody is at."""
    out = stdout()
    with connected(data) as client:
        there = _everybody(client)
    if as_json:
        out.json(_below(there, None))
        return
    for line, agent in draw(there, parent="manager"):
        status = str(agent["status"])
        words = [one_line(f"{agent['glyph']} {agent['name']}"), out.paint(status, STATUS_STYLE.get(status, ""))]
        at = one_line(agent["phase"] or "")
        out.line("  ".join([line + words[0], words[1], *([out.paint(at, "dim")] if at else [])]))


@app.command()
def show(agent: options.Agent, as_json: options.Json = False, data: options.Data = None) -> None:
    """Show one in full: what it is told, where it runs, what it is at."""
    out = stdout()
    with connected(data) as client:
        found = client.get(f"/api/agents/{segment(agent_id(client, agent))}")
        if as_json:
            out.json(found)
            return
        names = Names(client)
        open_tasks = client.get("/api/tasks", assignee=found["id"], limit=200)
    facts = {
        "id": found["id"],
        "name": f"{found['glyph']} {found['name']}",
        "status": found["status"],
        "team": found["team"],
        "manager": names.of(found["manager"]) if found["manager"] else None,
        "model": found["model"],
        "provider": found["provider"],
        "cli": found["cli_name"],
        "tools": found["allowed_tools"],
        "max turns": found["max_turns"],
        "autostart": "on" if found["autostart"] else "off",
        **{key.replace("_", " "): value for key, value in found["provider_config"].items()},
        "made": f"{ago(found['created_at'])} ago",
    }
    out.facts(facts)
    out.line()
    out.line(clean(found["instructions"] or found["role"]))
    waiting = [task for task in open_tasks if task["status"] not in {"done", "error"}]
    if waiting:
        out.line()
        out.table(
            ["TASK", "STATUS", "TITLE"], [[short(task["id"], out), task["status"], task["title"]] for task in waiting]
        )


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is called; others hand it tasks by this name.")],
    *,
    role: Annotated[str, typer.Option(help="What it is for: its system prompt, unless there are instructions.")],
    model: Annotated[str, typer.Option(help="The model's id, as claude-sonnet-4-6.")],
    instructions: _Instructions = None,
    provider: _Provider = None,
    cli: _Cli = None,
    glyph: _Glyph = "🤖",
    manager: _Manager = None,
    team: _Team = None,
    tools: _Tools = None,
    max_turns: _MaxTurns = None,
    cwd: _Cwd = None,
    mode: _Mode = None,
    runner: _Runner = None,
    label: _Label = None,
    autostart: _Autostart = None,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Make an agent: of a --provider it runs inside the platform, otherwise as Claude Code on a runner. Prints its id.

    A provider's key is a secret (ANTHROPIC_API_KEY and so on); `corral doctor` says which is missing.
    """
    if provider is None:
        cli = cli or "claude-code"
        provider = _MAKERS.get(cli, "anthropic")
    with connected(data) as client:
        body = _fields(
            client,
            name=name, role=role, instructions=instructions, model=model, provider=provider, cli_name=cli, glyph=glyph,
            manager=manager, team=team, allowed_tools=tools, max_turns=max_turns, autostart=autostart,
        )  # fmt: skip
        if config := _config(client, cwd=cwd, mode=mode, runner=runner, label=label):
            body["provider_config"] = _without_empty(config)
        made = client.launch("/api/agents", body)
    if as_json:
        stdout().json(made)
    else:
        stdout().line(made["id"])
        stderr().line(f'Give it something to do: corral tasks create "{one_line(name)}" "…" --run', "dim")


@app.command()
def edit(
    agent: options.Agent,
    *,
    name: Annotated[str | None, typer.Option(help="What it is called from now on.")] = None,
    role: _Role = None,
    instructions: _Instructions = None,
    model: _Model = None,
    provider: _Provider = None,
    cli: _Cli = None,
    glyph: _Glyph = None,
    manager: _Manager = None,
    team: _Team = None,
    tools: _Tools = None,
    max_turns: _MaxTurns = None,
    cwd: _Cwd = None,
    mode: _Mode = None,
    runner: _Runner = None,
    label: _Label = None,
    autostart: _Autostart = None,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Change what is named; the rest stays. '' empties a field. Runs that have begun keep the agent as it was."""
    with connected(data) as client:
        which = agent_id(client, agent)
        body = _fields(
            client,
            name=name, role=role, instructions=instructions, model=model, provider=provider, cli_name=cli, glyph=glyph,
            manager=manager, team=team, allowed_tools=tools, max_turns=max_turns, autostart=autostart,
        )  # fmt: skip
        if config := _config(client, cwd=cwd, mode=mode, runner=runner, label=label):
            there = client.get(f"/api/agents/{segment(which)}")["provider_config"]
            body["provider_config"] = _without_empty({**there, **config})
        if not body:
            raise Misused("Nothing to change was named", hint="`corral agents edit --help` lists what can be.")
        _change(client, which, body, "Changed.", as_json=as_json)


@app.command()
def pause(agent: options.Agent, as_json: options.Json = False, data: options.Data = None) -> None:
    """Let it begin nothing new. What runs goes on; its tasks wait, and say so."""
    with connected(data) as client:
        _change(client, agent_id(client, agent), {"status": "paused"}, "Paused.", as_json=as_json)


@app.command()
def resume(agent: options.Agent, as_json: options.Json = False, data: options.Data = None) -> None:
    """Let a paused agent go on with its tasks."""
    with connected(data) as client:
        _change(client, agent_id(client, agent), {"status": "idle"}, "Goes on.", as_json=as_json)


@app.command()
def archive(agent: options.Agent, as_json: options.Json = False, data: options.Data = None) -> None:
    """Take it off the lists. What it did stays readable; by its full id it can be resumed."""
    with connected(data) as client:
        answer = client.delete(f"/api/agents/{segment(agent_id(client, agent))}")
    if as_json:
        stdout().json(answer)
    else:
        stdout().line("Archived.", "green")


def _everybody(client: Client) -> list[dict[str, Any]]:
    """Return the agents, oldest first, each with what it is at and what it cost this month."""
    at = {one["id"]: one for one in client.get("/api/agents/world") if one["kind"] == "agent"}
    cost = _cost(client)
    return [
        {**agent, "phase": at.get(agent["id"], {}).get("phase") or "", "cost_usd": cost.get(agent["id"])}
        for agent in reversed(client.get("/api/agents"))
    ]


def _cost(client: Client) -> dict[str | None, float]:
    try:
        usage = client.get("/api/usage", period="month")
    except Refused as error:
        if error.status == 403:  # a key that may see agents, but not what they cost
            return {}
        raise
    return {line["agent_id"]: line["cost_usd"] for line in usage["by_agent"]}


def _dollars(cost: float | None) -> str:
    return f"${cost:.2f}" if cost else "–"


def _below(there: list[dict[str, Any]], manager: str | None) -> list[dict[str, Any]]:
    known = {agent["id"] for agent in there}
    mine = [one for one in there if (one["manager"] if one["manager"] in known else None) == manager]
    return [{**agent, "reports": _below(there, agent["id"])} for agent in mine]


def _fields(client: Client, **given: Any) -> dict[str, Any]:
    """Return the fields that were given; an empty one is null."""
    body: dict[str, Any] = {
        name: (value if value != "" else None) for name, value in given.items() if value is not None
    }
    if body.get("instructions"):
        body["instructions"] = text_of(body["instructions"], "instructions")
    if body.get("manager"):
        body["manager"] = agent_id(client, body["manager"])
    return body


def _config(
    client: Client, *, cwd: str | None, mode: PermissionMode | None, runner: str | None, label: list[str] | None
) -> dict[str, Any]:
    """Return where and how an agent of a CLI works, as far as that was given."""
    given = {
        "cwd": str(Path(cwd).expanduser().absolute()) if cwd and cwd.startswith((".", "~")) else cwd,
        "permission_mode": mode.value if mode else None,
        "runner": runner_id(client, runner) if runner else runner,
        "labels": "" if label == [""] else label,
    }
    return {key: value for key, value in given.items() if value is not None}


def _without_empty(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if value != ""}


def _change(client: Client, id: str, body: dict[str, Any], word: str, *, as_json: bool) -> None:
    changed = client.patch(f"/api/agents/{segment(id)}", body)
    if as_json:
        stdout().json(changed)
    else:
        stdout().line(word, "green")
