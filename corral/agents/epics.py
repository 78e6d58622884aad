"""Epics: tasks that belong together, and how far they are."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from corral.agents import models
from corral.base.errors import BadRequest, NotFound
from corral.base.ids import is_id
from corral.platform import audit, database
from corral.platform.database import Row, Unit, sql
from corral.runs.hints import Hints, decide


class Epic(msgspec.Struct, frozen=True):
    """An epic with its progress."""

    no: int
    id: str
    title: str
    description: str
    tasks: int  #: how many it has
    done: int  #: how many of them are done
    failed: int
    created_at: int
    updated_at: int


_EPICS = (
    "SELECT e.*, (SELECT count(*) FROM tasks t WHERE t.epic_id = e.id) AS tasks, "
    "(SELECT count(*) FROM tasks t WHERE t.epic_id = e.id AND t.status = 'done') AS done, "
    "(SELECT count(*) FROM tasks t WHERE t.epic_id = e.id AND t.status = 'error') AS failed "
    "FROM epics e WHERE e.org_id = $1"
)


async def page(org_id: int, *, limit: int = 1000, before: str | None = None) -> list[Epic]:
    """Return the org's epics, newest first; `before` is an epic's id, exclusive."""
    last = (await get(org_id, before, field="before")).no if before is not None else 1 << 62
    rows = await database.fetch(f"{_EPICS} AND e.no < $2 ORDER BY e.no DESC LIMIT $3", org_id, last, limit)
    return [_epic(row) for row in rows]


async def titles(org_id: int, ids: Iterable[str]) -> dict[str, str]:
    """Return what epics are called, by id."""
    return dict(await models.Epic.filter(org_id=org_id, id__in=list(ids)).values_list("id", "title"))


async def get(org_id: int, epic_id: str, *, field: str | None = None) -> Epic:
    """Return one epic; NotFound, or BadRequest about `field` where its id was part of a body."""
    rows = await database.fetch(f"{_EPICS} AND e.id = $2", org_id, epic_id) if is_id(epic_id) else ()
    if rows:
        return _epic(rows[0])
    if field is not None:
        raise BadRequest(f"{field}: there is no epic {epic_id} here", field=field)
    raise _unknown(epic_id)


def keep(org_id: int, epic_id: str | None) -> Unit[str | None]:
    """Let nobody delete an epic that a task is given until the commit; None if somebody has: tasks stay, without it."""
    lock = "" if database.dialect() == "sqlite" else " FOR SHARE"
    query = f"SELECT id FROM epics WHERE org_id = $1 AND id = $2{lock}"  # noqa: S608 - a constant
    rows = (yield sql(query, org_id, epic_id)) if epic_id is not None else ()
    return epic_id if rows else None


async def create(org_id: int, epic_id: str, title: str, description: str = "") -> Epic:
    """Add an epic; the same id twice is the same epic."""

    def unit() -> Unit[None]:
        made = yield sql(
            "INSERT INTO epics (id, org_id, title, description, created_at, updated_at) "
            "VALUES ($1, $2, $3, $4, now_ms(), now_ms()) ON CONFLICT (id) DO NOTHING RETURNING no",
            epic_id, org_id, title, description,
        )  # fmt: skip
        if made:
            yield from audit.note(org_id, "epic.created", "epic", epic_id, title=title)

    await database.commit(unit())
    return await get(org_id, epic_id)


async def update(org_id: int, epic_id: str, *, title: str | None = None, description: str | None = None) -> Epic:
    """Rename or describe an epic."""
    given = {name: value for name, value in (("title", title), ("description", description)) if value is not None}

    def unit() -> Unit[None]:
        rows = yield sql(
            "UPDATE epics SET title = title WHERE org_id = $1 AND id = $2 RETURNING title, description", org_id, epic_id
        )
        if not rows:
            raise _unknown(epic_id)
        yield sql(
            "UPDATE epics SET title = coalesce($2, title), description = coalesce($3, description), "
            "updated_at = now_ms() WHERE id = $1",
            epic_id,
            title,
            description,
        )
        if changed := audit.changes(rows[0], given, untold=("description",)):
            yield from audit.note(org_id, "epic.changed", "epic", epic_id, title=rows[0]["title"], **changed)

    await get(org_id, epic_id)
    await database.commit(unit())
    return await get(org_id, epic_id)


async def remove(org_id: int, epic_id: str) -> None:
    """Delete an epic; its tasks stay, without one."""
    await get(org_id, epic_id)

    def unit(_hints: Hints) -> Unit[None]:
        gone = yield sql("DELETE FROM epics WHERE org_id = $1 AND id = $2 RETURNING title", org_id, epic_id)
        if gone:
            yield from audit.note(org_id, "epic.deleted", "epic", epic_id, title=gone[0]["title"])
        yield sql("UPDATE tasks SET epic_id = NULL WHERE org_id = $1 AND epic_id = $2", org_id, epic_id)

    await decide(unit)


def _unknown(epic_id: str) -> NotFound:
    return NotFound(f"There is no epic {epic_id} here")


def _epic(row: Row) -> Epic:
    return Epic(*(row[name] for name in Epic.__struct_fields__))
