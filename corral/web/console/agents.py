"""Agents: the list and the org chart, and each one's page."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from corral.agents import board, mail, roster
from corral.agents.mail import Letter, MessageType
from corral.agents.roster import Agent
from corral.base.errors import BadRequest, Conflict, CorralError
from corral.runs import reads, runners
from corral.usage import reports
from corral.usage.reports import Only
from corral.web import answers
from corral.web.answers import Answer, redirect
from corral.web.call import Call
from corral.web.console import mcp_views, secret_views
from corral.web.console.agent_form import AgentForm, fields, filled, problems
from corral.web.console.agent_views import ENGINES, chart, names, view, views
from corral.web.console.message_views import message_views
from corral.web.console.overtaken import marked, overtaken
from corral.web.console.page import back_to, page
from corral.web.console.run_views import views as run_views
from corral.web.console.runs import MODELS, MODES, said
from corral.web.console.task_views import task_views
from corral.web.routes import Routes

route = Routes("console", hidden=True, content=answers.HTML)

_RUNS = 20
_TASKS = 30
_SAID = 30


class AgentsQuery(msgspec.Struct):
    """How the agents are shown."""

    show: str = ""  #: chart, or the list


class State(msgspec.Struct):
    """What an agent is set to."""

    state: str = ""


class Say(msgspec.Struct):
    """What a person tells an agent."""

    text: str = ""


@route.get("/app/agents", scope="agents:read")
async def agents_page(call: Call, query: AgentsQuery) -> Answer:
    """List the agents, or draw the org chart."""
    found = await views(call.org_id, list(reversed(await roster.page(call.org_id))))
    busy = sum(one.status == "running" for one in found)
    is_chart = query.show == "chart"
    return await page(
        call, "agents.html", "agents",
        agents=found, chart=chart(found) if is_chart else None, managers={one.id: one.name for one in found},
        summary=f"{busy} of {len(found)} working",
    )  # fmt: skip


@route.get("/app/agents/new", scope="agents:write")
async def new_agent_page(call: Call) -> Answer:
    """Show the form that makes an agent."""
    machines = await runners.page(call.org_id)
    cwd = next((directory for one in machines for directory in one.allowed_dirs), "")
    return await _form(call, AgentForm(cwd=cwd), {})


@route.post("/app/agents", scope="agents:write", repeatable=False)
async def make_agent_from_page(call: Call, form: AgentForm) -> Answer:
    """Make an agent and lead to its page, or show the form again with what is wrong beside the field."""
    errors = problems(form)
    if not errors:
        try:
            agent = await roster.create(call.org_id, call.new_id(), fields(form, None))
        except BadRequest as error:
            errors[error.field or "name"] = said(error)
        else:
            return redirect(f"/app/agents/{agent.id}")
    return await _form(call, form, errors, status=400)


@route.get("/app/agents/<agent_id>", scope="agents:read")
async def agent_page(call: Call, agent_id: str) -> Answer:
    """Show one agent: what it is at, what was said, its tasks and runs."""
    return await _show(call, agent_id)


@route.get("/app/agents/<agent_id>/edit", scope="agents:write")
async def edit_agent_page(call: Call, agent_id: str) -> Answer:
    """Show the form that changes an agent."""
    agent = await roster.get(call.org_id, agent_id)
    return await _form(call, marked(filled(agent)), {}, agent)


@route.post("/app/agents/<agent_id>/edit", scope="agents:write", repeatable=False)
async def change_agent_from_page(call: Call, form: AgentForm, agent_id: str) -> Answer:
    """Change an agent; runs that are queued keep the agent as it was."""
    agent = await roster.get(call.org_id, agent_id)
    errors = problems(form) or overtaken(form, filled(agent))
    if not errors:
        try:
            await roster.update(call.org_id, agent_id, fields(form, agent))
        except BadRequest as error:
            errors[error.field or "name"] = said(error)
        else:
            return redirect(f"/app/agents/{agent_id}")
    return await _form(call, form, errors, agent, status=400)


@route.post("/app/agents/<agent_id>/state", scope="agents:write", repeatable=False)
async def set_agent_from_page(call: Call, form: State, agent_id: str) -> Answer:
    """Pause, resume or archive an agent."""
    if form.state not in {roster.ACTIVE, roster.PAUSED, roster.ARCHIVED}:
        return await _show(call, agent_id, problem="Choose one of the buttons.", status=400)
    await roster.update(call.org_id, agent_id, {"state": form.state})
    return back_to(call, f"/app/agents/{agent_id}")


@route.post("/app/agents/<agent_id>/say", scope="messages:write", repeatable=False)
async def ask_agent_from_page(call: Call, form: Say, agent_id: str) -> Answer:
    """Ask an agent something: its run hears it, or one begins to answer it."""
    agent = await roster.get(call.org_id, agent_id)
    text = form.text.strip().replace("\r\n", "\n")
    if not text:
        return await _show(call, agent_id, problem="Write something first.", status=400)
    try:
        if agent.state == roster.ARCHIVED:
            raise Conflict(f"{agent.name} is archived and hears nothing")
        letter = Letter(id=call.new_id(), type=MessageType.QUESTION, sender=call.actor, receiver=agent.id, text=text)
        await mail.post(call.org_id, letter)
    except CorralError as error:
        return await _show(call, agent_id, problem=error.message, status=409)
    return back_to(call, f"/app/agents/{agent_id}")


async def _show(call: Call, agent_id: str, *, problem: str | None = None, status: int = 200) -> Answer:
    agent = await roster.get(call.org_id, agent_id)
    everybody = await names(call.org_id)
    talk = await mail.page(call.org_id, agent=agent.id, talk=True, limit=_SAID)
    tasks = await board.page(call.org_id, assignee=agent.id, limit=_TASKS)
    found = await reads.page(call.org_id, agent_id=agent.id, limit=_RUNS)
    month = (await reports.lately(call.org_id, "month", Only(agent_id=agent.id))).by_day()
    return await page(
        call, "agent.html", "agents", status=status, path=f"/app/agents/{agent.id}",
        agent=await view(call.org_id, agent), is_archived=agent.state == roster.ARCHIVED,
        manager=everybody.agents.get(agent.manager_id or ""), instructions=agent.instructions, role=agent.role,
        month=[day.cost_usd for day in month.values()],
        mcps=await mcp_views.of_agent(call.org_id, agent) if call.caller.has("mcps:read") else [],
        secrets=await secret_views.of_agent(call.org_id, agent) if call.caller.has("secrets:read") else [],
        talk=message_views(list(reversed(talk)), everybody, whole=True),
        tasks=await task_views(call.org_id, tasks), runs=await run_views(call.org_id, found), problem=problem,
    )  # fmt: skip


async def _form(
    call: Call, form: AgentForm, errors: Mapping[str, str], agent: Agent | None = None, status: int = 200
) -> Answer:
    machines = await runners.page(call.org_id)
    others = [one for one in reversed(await roster.page(call.org_id)) if agent is None or one.id != agent.id]
    engines = ENGINES if form.engine in dict(ENGINES) else ((form.engine, form.engine), *ENGINES)
    return await page(
        call, "agent_form.html", "agents", status=status,
        path=f"/app/agents/{agent.id}/edit" if agent else "/app/agents/new",
        agent=agent, form=form, errors=errors, engines=engines, others=others, modes=MODES, models=MODELS,
        teams=sorted({one.team for one in others if one.team}), runners=machines,
        dirs=sorted({directory for machine in machines for directory in machine.allowed_dirs}),
    )  # fmt: skip
