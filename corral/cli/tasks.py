"""`corral tasks`: work for agents, made, started, watched and cancelled; and the epics that gather it."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated, Any

import typer

from corral.cli import complete, options
from corral.cli.chart import chart
from corral.cli.client import Client, segment
from corral.cli.connect import connected
from corral.cli.errors import INTERRUPTED
from corral.cli.follow import follow as watch
from corral.cli.log import Log
from corral.cli.naming import Names, agent_id, epic_id, short, task_id
from corral.cli.reading import text_of
from corral.cli.terminal import STATUS_STYLE, Terminal, ago, clean, cut, one_line, stderr, stdout

app = typer.Typer(
    help="Tasks: work for an agent, which its runs carry out and may hand on in parts.", invoke_without_command=True
)
epics_app = typer.Typer(help="Epics: tasks that belong together, and how far they are.", invoke_without_command=True)
app.add_typer(epics_app, name="epics")

_TITLE_ROOM = 40


class Status(StrEnum):
    """What a task is at; it follows the task's runs."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    DONE = "done"
    ERROR = "error"


class Priority(StrEnum):
    """Which of an agent's tasks goes first."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


#: Statuses in which a task has its end.
_ENDED = (Status.DONE, Status.ERROR)

_Status = Annotated[Status | None, typer.Option(help="Only these.")]
_Assignee = Annotated[
    str | None,
    typer.Option(metavar="AGENT", help="Only this agent's: its name or id.", autocompletion=complete.agents),
]
_Epic = Annotated[
    str | None, typer.Option(metavar="EPIC", help="The epic: its title or id.", autocompletion=complete.epics)
]
_Priority = Annotated[Priority | None, typer.Option(help="Only of this priority.")]


@app.callback()
@app.command("list")
def tasks(
    context: typer.Context,
    *,
    status: _Status = None,
    assignee: _Assignee = None,
    epic: _Epic = None,
    priority: _Priority = None,
    limit: options.Limit = 20,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """List tasks, newest first, and what those wait for that don't move."""
    if context.invoked_subcommand is not None:
        return
    out = stdout()
    with connected(data) as client:
        found = client.get(
            "/api/tasks",
            status=status and status.value,
            assignee=agent_id(client, assignee) if assignee else None,
            epic_id=epic_id(client, epic) if epic else None,
            priority=priority and priority.value,
            limit=limit,
        )
        if as_json:
            out.json(found)
        elif not found:
            stderr().line('No tasks here. Make one: corral tasks create AGENT "what to do" --run')
        else:
            _table(out, found, Names(client))


@app.command()
def show(id: options.TaskId, as_json: options.Json = False, data: options.Data = None) -> None:
    """Show one in full: what it waits for, its tree, its log, and what came of it."""
    out = stdout()
    with connected(data) as client:
        task = client.get(f"/api/tasks/{segment(task_id(client, id))}")
        if as_json:
            out.json(task)
            return
        names = Names(client)
        tree = client.get("/api/tasks", tree=task["id"])
    out.facts(
        {
            "id": task["id"],
            "title": task["title"],
            "status": task["status"],
            "why": task["why"],
            "error": task["error"],
            "assignee": names.of(task["assignee"]),
            "requester": names.of(task["requester"]) if task["requester"] else None,
            "priority": task["priority"],
            "epic": task["epic_id"],
            "blocked by": ", ".join(task["blocked_by"]),
            "run": task["run_id"],
            "made": f"{ago(task['created_at'])} ago",
        }
    )
    out.line()
    out.line(clean(task["input"]))
    if len(tree) > 1:
        out.line()
        _tree(out, tree, task["id"], names)
    _log(out, task["log"])


@app.command()
def create(
    agent: options.Agent,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="All the agent needs to know; - reads standard input.")],
    *,
    title: Annotated[str | None, typer.Option(help="A short label; the text's first line without it.")] = None,
    priority: Annotated[Priority, typer.Option(help="Which of its tasks it does first.")] = Priority.NORMAL,
    epic: _Epic = None,
    parent: Annotated[
        str | None, typer.Option(metavar="ID", help="The task this is a part of.", autocompletion=complete.tasks)
    ] = None,
    blocked_by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID", help="Waits until this one is done; may be repeated.", autocompletion=complete.tasks
        ),
    ] = None,
    retries: Annotated[int, typer.Option(min=0, max=20, help="How often a failure is tried again.")] = 0,
    run: Annotated[bool, typer.Option("--run", help="Start it at once.")] = False,
    follow: options.Follow = False,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Give an agent a task. Prints its id; it starts with --run or --follow, `corral tasks run`, or by autostart."""
    told = text_of(text, "text")
    body: dict[str, Any] = {"title": title or _first_line(told), "input": told, "priority": priority.value}
    if retries:
        body["retries"] = retries
    with connected(data, live=run or follow) as client:
        body["assignee"] = agent_id(client, agent)
        if epic:
            body["epic_id"] = epic_id(client, epic)
        if parent:
            body["parent"] = task_id(client, parent)
        if blocked_by:
            body["blocked_by"] = [task_id(client, one) for one in blocked_by]
        made = client.launch("/api/tasks", body)
        if not as_json:
            (stderr() if follow else stdout()).line(made["id"])
        if run or follow:
            _start(client, made["id"], follow=follow, as_json=as_json, quiet=True)
        elif as_json:
            stdout().json(made)
        else:
            stderr().line(f"Start or watch it: corral tasks run {made['id']} --follow", "dim")


@app.command()
def run(
    id: options.TaskId, follow: options.Follow = False, as_json: options.Json = False, data: options.Data = None
) -> None:
    """Start a task, or join it if it runs. Prints its run's id; with --follow, its log: exits 0 only if it is done."""
    with connected(data, live=True) as client:
        _start(client, task_id(client, id), follow=follow, as_json=as_json)


