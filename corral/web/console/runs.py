"""The list of runs, and the form that launches one."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from corral.base.errors import BadRequest, CorralError
from corral.runs import queue, reads, runners
from corral.runs.models import Run
from corral.runs.queue import Launch
from corral.web import answers
from corral.web.answers import Answer, redirect
from corral.web.call import Call
from corral.web.console.page import page
from corral.web.console.run_views import views
from corral.web.console.runner_views import RunnerView, runner_view
from corral.web.routes import Routes
from corral.wire.runs import PermissionMode

route = Routes("console", hidden=True, content=answers.HTML)

_PAGE = 50
#: Suggestions only: the field takes any name the CLI takes.
MODELS = ("claude-opus-4-6", "claude-sonnet-4-6", "claude-haiku-4-5")


@dataclass(frozen=True, slots=True)
class Filter:
    """A choice of runs by state; its key stands in the URL."""

    key: str
    label: str
    statuses: tuple[str, ...]
    counted: bool
    nothing: str


FILTERS = (
    Filter("", "All", (), counted=False, nothing="No older runs."),
    Filter("waiting", "Waiting", ("waiting",), counted=True, nothing="No run waits for a person or for an agent."),
    Filter("running", "Running", ("running",), counted=True, nothing="Nothing is running."),
    Filter("queued", "Queued", ("queued",), counted=True, nothing="The queue is empty."),
    Filter("paused", "Paused", ("paused",), counted=True, nothing="Nothing is paused."),
    Filter("failed", "Failed", ("failed",), counted=False, nothing="No run has failed."),
    Filter("done", "Done", ("completed", "cancelled"), counted=False, nothing="No run is done yet."),
)


@dataclass(frozen=True, slots=True)
class Mode:
    """A permission mode, explained."""

    value: str
    label: str
    says: str


MODES = (
    Mode("default", "Ask me", "Looks around freely; asks before it changes a file or runs a command that might."),
    Mode("acceptEdits", "Edit files", "Changes files in its directory without asking; asks for everything else."),
    Mode("plan", "Plan only", "Changes nothing: looks around, then shows you a plan to approve."),
    Mode("dontAsk", "Never ask", "Whatever would need an answer is denied, and the agent finds another way."),
    Mode("bypassPermissions", "Everything", "Does anything without asking. For machines you could lose."),
)


class RunsQuery(msgspec.Struct):
    """Which runs, from where on."""

    show: str = ""
    before: str | None = None


class Like(msgspec.Struct):
    """The run whose launch the form begins with."""

    like: str = ""


class NewRun(msgspec.Struct):
    """What the form launches."""

    prompt: str = ""
    runner: str = ""
    cwd: str = ""
    permission_mode: str = "default"
    model: str = ""


@dataclass(frozen=True, slots=True)
class Chip:
    """A filter as the page shows it."""

    label: str
    path: str
    count: int
    current: bool


@route.get("/app/runs", scope="runs:read")
async def runs_page(call: Call, query: RunsQuery) -> Answer:
    """List runs, newest first."""
    chosen = next((one for one in FILTERS if one.key == query.show), FILTERS[0])
    counts = await reads.count_open(call.org_id)
    found = await reads.page(call.org_id, statuses=chosen.statuses, limit=_PAGE + 1, before=query.before)
    shown = found[:_PAGE]
    any_runs = bool(found or counts or await reads.page(call.org_id, limit=1))
    machines = [] if any_runs else await runners.page(call.org_id)
    cwd = next((directory for one in machines for directory in one.allowed_dirs), "/home/you/project")
    return await page(
        call,
        "runs.html",
        "runs",
        summary=_summary(counts),
        any_runs=any_runs,
        filters=[_chip(one, counts, current=one is chosen) for one in FILTERS],
        runs=await views(call.org_id, shown),
        nothing=chosen.nothing,
        newest=_path(chosen) if query.before else None,
        older=_path(chosen, shown[-1].id) if len(found) > _PAGE else None,
        runners_online=any(machine.online for machine in machines),
        command_run=f'corral run "Say hello" --cwd {shlex.quote(cwd)} --follow',
        command_curl=_curl(call, cwd),
    )


@route.get("/app/runs/new", scope="runs:write")
async def new_run_page(call: Call, query: Like) -> Answer:
    """Show the form that launches a run: empty, or as another one was launched."""
    machines = await _machines(call)
    if query.like:
        return await _form(call, await _again(await reads.get(call.org_id, query.like)), machines, {})
    first = next((directory for machine in machines for directory in machine.dirs), "")
    return await _form(call, NewRun(cwd=first), machines, {})


@route.post("/app/runs", scope="runs:write", repeatable=False)
async def launch_from_page(call: Call, form: NewRun) -> Answer:
    """Launch a run and lead to its page, or show the form again with what is wrong beside the field."""
    errors = {}
    if not form.prompt.strip():
        errors["prompt"] = "Say what the agent should do."
    if form.permission_mode not in {mode.value for mode in MODES}:
        errors["permission_mode"] = "Choose one of these."
    if not errors:
        try:
            run = await queue.launch(call.org_id, _launch(call, form))
        except BadRequest as error:
            errors[_FIELDS.get(error.field or "", error.field or "")] = said(error)
        else:
            return redirect(f"/app/runs/{run.id}")
    return await _form(call, form, await _machines(call), errors, status=400)


async def _again(run: Run) -> NewRun:
    pinned = (await runners.names([run.pinned_no])).get(run.pinned_no) if run.pinned_no else None
    return NewRun(
        prompt=run.prompt,
        runner=str(pinned.id) if pinned else "",
        cwd=run.cwd,
        permission_mode=run.permission_mode,
        model=run.model or "",
    )


_FIELDS = {"runnerId": "runner", "permissionMode": "permission_mode"}


def _launch(call: Call, form: NewRun) -> Launch:
    return Launch(
        prompt=form.prompt.strip().replace("\r\n", "\n"),
        cwd=form.cwd.strip(),
        created_by=call.actor,
        runner=form.runner or None,
        permission_mode=PermissionMode(form.permission_mode),
        model=form.model.strip() or None,
    )


def said(error: CorralError) -> str:
    """Return what is wrong as it stands beside the field, which it needn't name again."""
    text = error.message.removeprefix(f"{error.field}: ")
    return text[:1].upper() + text[1:]


