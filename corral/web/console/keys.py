"""API keys: listed, made, given limits, revoked."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from corral.base.errors import BadRequest, CorralError, Forbidden
from corral.platform import keys, rates, revoking
from corral.platform.access import RUNNER, SCOPES, Role
from corral.platform.keys import Key
from corral.web import answers
from corral.web.answers import Answer
from corral.web.call import Call
from corral.web.console.page import back_to, page
from corral.web.console.sign_in import Nothing
from corral.web.routes import Routes

route = Routes("console", hidden=True, content=answers.HTML)

_PAGE = 200
_DAY = 86_400
_MOST_RATE = 100_000
_WRONG = f"A number from 1 to {_MOST_RATE:,}, or nothing."
_EXPIRIES = (("", "Never"), ("7", "In 7 days"), ("30", "In 30 days"), ("90", "In 90 days"), ("365", "In a year"))
_LABELS = {
    "*": "Everything",
    "runs:read": "See runs and their logs",
    "runs:write": "Launch, follow up and cancel runs",
    "runners:read": "See runners",
    "runners:write": "Be a runner, beside what else is chosen",
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
    is_runner: bool  #: it does a runner's work, and nothing else
    rate_limit: int | None
    per_minute: str  #: how often it may call, for people


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


class Older(msgspec.Struct):
    """From where on."""

    before: str = ""


class NewKey(msgspec.Struct):
    """What the form makes."""

    name: str = ""
    use: str = "program"  #: program | runner
    days: str = ""
    rate_limit: str = ""  #: empty: as the org has it
    scopes: list[str] = []


class NewLimit(msgspec.Struct):
    """How often a key may call, as typed; empty: as the org has it."""

    rate_limit: str = ""


@route.get("/app/keys", scope="keys:read")
async def keys_page(call: Call, query: Older) -> Answer:
    """List the keys that are not revoked."""
    return await _page(call, before=query.before or None)


@route.post("/app/keys", scope="keys:write", repeatable=False)
async def make_from_page(call: Call, form: NewKey) -> Answer:
    """Make a key and show it, this once."""
    name = form.name.strip()
    scopes = [RUNNER] if form.use == "runner" else form.scopes
    errors = {}
    if not name:
        errors["name"] = "Give it a name."
    if not _is_limit(form.rate_limit):
        errors["rate_limit"] = _WRONG
    if form.days not in dict(_EXPIRIES):
        errors["days"] = "Choose one of these."
    if not scopes:
        errors["scopes"] = "Choose what it may do."
    if errors:
        return await _page(call, form=form, errors=errors, status=400)
    try:
        key, token = await keys.create(
            call.org_id, name=name, scopes=scopes, by=call.caller, user_id=call.caller.user_id,
            expires_in=int(form.days) * _DAY if form.days else None, rate_limit=_limit(form.rate_limit),
        )  # fmt: skip
    except (CorralError, Forbidden) as error:
        return await _page(call, form=form, errors={error.field or "scopes": error.message}, status=400)
    return await _page(call, made=Made(key.name, token))


@route.post("/app/keys/<key_id>/limit", scope="keys:write", role=Role.ADMIN, repeatable=False)
async def limit_from_page(call: Call, form: NewLimit, key_id: str) -> Answer:
    """Say how often a key may call."""
    if not _is_limit(form.rate_limit):
        raise BadRequest(_WRONG, field="rate_limit")
    await keys.change(call.org_id, key_id, {"rate_limit": _limit(form.rate_limit)})
    return back_to(call, "/app/keys")


@route.post("/app/keys/<key_id>/revoke", scope="keys:write", repeatable=False)
async def revoke_from_page(call: Call, form: Nothing, key_id: str) -> Answer:
    """End a key at once, and the open invitations that it made."""
    await revoking.revoke(call.org_id, key_id)
    return back_to(call, "/app/keys")


async def _page(
    call: Call,
    *,
    before: str | None = None,
    form: NewKey | None = None,
    errors: Mapping[str, str] | None = None,
    made: Made | None = None,
    status: int = 200,
) -> Answer:
    found = await keys.page(call.org_id, limit=_PAGE + 1, before=before, revoked=False)
    older = found[_PAGE - 1].id if len(found) > _PAGE else None
    scopes = [scope for scope in ("*", *SCOPES) if call.caller.has(scope) and scope != RUNNER]
    default = await rates.get(call.org_id)
    default = call.settings.rate_limit if default is None else default
    return await page(
        call, "keys.html", "keys", status=status, path="/app/keys",
        keys=[_view(key, default) for key in found[:_PAGE]], before=before, older=older,
        default=_per_minute(default), most=_MOST_RATE,
        form=form or NewKey(scopes=scopes[:1]), errors=errors or {}, made=made, expiries=_EXPIRIES,
        scopes=[Scope(scope, _LABELS.get(scope, scope)) for scope in scopes],
    )  # fmt: skip


def _view(key: Key, default: int) -> KeyView:
    expired = key.expires_at is not None and key.expires_at <= time.time() * 1000
    is_runner = key.scopes == [RUNNER]
    # What runners call is not counted.
    told = "—" if is_runner else _per_minute(default if key.rate_limit is None else key.rate_limit)
    return KeyView(
        key.id, key.name, key.prefix, key.scopes, key.created_at, key.last_used_at, key.expires_at, expired,
        is_runner, key.rate_limit, told,
    )  # fmt: skip


def _per_minute(limit: int) -> str:
    return f"{limit:,}" if limit else "any number"


def _is_limit(typed: str) -> bool:
    return not typed.strip() or (_limit(typed) is not None and 1 <= (_limit(typed) or 0) <= _MOST_RATE)


def _limit(typed: str) -> int | None:
    text = typed.strip()
    return int(text) if text.isdecimal() and len(text) <= len(str(_MOST_RATE)) else None
