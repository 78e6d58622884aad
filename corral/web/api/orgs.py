"""Orgs: those that the caller is in, another one, and what the caller's is called."""

from __future__ import annotations

from typing import Annotated

import msgspec

from corral.base.errors import NotFound
from corral.base.ids import new_token
from corral.platform import keys, orgs
from corral.platform.access import Role
from corral.web.call import Call
from corral.web.present.people import MyOrg, OrgView
from corral.web.routes import Routes

route = Routes("org")

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"\S")]


class CreateOrg(msgspec.Struct, forbid_unknown_fields=True):
    """An org to make."""

    name: Name
    with_key: bool = False  #: also make a full key of it, for who has no browser


class RenameOrg(msgspec.Struct, forbid_unknown_fields=True):
    """What the org is called from now on."""

    name: Name


class NewOrg(OrgView):
    """An org just made."""

    key: str | None  #: the full key, if one was wanted; shown only now


@route.get("/api/orgs", anybody=True)
async def list_orgs(call: Call) -> list[MyOrg]:
    """List the orgs that the caller is in; a key is of one."""
    return [MyOrg(one.id, one.name, one.role, one.id == call.org_id) for one in await orgs.mine(call.caller)]


@route.post("/api/orgs", scope="*", role=Role.OWNER, status=201, secret=True)
async def create_org(call: Call, body: CreateOrg) -> NewOrg:
    """Make an org with the caller as its owner. Owners of the installation's first org may, from there."""
    token = keys.PREFIX + new_token(32) if body.with_key else None
    made = await orgs.create(body.name, call.caller, token=token)
    return NewOrg(made.id, made.name, token)


@route.patch("/api/orgs/<id>", scope="people:write", role=Role.OWNER, answers=(MyOrg,))
async def rename_org(call: Call, id: str, body: RenameOrg) -> OrgView:
    """Change what the org is called."""
    if id != str(call.org_id):
        raise NotFound(f"You are in no org {id}, or look at another one")
    return OrgView(call.org_id, await orgs.rename(call.org_id, body.name))