async def _form(
    call: Call, form: NewRun, machines: list[RunnerView], errors: Mapping[str, str], status: int = 200
) -> Answer:
    dirs = sorted({directory for machine in machines for directory in machine.dirs})
    return await page(
        call, "new_run.html", "runs", status=status, path="/app/runs/new",
        form=form, errors=errors, runners=machines, dirs=dirs, modes=MODES, models=MODELS,
    )  # fmt: skip


async def _machines(call: Call) -> list[RunnerView]:
    """Return the runners, those that are online first."""
    found = [runner_view(machine) for machine in await runners.page(call.org_id)]
    return sorted(found, key=lambda machine: (not machine.online, machine.name))


def _chip(one: Filter, counts: Mapping[str, int], *, current: bool) -> Chip:
    count = sum(counts.get(status, 0) for status in one.statuses) if one.counted else 0
    return Chip(one.label, _path(one), count, current)


def _path(one: Filter, before: str | None = None) -> str:
    query = "&".join([*([f"show={one.key}"] if one.key else []), *([f"before={before}"] if before else [])])
    return f"/app/runs?{query}" if query else "/app/runs"


def _summary(counts: Mapping[str, int]) -> str:
    said = (("running", "running"), ("waiting", "need you"), ("queued", "queued"))
    return " · ".join(f"{counts[status]} {words}" for status, words in said if counts.get(status))


def _curl(call: Call, cwd: str) -> str:
    body = msgspec.json.encode({"prompt": "Say hello", "cwd": cwd}).decode()
    return (
        f"curl -sS {call.request.scheme}://{call.request.host}/api/v1/runs \\\n"
        '  -H "Authorization: Bearer $CORRAL_API_KEY" \\\n'
        f"  -H 'Content-Type: application/json' \\\n  -d {shlex.quote(body)}"
    )
