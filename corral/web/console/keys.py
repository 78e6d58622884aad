"""API keys: listed, made, revoked."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from corral.base.errors import CorralError, Forbidden
from corral.platform import keys
from corral.platform.access import SCOPES
from corral.platform.keys import Key
from corral.web import answers
from corral.web.answers import Answer
from corral.web.call import Call
from corral.web.console.page import back_to, page
from corral.web.console.sign_in import Nothing
from corral.web.routes import Routes

route = Routes("console", hidden=True, content=answers.HTML)

_MOST = 500
_DAY = 86_400
_EXPIRIES = (("", "Never"), ("7", "In 7 days"), ("30", "In 30 days"), ("90", "In 90 days"), ("365", "In a year"))
_LABELS = {
    "*": "Everything",
    "runs:read": "See runs and their logs",
    "runs:write": "Launch, follow up and cancel runs",
    "runners:read": "See runners",
    "runners:write": "Be a runner",
    "approvals:read": "See what waits for an answer",
    "approvals:write": "Answer approvals",
    "keys:read": "See API keys",
    "keys:write": "Make and revoke API keys",
    "agents:read": "See agents",
    "agents:write": "Add, change, pause and archive agents",
    "tasks:read": "See tasks and epics",
    "tasks:write": "Make, run, change and cancel tasks",
    "messages:read": "See messages",
    "messages:write": "Write to agents",
    "usage:read": "See what was spent",
    "usage:write": "Change prices",
    "secrets:read": "See the names of secrets",
    "secrets:write": "Store and delete secrets",
    "mcps:read": "See MCP servers",
    "mcps:write": "Add, change and delete MCP servers",
    "audit:read": "See who changed what",
    "people:read": "See who is in the org",
    "people:write": "Invite people, change their roles and remove them",
}


@dataclass(frozen=True, slots=True)
class KeyView:
    """One key in the list."""

    id: str
    name: str
    prefix: str
    scopes: list[str]
    created_at: int
    last_used_at: int | None
    expires_at: int | None
    expired: bool


@dataclass(frozen=True, slots=True)
class Scope:
    """Something a key may be allowed."""

    value: str
    label: str


@dataclass(frozen=True, slots=True)
class Made:
    """A key made just now: the only time it is shown."""

    name: str
    key: str


class NewKey(msgspec.Struct):
    """What the form makes."""

    name: str = ""
    days: str = ""
    scopes: list[str] = []


@route.get("/app/keys", scope="keys:read")
async def keys_page(call: Call) -> Answer:
    """List the keys that are not revoked."""
    return await _page(call)


@route.post("/app/keys", scope="keys:write", repeatable=False)
async def make_from_page(call: Call, form: NewKey) -> Answer:
    """Make a key and show it, this once."""
    name = form.name.strip()
    errors = {}
    if not name:
        errors["name"] = "Give it a name."
    if form.days not in dict(_EXPIRIES):
        errors["days"] = "Choose one of these."
    if not form.scopes:
        errors["scopes"] = "Choose what it may do."
    if errors:
        return await _page(call, form=form, errors=errors, status=400)
    try:
        key, token = await keys.create(
            call.org_id, name=name, scopes=form.scopes, by=call.caller, user_id=call.caller.user_id,
            expires_in=int(form.days) * _DAY if form.days else None,
        )  # fmt: skip
    except (CorralError, Forbidden) as error:
        return await _page(call, form=form, errors={error.field or "scopes": error.message}, status=400)
    return await _page(call, made=Made(key.name, token))


@route.post("/app/keys/<key_id>/revoke", scope="keys:write", repeatable=False)
async def revoke_from_page(call: Call, form: Nothing, key_id: str) -> Answer:
    """End a key at once."""
    await keys.revoke(call.org_id, key_id)
    return back_to(call, "/app/keys")


async def _page(
    call: Call,
    *,
    form: NewKey | None = None,
    errors: Mapping[str, str] | None = None,
    made: Made | None = None,
    status: int = 200,
) -> Answer:
    found = await keys.page(call.org_id, limit=_MOST)
    scopes = [scope for scope in ("*", *SCOPES) if call.caller.has(scope)]
    return await page(
        call, "keys.html", "keys", status=status, path="/app/keys",
        keys=[_view(key) for key in found if key.revoked_at is None],
        form=form or NewKey(scopes=scopes[:1]), errors=errors or {}, made=made, expiries=_EXPIRIES,
        scopes=[Scope(scope, _LABELS.get(scope, scope)) for scope in scopes],
    )  # fmt: skip


def _view(key: Key) -> KeyView:
    expired = key.expires_at is not None and key.expires_at <= time.time() * 1000
    return KeyView(key.id, key.name, key.prefix, key.scopes, key.created_at, key.last_used_at, key.expires_at, expired)