@app.command()
def cancel(
    id: options.TaskId,
    tree: Annotated[bool, typer.Option("--tree", help="Also everything that was handed on below it.")] = False,
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Cancel a task that has not ended. Whoever handed it out is told that it failed."""
    with connected(data) as client:
        found = task_id(client, id)
        answer = client.post(f"/api/tasks/{segment(found)}/cancel", {"tree": tree})
    if as_json:
        stdout().json(answer)
    else:
        stdout().line(f"Cancelling {found}" + (" and what is below it" if tree else ""))


@epics_app.callback()
def epics(context: typer.Context, as_json: options.Json = False, data: options.Data = None) -> None:
    """Epics: tasks that belong together. Without a subcommand, list them with their progress."""
    if context.invoked_subcommand is not None:
        return
    out = stdout()
    with connected(data) as client:
        found = client.get("/api/epics")
    if as_json:
        out.json(found)
    elif not found:
        stderr().line('No epics yet. Make one: corral tasks epics create "Release 2"')
    else:
        out.table(
            ["EPIC", "DONE", "FAILED", "AGE", "TITLE"],
            [
                [
                    short(epic["id"], out),
                    f"{epic['progress']['done']}/{epic['progress']['tasks']}",
                    str(epic["progress"]["failed"] or "–"),
                    ago(epic["created_at"]),
                    epic["title"],
                ]
                for epic in found
            ],
        )


@epics_app.command("create")
def create_epic(
    title: Annotated[str, typer.Argument(help="What it is about; tasks are put into it by this title.")],
    description: Annotated[str, typer.Option(help="More about it.")] = "",
    as_json: options.Json = False,
    data: options.Data = None,
) -> None:
    """Make an epic. Prints its id."""
    with connected(data) as client:
        made = client.launch("/api/epics", {"title": title, "description": description})
    if as_json:
        stdout().json(made)
    else:
        stdout().line(made["id"])


def _start(client: Client, id: str, *, follow: bool, as_json: bool, quiet: bool = False) -> None:
    """Start a task; `quiet` where its own id is on stdout already."""
    out, path = stdout(), f"/api/tasks/{segment(id)}"
    client.start("/api/run", {"taskId": id})
    task = client.get(path)
    if follow:
        raise typer.Exit(_followed(client, task, out, as_json=as_json))
    if as_json:
        out.json(task)
        return
    if not quiet:
        out.line(task["run_id"])
    stderr().line(f"Started. Watch it: corral tasks run {id} --follow", "dim")


def _followed(client: Client, task: dict[str, Any], out: Terminal, *, as_json: bool) -> int:
    """Watch a task's run, and the next one if it failed and is tried again; 0 only if the task is done."""
    path = f"/api/tasks/{segment(task['id'])}"
    while True:
        run_id = task["run_id"]
        if not as_json:
            stderr().line(f"run {run_id}", "dim")
        if watch(client, run_id, out, as_json=as_json) == INTERRUPTED:
            return INTERRUPTED
        task, told = client.get(path), False
        while task["run_id"] == run_id and task["status"] not in _ENDED:
            if not told and task["why"]:
                stderr().line(f"Waiting: {one_line(task['why'])}")
                told = True
            time.sleep(1)
            task = client.get(path)
        if task["run_id"] == run_id:
            return 0 if task["status"] == Status.DONE else 1


def _table(out: Terminal, found: list[dict[str, Any]], names: Names) -> None:
    out.table(
        ["TASK", "STATUS", "PRIORITY", "AGE", "AGENT", "TITLE", "WHY"],
        [
            [
                short(task["id"], out),
                task["status"],
                task["priority"],
                ago(task["created_at"]),
                names.of(task["assignee"]),
                cut(one_line(task["title"]), _TITLE_ROOM) if out.is_terminal else task["title"],
                task["why"] or "",
            ]
            for task in found
        ],
    )


#: What a task's log calls the events of its runs, and where each has its text.
_EVENTS = {
    "output": ("agent.message", "text"),
    "thinking": ("agent.thinking", "text"),
    "tool_call": ("agent.tool_call", "name"),
    "tool_result": ("agent.tool_result", "output"),
    "error": ("run.failed", "message"),
}


def _log(out: Terminal, entries: list[dict[str, Any]]) -> None:
    """Write what happened in all runs of a task."""
    log, run_id = Log(out), ""
    for entry in entries:
        if entry["run_id"] != run_id:
            run_id = entry["run_id"]
            out.line()
            out.line(f"run {run_id}", "dim")
        kind, field = _EVENTS[entry["type"]]
        log.show({"event_type": kind, "payload": {field: entry["text"]}})


def _tree(out: Terminal, tree: list[dict[str, Any]], id: str, names: Names) -> None:
    for line, task in chart(tree[::-1], parent="parent"):
        status = str(task["status"])
        words = one_line(f"{names.of(task['assignee'])}: {task['title']}")
        words = out.paint(words, "bold" if task["id"] == id else "")
        out.line(f"{line}{words}  {out.paint(status, STATUS_STYLE.get(status, ''))}  {short(task['id'], out)}")


def _first_line(text: str) -> str:
    return cut(one_line(text.strip().splitlines()[0]), 80)
