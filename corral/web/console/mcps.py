"""MCP servers: the list, the form that adds and changes one, and each one's page with its test and its tools."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

import msgspec

from corral.agents import probing, roster, supplies
from corral.base.errors import BadRequest, Conflict, CorralError, NotFound
from corral.mcp import render, servers
from corral.mcp.servers import Server
from corral.platform.access import Role
from corral.runs import runners
from corral.secrets import vault
from corral.web import answers
from corral.web.answers import Answer, redirect
from corral.web.call import Call
from corral.web.console import mcp_views
from corral.web.console.mcp_form import McpForm, fields, filled, problems, rules
from corral.web.console.overtaken import marked, overtaken
from corral.web.console.page import back_to, page
from corral.web.console.runs import said
from corral.web.console.secret_views import address
from corral.web.console.sign_in import Nothing
from corral.web.routes import Routes

route = Routes("console", hidden=True, content=answers.HTML)

_WRITE = "mcps:write"
_RULES_MOST = 200  #: of a kind


class Trial(msgspec.Struct):
    """For whom, and on which runner, a server is tried."""

    agent: str = ""
    runner: str = ""


class Rules(msgspec.Struct):
    """What is decided about tools: beside each as `deny:delete`, and for patterns and others."""

    rules: list[str] = []
    allow: str = ""
    ask: str = ""
    deny: str = ""


@route.get("/app/mcps", scope="mcps:read")
async def mcps_page(call: Call) -> Answer:
    """List the MCP servers."""
    found = await mcp_views.views(call.org_id)
    failing = sum(one.ok is False for one in found)
    return await page(
        call, "mcps.html", "mcps", servers=found,
        summary=f"{len(found)} server{'s' if len(found) != 1 else ''}" + (f" · {failing} failing" if failing else ""),
    )  # fmt: skip


@route.get("/app/mcps/new", scope=_WRITE, role=Role.ADMIN)
async def new_mcp_page(call: Call) -> Answer:
    """Show the form that adds a server."""
    return await _form(call, McpForm(), {})


@route.post("/app/mcps", feature="mcp", scope=_WRITE, role=Role.ADMIN, repeatable=False)
async def add_mcp_from_page(call: Call, form: McpForm) -> Answer:
    """Add a server and lead to its page, or show the form again with what is wrong beside the field."""
    errors = problems(form)
    if not errors:
        try:
            server = await supplies.add_server(call.org_id, call.new_id(), fields(form, None))
        except (BadRequest, Conflict) as error:
            errors |= _told(error)
        else:
            return redirect(f"/app/mcps/{server.id}")
    return await _form(call, form, errors, status=400)


@route.get("/app/mcps/<mcp_id>", scope="mcps:read")
async def mcp_page(call: Call, query: Trial, mcp_id: str) -> Answer:
    """Show one server: how it is, and what is decided about its tools."""
    return await _show(call, mcp_id, query)


@route.get("/app/mcps/<mcp_id>/edit", scope=_WRITE, role=Role.ADMIN)
async def edit_mcp_page(call: Call, mcp_id: str) -> Answer:
    """Show the form that changes a server."""
    server = await servers.get(call.org_id, mcp_id)
    return await _form(call, marked(filled(server)), {}, server)


@route.post("/app/mcps/<mcp_id>/edit", feature="mcp", scope=_WRITE, role=Role.ADMIN, repeatable=False)
async def change_mcp_from_page(call: Call, form: McpForm, mcp_id: str) -> Answer:
    """Change a server; runs that begin later get it so."""
    server = await servers.get(call.org_id, mcp_id)
    errors = problems(form) or overtaken(form, filled(server))
    if not errors:
        try:
            await supplies.change_server(call.org_id, mcp_id, fields(form, server))
        except (BadRequest, Conflict) as error:
            errors |= _told(error)
        else:
            return redirect(f"/app/mcps/{mcp_id}")
    return await _form(call, form, errors, server, status=400)


@route.post("/app/mcps/<mcp_id>/rules", feature="mcp", scope=_WRITE, role=Role.ADMIN, repeatable=False)
async def rule_mcp_from_page(call: Call, form: Rules, mcp_id: str) -> Answer:
    """Decide about its tools."""
    decided = rules(form.rules, {"deny": form.deny, "ask": form.ask, "allow": form.allow})
    if any(len(listed) > _RULES_MOST for listed in decided.values()):
        problem = f"At most {_RULES_MOST} rules of a kind: patterns such as delete_* say more with less."
        return await _show(call, mcp_id, Trial(), problem=problem, status=400)
    await supplies.change_server(call.org_id, mcp_id, decided)
    return back_to(call, f"/app/mcps/{mcp_id}")


@route.post("/app/mcps/<mcp_id>/test", feature="mcp", scope=_WRITE, role=Role.ADMIN, repeatable=False)
async def test_mcp_from_page(call: Call, form: Trial, mcp_id: str) -> Answer:
    """List its tools from where it would be used; the page says how that went."""
    try:
        await probing.test(call.org_id, mcp_id, call.actor, agent_id=form.agent or None, runner=form.runner or None)
    except NotFound:
        raise
    except CorralError as error:
        return await _show(call, mcp_id, form, problem=said(error), status=400)
    return await _show(call, mcp_id, form)


@route.post("/app/mcps/<mcp_id>/delete", scope=_WRITE, role=Role.ADMIN, repeatable=False)
async def delete_mcp_from_page(call: Call, form: Nothing, mcp_id: str) -> Answer:
    """Delete a server."""
    await supplies.remove_server(call.org_id, mcp_id)
    return redirect("/app/mcps")


def _told(error: CorralError) -> dict[str, str]:
    """Return what is wrong, beside the field that holds it: `env.NAME` is a line of env."""
    field = (error.field or "name").partition(".")[0]
    return {"enabled_for" if field in {servers.AGENTS, servers.TEAMS} else field: said(error)}


async def _show(call: Call, mcp_id: str, trial: Trial, *, problem: str | None = None, status: int = 200) -> Answer:
    server = await servers.get(call.org_id, mcp_id)
    agents = [one for one in reversed(await roster.page(call.org_id)) if server.is_for(one.id, one.team)]
    stored = (await vault.stored(call.org_id))[None]
    if not trial.agent and agents and server.enabled_for != servers.ALL:
        trial.agent = agents[0].id
    chosen = next((one.name for one in agents if one.id == trial.agent), None)
    return await page(
        call, "mcp.html", "mcps", status=status, path=f"/app/mcps/{mcp_id}",
        server=await mcp_views.view(call.org_id, server), config=server, tools=mcp_views.tools(server),
        secrets={key: address("one", key) if key in stored else "/app/secrets" for key in render.references(server)},
        others=mcp_views.others(server), rulings=mcp_views.RULINGS, agents=agents, trial=trial,
        runners=await runners.page(call.org_id), command=_command(server, chosen), problem=problem,
    )  # fmt: skip


async def _form(
    call: Call, form: McpForm, errors: Mapping[str, str], server: Server | None = None, status: int = 200
) -> Answer:
    agents = list(reversed(await roster.page(call.org_id)))
    stored = await vault.stored(call.org_id)
    return await page(
        call, "mcp_form.html", "mcps", status=status,
        path=f"/app/mcps/{server.id}/edit" if server else "/app/mcps/new", server=server, form=form, errors=errors,
        agents=agents, teams=sorted({one.team for one in agents if one.team} | set(form.teams)),
        known=sorted(set().union(*stored.values())),
    )  # fmt: skip


def _command(server: Server, agent: str | None) -> str:
    """Return what tests it from a terminal."""
    return shlex.join(["corral", "mcps", "test", server.name, *(["--agent", agent] if agent else [])])
