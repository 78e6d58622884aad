"""The bus: what agents and people tell each other, live; threads, dead letters, and a message of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from corral.agents import board, inbox, mail, roster
from corral.agents.mail import EVERYBODY, Letter, MessageType
from corral.base.errors import BadRequest, Conflict, CorralError, NotFound
from corral.web import answers
from corral.web.answers import Answer, redirect
from corral.web.call import Call
from corral.web.console.agent_views import names
from corral.web.console.message_views import TYPES, message_views
from corral.web.console.page import back_to, page
from corral.web.console.runs import said
from corral.web.routes import Routes

route = Routes("console", hidden=True, content=answers.HTML)

_PAGE = 100
_BUS = "/app/bus"
#: What a person may send.
_SENDABLE = {MessageType.QUESTION: "Question — it answers", MessageType.NOTE: "Note — it is told"}


class BusQuery(msgspec.Struct):
    """Which messages."""

    agent: str = ""
    type: str = ""
    dead: bool = False
    before: str = ""


class SendForm(msgspec.Struct):
    """A person's message."""

    to: str = ""
    type: str = MessageType.QUESTION.value
    text: str = ""


class Back(msgspec.Struct):
    """Where the form comes back to."""

    back: str = _BUS


@route.get("/app/bus", scope="messages:read")
async def bus_page(call: Call, query: BusQuery) -> Answer:
    """List messages, newest first."""
    return await _list(call, query)


@route.get("/app/bus/tasks/<task_id>", scope="messages:read")
async def task_thread_page(call: Call, task_id: str) -> Answer:
    """Show what was said about a task."""
    task = await board.get(call.org_id, task_id)
    found = list(reversed(await mail.page(call.org_id, task_id=task.id, limit=500)))
    return await page(
        call, "thread.html", "bus", title=task.title, task=task, messages=message_views(found, await names(call.org_id))
    )


@route.get("/app/bus/<message_id>", scope="messages:read")
async def thread_page(call: Call, message_id: str) -> Answer:
    """Show a message with what it answers and what answers it."""
    found = await mail.thread(call.org_id, message_id)
    shown = message_views(found, await names(call.org_id), whole=True)
    about = next((one.task_id for one in found if one.task_id), None)
    task = None
    if about is not None:
        try:
            task = await board.get(call.org_id, about)
        except NotFound:
            task = None
    return await page(call, "thread.html", "bus", title=shown[0].line, task=task, messages=shown)


@route.get("/app/messages/new", scope="messages:write")
async def new_message_page(call: Call) -> Answer:
    """Show the form that sends a message."""
    return await _form(call, SendForm(), {})


@route.post("/app/messages", scope="messages:write", repeatable=False)
async def send_from_page(call: Call, form: SendForm) -> Answer:
    """Send an agent, or all of them, a message, and lead to its thread."""
    errors = {}
    text = form.text.strip().replace("\r\n", "\n")
    if not text:
        errors["text"] = "Write something first."
    if form.type not in _SENDABLE:
        errors["type"] = "Choose one of these."
    if not form.to:
        errors["to"] = "Choose who gets it."
    if not errors:
        try:
            if form.to != EVERYBODY:
                agent = await roster.get(call.org_id, form.to, field="to")
                if agent.state == roster.ARCHIVED:
                    raise Conflict(f"{agent.name} is archived and hears nothing", field="to")
            type_ = MessageType.BROADCAST if form.to == EVERYBODY else MessageType(form.type)
            letter = Letter(id=call.new_id(), type=type_, sender=call.actor, receiver=form.to, text=text)
            sent = await mail.post(call.org_id, letter)
        except CorralError as error:
            errors["to"] = said(error)
        else:
            return redirect(f"{_BUS}/{sent.id}")
    return await _form(call, form, errors, status=400)


@route.post("/app/messages/<message_id>/replay", scope="messages:write", repeatable=False)
async def replay_from_page(call: Call, form: Back, message_id: str) -> Answer:
    """Give a message that was given up another chance."""
    try:
        await inbox.replay(call.org_id, message_id)
    except (BadRequest, Conflict) as error:
        back = urlsplit(form.back)
        if back.path != _BUS:
            raise
        chosen = dict(parse_qsl(back.query))
        query = BusQuery(chosen.get("agent", ""), chosen.get("type", ""), "dead" in chosen, chosen.get("before", ""))
        return await _list(call, query, problem=error.message, status=409)
    return back_to(call, form.back if urlsplit(form.back).path.startswith("/app/") else _BUS)


async def _list(call: Call, query: BusQuery, *, problem: str | None = None, status: int = 200) -> Answer:
    everybody = await names(call.org_id)
    found = await mail.page(
        call.org_id, agent=query.agent or None, type_=query.type or None, dead=query.dead,
        before=query.before or None, limit=_PAGE + 1,
    )  # fmt: skip
    shown = found[:_PAGE]
    asked = {name: value for name, value in msgspec.structs.asdict(query).items() if value and name != "before"}
    return await page(
        call, "bus.html", "bus", status=status, path=_path({**asked, "before": query.before}),
        messages=message_views(shown, everybody), agents=list(reversed(await roster.page(call.org_id))), types=TYPES,
        query=query, dead=await mail.count_dead(call.org_id), problem=problem, filtered=bool(asked),
        newest=_path(asked) if query.before else None,
        older=_path({**asked, "before": shown[-1].id}) if len(found) > _PAGE else None,
    )  # fmt: skip


def _path(asked: Mapping[str, object]) -> str:
    said_ = {name: "true" if value is True else value for name, value in asked.items() if value}
    return f"{_BUS}?{urlencode(said_)}" if said_ else _BUS


async def _form(call: Call, form: SendForm, errors: Mapping[str, str], status: int = 200) -> Answer:
    return await page(
        call, "message_form.html", "bus", status=status, path="/app/messages/new", form=form, errors=errors,
        agents=list(reversed(await roster.page(call.org_id))), everybody=EVERYBODY, types=_SENDABLE,
    )  # fmt: skip
