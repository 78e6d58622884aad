"""Secrets: listed by name, stored, replaced and deleted, and each one's uses. A value goes in, and is never shown."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Mapping

import msgspec

from corral.agents import roster, supplies
from corral.base import ordinary
from corral.base.errors import BadRequest, CorralError, NotFound
from corral.platform.access import Role
from corral.secrets import vault
from corral.web import answers
from corral.web.answers import Answer, redirect
from corral.web.call import Call
from corral.web.console import secret_views
from corral.web.console.page import page
from corral.web.console.runs import said
from corral.web.console.secret_views import SecretView
from corral.web.routes import Routes

route = Routes("console", hidden=True, content=answers.HTML)

_USES = 50
_NEW = "/app/secrets/new"


class Named(msgspec.Struct):
    """Which secret: the org's, unless an agent is named."""

    key: str = ""
    agent: str = ""


class Asked(Named):
    """Which secret, and from where on its uses are listed."""

    before: int | None = None


class SecretForm(Named):
    """What is stored. Its value is in no page."""

    value: str = ""
    replace: bool = False  #: what is stored by this name


@route.get("/app/secrets", scope="secrets:read")
async def secrets_page(call: Call) -> Answer:
    """List the secrets, and what is missing."""
    found = await secret_views.views(call.org_id)
    needs = await secret_views.needs(call.org_id)
    return await page(
        call, "secrets.html", "secrets", secrets=found, needs=needs,
        summary=f"{len(found)} stored" + (f" · {len(needs)} missing" if needs else ""),
    )  # fmt: skip


@route.get("/app/secrets/new", scope="secrets:write", role=Role.ADMIN)
async def new_secret_page(call: Call, query: Named) -> Answer:
    """Show the form that stores a secret; where there is one by this name, the one that replaces it."""
    form = SecretForm(key=query.key, agent=query.agent)
    form.replace = query.key in (await vault.stored(call.org_id)).get(query.agent or None, ())
    return await _form(call, form, {}, is_replacing=form.replace)


@route.post("/app/secrets/new", feature="secrets", scope="secrets:write", role=Role.ADMIN, repeatable=False)
async def store_from_page(call: Call, form: SecretForm) -> Answer:
    """Store a secret and show its page, or the form again with what is wrong beside the field."""
    form.key, whose = form.key.strip(), form.agent or None
    errors = await _problems(call.org_id, form)
    if not errors:
        value = _pasted(form.value)
        try:
            await supplies.put_secret(call.org_id, form.key, value, agent_id=whose)
        except BadRequest as error:
            errors[error.field or "value"] = said(error)
        except CorralError as error:  # the master key is another one
            errors["value"] = said(error)
        else:
            warning = ordinary.warning(value)
            return await _show(
                call, await secret_views.view(call.org_id, form.key, whose), stored=True, warning=warning
            )
    return await _form(call, form, errors, status=400)


@route.get("/app/secrets/one", scope="secrets:read")
async def secret_page(call: Call, query: Asked) -> Answer:
    """Show one secret: what refers to it, and who was given it."""
    found = await secret_views.view(call.org_id, query.key, query.agent or None)
    return await _show(call, found, before=query.before)


@route.post("/app/secrets/delete", scope="secrets:write", role=Role.ADMIN, repeatable=False)
async def delete_from_page(call: Call, form: Named) -> Answer:
    """Delete a secret; what somebody else deleted a moment before is gone as well."""
    with contextlib.suppress(NotFound):
        await supplies.remove_secret(call.org_id, form.key, agent_id=form.agent or None)
    return redirect("/app/secrets")


def _command(verb: str, key: str, agent: str | None) -> str:
    """Return what does the same from a terminal."""
    return shlex.join(["corral", "secrets", verb, key, *(["--agent", agent] if agent else [])])


async def _problems(org_id: int, form: SecretForm) -> dict[str, str]:
    errors = {}
    if not re.fullmatch(vault.NAME.strip("^$"), form.key):
        errors["key"] = "Capital letters, digits and _, beginning with a letter."
    elif len(form.key) > vault.NAME_LONGEST:
        errors["key"] = f"At most {vault.NAME_LONGEST} characters, please."
    if form.agent and form.agent not in await roster.names(org_id):
        errors["agent"] = "There is no such agent any more."
    if not form.value:
        errors["value"] = "Paste the value."
    elif not errors and not form.replace and form.key in (await vault.stored(org_id)).get(form.agent or None, ()):
        errors["key"] = "There is one by this name. Say below that this takes its place, or choose another name."
    return errors


def _pasted(text: str) -> str:
    """Return a value as it was before the form: its own line ends, and none after a single line (as the CLI does)."""
    value = text.replace("\r\n", "\n")
    return value[:-1] if value.endswith("\n") and value.count("\n") == 1 and len(value) > 1 else value


async def _form(
    call: Call, form: SecretForm, errors: Mapping[str, str], *, is_replacing: bool = False, status: int = 200
) -> Answer:
    agents = list(reversed(await roster.page(call.org_id)))
    names = await roster.names(call.org_id)
    return await page(
        call, "secret_form.html", "secrets", status=status, path=_NEW,
        form=Named(form.key, form.agent), errors=errors, agents=agents, agent=names.get(form.agent),
        is_replacing=is_replacing or form.replace, exists="by this name" in errors.get("key", ""),
        command=f"{_command('set', form.key or 'NAME', names.get(form.agent))} < value.txt",
        back=secret_views.address("one", form.key, form.agent) if is_replacing else "/app/secrets",
    )  # fmt: skip


async def _show(
    call: Call, secret: SecretView, *, before: int | None = None, stored: bool = False, warning: str | None = None
) -> Answer:
    found = await vault.uses(call.org_id, secret.key, agent_id=secret.agent_id, limit=_USES + 1, before=before)
    older = f"{secret.path}&before={found[_USES - 1].no}" if len(found) > _USES else None
    return await page(
        call, "secret.html", "secrets", path=secret.path,
        secret=secret, uses=await secret_views.uses(call.org_id, found[:_USES]), older=older, before=before,
        needs=[need for need in await secret_views.needs(call.org_id) if need.key == secret.key],
        command=_command("uses", secret.key, secret.agent), stored=stored, warning=warning,
    )  # fmt: skip
