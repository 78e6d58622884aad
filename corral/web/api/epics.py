"""Epics: tasks that belong together, and how far they are."""

from __future__ import annotations

from typing import Annotated

import msgspec

from corral.agents import epics
from corral.web.api.paging import Page, cut
from corral.web.api.runs import Done
from corral.web.api.tasks import Title
from corral.web.call import Call
from corral.web.present.tasks import EpicView, epic_view
from corral.web.routes import Routes

route = Routes("epics")

Description = Annotated[str, msgspec.Meta(max_length=200_000)]


class CreateEpic(msgspec.Struct, forbid_unknown_fields=True):
    """An epic to make."""

    title: Title
    description: Description = ""


class ChangeEpic(msgspec.Struct, forbid_unknown_fields=True):
    """What to change about an epic; what is left out stays."""

    title: Title | msgspec.UnsetType = msgspec.UNSET
    description: Description | msgspec.UnsetType = msgspec.UNSET


@route.get("/api/epics", scope="tasks:read")
async def list_epics(call: Call, query: Page) -> list[EpicView]:
    """List epics with their progress, newest first."""
    found = await epics.page(call.org_id, limit=query.size + 1, before=query.before)
    return [epic_view(epic) for epic in cut(call, found, query, [epic.id for epic in found])]


@route.post("/api/epics", scope="tasks:write", status=201, answers=(EpicView,), also=(409,))
async def create_epic(call: Call, body: CreateEpic) -> EpicView:
    """Make an epic."""
    return epic_view(await epics.create(call.org_id, call.new_id(), body.title, body.description))


@route.get("/api/epics/<id>", scope="tasks:read")
async def get_epic(call: Call, id: str) -> EpicView:
    """Show an epic with its progress."""
    return epic_view(await epics.get(call.org_id, id))


@route.patch("/api/epics/<id>", scope="tasks:write")
async def change_epic(call: Call, id: str, body: ChangeEpic) -> EpicView:
    """Rename or describe an epic."""
    fields = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not msgspec.UNSET}
    return epic_view(await epics.update(call.org_id, id, **fields))


@route.delete("/api/epics/<id>", scope="tasks:write")
async def delete_epic(call: Call, id: str) -> Done:
    """Delete an epic; its tasks stay, without one."""
    await epics.remove(call.org_id, id)
    return Done()
