"""The machines, and the way to connect another one."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

import msgspec

from corral.base.errors import CorralError
from corral.base.paths import parse, split_list
from corral.platform import keys
from corral.platform.access import RUNNER
from corral.runs import reads, runners
from corral.web import answers
from corral.web.answers import Answer
from corral.web.call import Call
from corral.web.console.page import page
from corral.web.console.run_views import views
from corral.web.console.runner_views import RunnerView, runner_view
from corral.web.routes import Routes

route = Routes("console", hidden=True, content=answers.HTML)

_RUNS = 30


class NewRunner(msgspec.Struct):
    """What the command for a new machine holds."""

    name: str = ""
    dirs: str = ""


class Known(msgspec.Struct):
    """The runners that were online when the command was shown; any other one is new."""

    known: str = ""


@route.get("/app/runners", scope="runners:read")
async def runners_page(call: Call) -> Answer:
    """List the machines."""
    found = [runner_view(machine) for machine in await runners.page(call.org_id)]
    online = sum(machine.online for machine in found)
    return await page(call, "runners.html", "runners", runners=found, summary=f"{online} of {len(found)} online")


@route.get("/app/runners/new", scope="keys:write")
async def new_runner_page(call: Call) -> Answer:
    """Ask what the new machine is called and where it may work."""
    return await _form(call, NewRunner(), {})


@route.post("/app/runners/new", scope="keys:write", repeatable=False)
async def make_runner_key(call: Call, form: NewRunner) -> Answer:
    """Make a key for a new machine, and show the command that connects it."""
    name, dirs = form.name.strip(), form.dirs.strip()
    errors = {}
    if not name:
        errors["name"] = "Give it a name."
    if wrong := _wrong_dirs(dirs):
        errors["dirs"] = wrong
    if errors:
        return await _form(call, form, errors, status=400)
    try:
        key, token = await keys.create(
            call.org_id, name=f"runner {name}", scopes=[RUNNER], by=call.caller, user_id=call.caller.user_id
        )
    except CorralError as error:
        return await _form(call, form, {"name": error.message}, status=400)
    online = [str(machine.id) for machine in await runners.page(call.org_id) if machine.online]
    return await page(
        call, "new_runner.html", "runners", path="/app/runners/new",
        form=form, errors={}, command=_command(call, name, dirs, token), key_name=key.name,
        watch=f"/app/runners/connected?known={'.'.join(online)}", connected=[],
    )  # fmt: skip


@route.get("/app/runners/connected", scope="runners:read")
async def connected_runners(call: Call, query: Known) -> Answer:
    """Return the region that ticks when a machine connects."""
    known = set(query.known.split("."))
    found = [runner_view(one) for one in await runners.page(call.org_id) if one.online and str(one.id) not in known]
    return await page(
        call, "connected.html", "runners", watch=f"/app/runners/connected?known={query.known}", connected=found
    )


@route.get("/app/runners/<runner_id>", scope="runners:read")
async def runner_page(call: Call, runner_id: str) -> Answer:
    """Show one machine and its runs."""
    machine = await runners.get(call.org_id, runner_id)
    found = await reads.page(call.org_id, runner_no=machine.no, limit=_RUNS)
    return await page(call, "runner.html", "runners", runner=runner_view(machine), runs=await views(call.org_id, found))


async def _form(call: Call, form: NewRunner, errors: Mapping[str, str], status: int = 200) -> Answer:
    return await page(
        call, "new_runner.html", "runners", status=status, path="/app/runners/new",
        form=form, errors=errors, command=None, key_name="", watch="", connected=list[RunnerView](),
    )  # fmt: skip


def _wrong_dirs(dirs: str) -> str | None:
    """Return what its runner would refuse at its start, as far as it can be told from here."""
    named = split_list(dirs, windows="\\" in dirs)
    if not named:
        return "Name at least one directory."
    wrong = next((one for one in named if not one.startswith("~") and parse(one) is None), None)
    return f"{wrong} is not an absolute path." if wrong else None


def _command(call: Call, name: str, dirs: str, token: str) -> str:
    url = call.settings.public_url or f"{call.request.scheme}://{call.request.host}"
    values = {"CORRAL_URL": url.rstrip("/"), "CORRAL_API_KEY": token, "RUNNER_NAME": name, "ALLOWED_DIRS": dirs}
    return " \\\n".join([*(f"{key}={shlex.quote(value)}" for key, value in values.items()), "corral runner"])
