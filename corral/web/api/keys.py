"""API keys: made and shown once, listed, revoked at once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import msgspec

from corral.base.errors import BadRequest
from corral.platform import keys, revoking
from corral.platform.access import Role
from corral.web.api.paging import Page, cut
from corral.web.call import Call
from corral.web.present.keys import KeyList, KeyView, NewKey, key_view, new_key
from corral.web.routes import Routes

route = Routes("keys")

#: The last second that can be written in UTC.
_LATEST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


#: Requests a minute. That there is no limit at all is for operators to say.
Rate = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"\S")]


class CreateKey(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A key to make."""

    name: Name
    scopes: Annotated[list[str], msgspec.Meta(min_length=1, max_length=50)]  #: `runs:read` and its like, `*`, `runner`
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None  #: a key makes none that outlives it
    rate_limit: Rate | None = None  #: requests a minute; null: as the org has it


class ChangeKey(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What to change of a key; what is left out stays."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    rate_limit: Rate | msgspec.UnsetType | None = msgspec.UNSET  #: requests a minute; null: as the org has it


@route.post("/api/v1/keys", scope="keys:write", status=201, secret=True, answers=(KeyView,), also=(409,))
async def create_key(call: Call, body: CreateKey) -> NewKey:
    """Make a key. This answer is the only one that holds it."""
    key, token = await keys.create(
        call.org_id,
        name=body.name,
        scopes=body.scopes,
        by=call.caller,
        expires_at=_moment(body.expires_at),
        id_=call.new_id(),
        rate_limit=body.rate_limit,
    )
    return new_key(key, token)


@route.get("/api/v1/keys", scope="keys:read")
async def list_keys(call: Call, query: Page) -> KeyList:
    """List keys, newest first, without the keys themselves."""
    found = await keys.page(call.org_id, limit=query.size + 1, before=query.before)
    return KeyList([key_view(key) for key in cut(call, found, query, [key.id for key in found])])


@route.get("/api/v1/keys/<id>", scope="keys:read")
async def get_key(call: Call, id: str) -> KeyView:
    """Show a key, without the key itself."""
    return key_view(await keys.get(call.org_id, id))


@route.patch("/api/v1/keys/<id>", scope="keys:write", role=Role.ADMIN, answers=(KeyView,))
async def change_key(call: Call, id: str, body: ChangeKey) -> KeyView:
    """Rename a key, or say how often it may call; every server knows within a second."""
    fields = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not msgspec.UNSET}
    return key_view(await keys.change(call.org_id, id, fields))


@route.delete("/api/v1/keys/<id>", scope="keys:write")
async def revoke_key(call: Call, id: str) -> KeyView:
    """End a key at once, and the open invitations that it made."""
    return key_view(await revoking.revoke(call.org_id, id))


def _moment(moment: datetime | None) -> int | None:
    if moment is None:
        return None
    if not datetime.now(UTC) < moment <= _LATEST:
        raise BadRequest("expires_at (expiresAt) must be in the future, before the year 10000", field="expires_at")
    return int(moment.timestamp() * 1000)
