"""The people of the org, and what they are in it."""

from __future__ import annotations

import msgspec

from corral.platform import people
from corral.platform.access import Role
from corral.web.api.paging import Page, cut
from corral.web.api.runs import Done
from corral.web.call import Call
from corral.web.present.people import PersonView, person_view
from corral.web.routes import Routes

route = Routes("people")


class ChangePerson(msgspec.Struct, forbid_unknown_fields=True):
    """What somebody is from now on."""

    role: Role


@route.get("/api/people", scope="people:read")
async def list_people(call: Call, query: Page) -> list[PersonView]:
    """List who is in the org, the newest accounts first."""
    found = await people.page(call.org_id, limit=query.size + 1, before=query.before)
    return [person_view(one) for one in cut(call, found, query, [one.id for one in found])]


@route.get("/api/people/<id>", scope="people:read")
async def get_person(call: Call, id: str) -> PersonView:
    """Show somebody in the org."""
    return person_view(await people.get(call.org_id, id))


@route.patch("/api/people/<id>", scope="people:write", role=Role.ADMIN, answers=(PersonView,), also=(409,))
async def change_person(call: Call, id: str, body: ChangePerson) -> PersonView:
    """Give somebody another role. It holds within a second, for their keys as well."""
    return person_view(await people.change_role(call.org_id, id, body.role, call.caller))


@route.delete("/api/people/<id>", scope="people:write", role=Role.ADMIN, also=(409,))
async def remove_person(call: Call, id: str) -> Done:
    """Take somebody out of the org, with their keys and sign-ins in it, within a second."""
    await people.remove(call.org_id, id, call.caller)
    return Done()
