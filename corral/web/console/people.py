"""The people of the org, what they are in it, and who is invited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from corral.base.errors import BadRequest, Conflict, Forbidden, NotFound
from corral.platform import accounts, invitations, orgs, people, plans
from corral.platform.access import Role
from corral.platform.invitations import Invitation
from corral.platform.people import Person
from corral.web import answers
from corral.web.answers import Answer
from corral.web.call import Call
from corral.web.console.page import back_to, page
from corral.web.console.sign_in import Nothing
from corral.web.routes import Routes

route = Routes("console", hidden=True, content=answers.HTML)

_MOST = 200
_DAYS = (("1", "In a day"), ("7", "In a week"), ("30", "In 30 days"))
#: What somebody of a role may do, in a line.
MEANS = {
    Role.OWNER: "Everything, also what is about the org itself",
    Role.ADMIN: "Everything but what only owners may: people, keys, secrets and machines too",
    Role.MEMBER: "Agents, tasks, runs and messages; sees the rest",
    Role.VIEWER: "Sees everything, and changes nothing",
}


@dataclass(frozen=True, slots=True)
class PersonView:
    """One row of the list."""

    person: Person
    is_you: bool
    may_change: bool


@dataclass(frozen=True, slots=True)
class InvitationView:
    """One open invitation."""

    invitation: Invitation
    invited_by: str


@dataclass(frozen=True, slots=True)
class Made:
    """An invitation made just now: the only time its link is shown."""

    email: str | None
    role: Role
    url: str


class Invite(msgspec.Struct):
    """Who is invited as what."""

    email: str = ""
    role: str = ""
    days: str = "7"


class NewRole(msgspec.Struct):
    """What somebody becomes."""

    role: str = ""


class Older(msgspec.Struct):
    """Where the list goes on."""

    before: str | None = None


@route.get("/app/people", scope="people:read")
async def people_page(call: Call, query: Older) -> Answer:
    """List who is in the org, and who is invited."""
    return await _page(call, before=query.before)


@route.post("/app/people/invite", scope="people:write", role=Role.ADMIN, repeatable=False)
async def invite_from_page(call: Call, form: Invite) -> Answer:
    """Invite somebody, and show the link, this once."""
    errors = {}
    if form.role not in _given(call):
        errors["role"] = "Choose one of these."
    if form.days not in dict(_DAYS):
        errors["days"] = "Choose one of these."
    if errors:
        return await _page(call, form=form, errors=errors, status=400)
    try:
        made, token = await invitations.create(
            call.caller, role=Role(form.role), email=form.email.strip() or None, days=float(form.days)
        )
    except plans.Full as error:
        return await _page(call, form=form, problem=error.message, is_full=True, status=400)
    except Forbidden as error:
        return await _page(call, form=form, errors={"role": error.message}, status=400)
    except (BadRequest, Conflict) as error:
        return await _page(call, form=form, errors={error.field or "email": error.message}, status=400)
    return await _page(call, made=Made(made.email, made.role, invitations.url(token, call.settings)))


@route.post("/app/people/<user_id>/role", scope="people:write", role=Role.ADMIN, repeatable=False)
async def change_role_from_page(call: Call, form: NewRole, user_id: str) -> Answer:
    """Make somebody something else."""
    if form.role not in {*Role}:
        raise BadRequest("Choose one of the roles", field="role")
    try:
        await people.change_role(call.org_id, user_id, Role(form.role), call.caller)
    except (Conflict, Forbidden) as error:
        return await _page(call, problem=error.message, status=409)
    return back_to(call, "/app/people")


@route.post("/app/people/<user_id>/remove", scope="people:write", role=Role.ADMIN, repeatable=False)
async def remove_from_page(call: Call, form: Nothing, user_id: str) -> Answer:
    """Take somebody out of the org."""
    try:
        await people.remove(call.org_id, user_id, call.caller)
    except (Conflict, Forbidden) as error:
        return await _page(call, problem=error.message, status=409)
    return back_to(call, "/app/people")


@route.post("/app/people/invitations/<invitation_id>/revoke", scope="people:write", role=Role.ADMIN, repeatable=False)
async def revoke_invitation_from_page(call: Call, form: Nothing, invitation_id: str) -> Answer:
    """End an invitation at once."""
    try:
        await invitations.revoke(call.org_id, invitation_id)
    except (Conflict, NotFound) as error:
        return await _page(call, problem=error.message, status=409)
    return back_to(call, "/app/people")


async def _page(
    call: Call,
    *,
    before: str | None = None,
    form: Invite | None = None,
    errors: Mapping[str, str] | None = None,
    made: Made | None = None,
    problem: str = "",
    is_full: bool = False,
    status: int = 200,
) -> Answer:
    found = await people.page(call.org_id, limit=_MOST + 1, before=before)
    may_change = call.caller.may("people:write")
    open_ones = await invitations.page(call.org_id, limit=_MOST, open_only=True) if may_change else []
    names = await orgs.people(call.org_id) if open_ones else {}
    given = _given(call)
    account = await accounts.get(call.caller.user_id) if call.caller.sign_in and call.caller.user_id else None
    return await page(
        call, "people.html", "people", status=status, path="/app/people",
        lacks_way_in=account is not None and not (account.email and account.has_password),
        people=[_view(call, person, may_change=may_change) for person in found[:_MOST]],
        older=f"/app/people?before={found[_MOST - 1].id}" if len(found) > _MOST else "", before=before,
        invitations=[InvitationView(one, names.get(one.invited_by, "an API key")) for one in open_ones],
        roles=[(role, MEANS[role]) for role in Role if role in given], days=_DAYS,
        form=form or Invite(role=Role.MEMBER.value), errors=errors or {}, made=made, problem=problem,
        is_full=is_full,
    )  # fmt: skip


def _given(call: Call) -> set[str]:
    """Return the roles that the caller may give: none above their own."""
    return {role.value for role in Role if call.caller.role.covers(role)}


def _view(call: Call, person: Person, *, may_change: bool) -> PersonView:
    return PersonView(person, person.id == call.caller.user_id, may_change and call.caller.role.covers(person.role))
