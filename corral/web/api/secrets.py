"""Secrets: stored and deleted by name, listed without their values. An agent's own stands in for the org's."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from corral.agents import roster, supplies
from corral.base import ordinary
from corral.base.errors import BadRequest, Forbidden
from corral.platform.access import Role
from corral.platform.orgs import FIRST_ORG
from corral.secrets import rotation, vault
from corral.web.api.paging import MOST, Count, Id, Limit, Page, cut
from corral.web.api.runs import Done
from corral.web.call import Call
from corral.web.present.secrets import SecretView, UseView, secret_view, use_view
from corral.web.routes import Routes

route = Routes("secrets")

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=vault.NAME_LONGEST, pattern=vault.NAME)]
Scope = Literal["org", "agent"]


class SecretsAsked(Page):
    """Which secrets to list."""

    scope: Scope | None = None  #: org, unless an agent is named
    agent: Id | None = None  #: an agent's id; without it scope agent lists those of all agents
    before: Annotated[str, msgspec.Meta(min_length=1, max_length=250)] | None = None  #: as in the link to the next page


class UsesAsked(msgspec.Struct, forbid_unknown_fields=True):
    """Which uses to list."""

    limit: Limit = MOST
    key: Name | None = None  #: of this secret, which is there; without it all, those of deleted ones as well
    agent: Id | None = None  #: whose it is; the org's, if left out
    before: Count | None = None  #: a use's id: those that are older


class PutSecret(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A secret to store."""

    key: Name
    value: Annotated[str, msgspec.Meta(min_length=1, max_length=vault.VALUE_MOST)]
    scope: Scope | None = None  #: org, unless an agent is named
    agent_id: Id | None = None  #: required for scope agent


class Stored(Done):
    """It is stored."""

    warning: str | msgspec.UnsetType = msgspec.UNSET  #: there if the value will not be masked where agents print it


class SecretNamed(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The secret to delete, in the query or in the body; the query wins."""

    key: Name | None = None
    scope: Scope | None = None
    agent_id: Id | None = None


class Rotate(msgspec.Struct, forbid_unknown_fields=True):
    """How the master key is changed."""

    renew: bool = True  #: make a new one first, where it is a file; false goes on with one that is begun


class RotatedView(msgspec.Struct):
    """How far it came."""

    key: str  #: tells the master key that encrypts from others, and nothing about it
    orgs: int  #: whose secrets were encrypted anew just now
    left: int  #: whose are still to be: ask again, with renew false


@route.get("/api/secrets", scope="secrets:read")
async def list_secrets(call: Call, query: SecretsAsked) -> list[SecretView]:
    """List the names of the org's secrets, or of agents', newest first. Values are never returned."""
    scope = query.scope or ("agent" if query.agent else "org")
    if query.agent is not None:
        await _whose(call, query.scope, query.agent, "agent")
    found = await vault.page(call.org_id, scope=scope, agent_id=query.agent, limit=query.size + 1, before=query.before)
    cursors = [f"{entry.agent_id}/{entry.key}" if entry.agent_id else entry.key for entry in found]
    return [secret_view(entry) for entry in cut(call, found, query, cursors, scope=scope, agent=query.agent)]


@route.get("/api/secrets/uses", scope="secrets:read")
async def list_secret_uses(call: Call, query: UsesAsked) -> list[UseView]:
    """List when secrets were opened, and for whom, newest first."""
    if query.agent is not None and query.key is None:
        raise BadRequest("key is missing: agent says whose secret by that name is meant", field="key")
    agent_id = await _whose(call, None, query.agent, "agent")
    if query.key is not None:
        await vault.get(call.org_id, query.key, agent_id=agent_id, field="key")
    size = min(query.limit, MOST)
    found = await vault.uses(call.org_id, query.key, agent_id=agent_id, limit=size + 1, before=query.before)
    if len(found) > size:
        found = found[:size]
        call.link_next(key=query.key, agent=query.agent, limit=size, before=found[-1].no)
    return [use_view(use) for use in found]


@route.post("/api/secrets", feature="secrets", scope="secrets:write", role=Role.ADMIN, answers=(SecretView,))
async def put_secret(call: Call, body: PutSecret) -> Stored:
    """Store a secret, in the place of one by that name."""
    agent_id = await _whose(call, body.scope, body.agent_id, "agentId")
    await supplies.put_secret(call.org_id, body.key, body.value, agent_id=agent_id)
    return Stored(warning=ordinary.warning(body.value) or msgspec.UNSET)


@route.delete("/api/secrets", scope="secrets:write", role=Role.ADMIN, answers=(SecretView,), also=(404,))
async def delete_secret(call: Call, query: SecretNamed, body: SecretNamed) -> Done:
    """Delete a secret."""
    key, agent_id = query.key or body.key, query.agent_id or body.agent_id
    if key is None:
        raise BadRequest("key is missing: it names the secret to delete, in the query or in the body", field="key")
    agent_id = await _whose(call, query.scope or body.scope, agent_id, "agentId")
    await supplies.remove_secret(call.org_id, key, agent_id=agent_id)
    return Done()


@route.post("/api/secrets/rotate", scope="secrets:write", role=Role.OWNER, also=(409,))
async def rotate(call: Call, body: Rotate) -> RotatedView:
    """Encrypt all secrets of this installation anew, under the first master key, while they are in use.

    It is the secrets of all orgs, so only an owner of the first one may: whoever set this installation up.
    """
    if call.org_id != FIRST_ORG:
        raise Forbidden(
            "This changes the master key of the whole installation, which only an owner of its first org may; "
            "`corral secrets rotate` on the server's machine does it as well"
        )
    done = await rotation.rotate(renew=body.renew)
    return RotatedView(done.key, done.orgs, done.left)


async def _whose(call: Call, scope: str | None, agent_id: str | None, field: str) -> str | None:
    """Return the agent whose secret is meant, None for the org's."""
    if agent_id is None:
        if scope == "agent":
            raise BadRequest(f"{field} is missing: scope agent needs the id of an agent", field=field)
        return None
    if scope == "org":
        raise BadRequest(f"{field} is for scope agent; leave it out for a secret of the org", field=field)
    return (await roster.get(call.org_id, agent_id, field=field)).id
