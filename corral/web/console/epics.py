"""Epics: how far each is, and the forms that make and change them."""

from __future__ import annotations

from collections.abc import Mapping

from corral.agents import epics
from corral.agents.epics import Epic
from corral.web import answers
from corral.web.answers import Answer, redirect
from corral.web.call import Call
from corral.web.console.overtaken import Change, marked, overtaken
from corral.web.console.page import page
from corral.web.console.sign_in import Nothing
from corral.web.routes import Routes

route = Routes("console", hidden=True, content=answers.HTML)

_MOST = 500
_TITLE = 200


class EpicForm(Change):
    """What an epic is called, and what it is about."""

    title: str = ""
    description: str = ""


@route.get("/app/epics", scope="tasks:read")
async def epics_page(call: Call) -> Answer:
    """List the epics with their progress."""
    return await _list(call, EpicForm(), {})


@route.post("/app/epics", scope="tasks:write", repeatable=False)
async def make_epic_from_page(call: Call, form: EpicForm) -> Answer:
    """Make an epic."""
    errors = _problems(form)
    if errors:
        return await _list(call, form, errors, status=400)
    await epics.create(call.org_id, call.new_id(), form.title.strip(), form.description.strip())
    return redirect("/app/epics")


@route.get("/app/epics/<epic_id>", scope="tasks:write")
async def epic_page(call: Call, epic_id: str) -> Answer:
    """Show the form that changes an epic."""
    epic = await epics.get(call.org_id, epic_id)
    return await _one(call, epic, marked(_filled(epic)), {})


@route.post("/app/epics/<epic_id>", scope="tasks:write", repeatable=False)
async def change_epic_from_page(call: Call, form: EpicForm, epic_id: str) -> Answer:
    """Rename or describe an epic."""
    epic = await epics.get(call.org_id, epic_id)
    errors = _problems(form) or overtaken(form, _filled(epic))
    if errors:
        return await _one(call, epic, form, errors, status=400)
    await epics.update(call.org_id, epic_id, title=form.title.strip(), description=form.description.strip())
    return redirect("/app/epics")


@route.post("/app/epics/<epic_id>/delete", scope="tasks:write", repeatable=False)
async def delete_epic_from_page(call: Call, form: Nothing, epic_id: str) -> Answer:
    """Delete an epic; its tasks stay."""
    await epics.remove(call.org_id, epic_id)
    return redirect("/app/epics")


def _filled(epic: Epic) -> EpicForm:
    return EpicForm(epic.title, epic.description)


async def _list(call: Call, form: EpicForm, errors: Mapping[str, str], status: int = 200) -> Answer:
    found = await epics.page(call.org_id, limit=_MOST)
    return await page(
        call, "epics.html", "board", status=status, path="/app/epics", epics=found, form=form, errors=errors
    )


async def _one(call: Call, epic: Epic, form: EpicForm, errors: Mapping[str, str], status: int = 200) -> Answer:
    return await page(
        call, "epic.html", "board", status=status, path=f"/app/epics/{epic.id}", epic=epic, form=form, errors=errors
    )


def _problems(form: EpicForm) -> dict[str, str]:
    if not form.title.strip():
        return {"title": "Give it a title."}
    if len(form.title) > _TITLE:
        return {"title": f"At most {_TITLE} characters, please."}
    return {}
