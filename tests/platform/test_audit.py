"""The audit log: written with the change, never changed, deleted only when it is old."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from corral.base.errors import BadRequest
from corral.base.ids import new_id
from corral.platform import acting, audit, database
from corral.platform.acting import Acting
from corral.platform.audit import Only
from corral.platform.database import Unit, commit, fetch, sql
from corral.platform.settings import Settings, from_env

DAY = 24 * 3600 * 1000
pytestmark = pytest.mark.usefixtures("settings")


async def note(action: str = "thing.changed", target: str = "1", org: int = 1, **detail: Any) -> None:
    kind = action.partition(".")[0]  # any word will do here
    await commit(audit.note(org, action, kind, target, **detail))  # type: ignore[arg-type]


async def aged(days: float, org: int = 1) -> str:
    """A line as it was written so many days ago."""
    id_ = new_id()
    query = (
        "INSERT INTO audit (id, org_id, at, actor, action, target_kind, target_id, detail) "
        "VALUES ($1, $2, now_ms() - $3, 'corral', 'thing.made', 'thing', '1', '{}')"
    )
    await fetch(query, id_, org, int(days * DAY))
    return id_


async def listed(org: int = 1, **only: Any) -> list[str]:
    return [line.target_id for line in await audit.page(org, Only(**only), limit=100)]


async def test_a_line_says_who_did_what_to_what_when_and_from_where() -> None:
    began = await database.now()
    with acting.as_(Acting("user:7", "10.1.2.3", "request-1")):
        await note(
            "agent.changed",
            "a",
            **audit.changes({"name": "x", "role": "old"}, {"name": "y", "role": "new"}, untold=["role"]),
        )
    (line,) = await audit.page(1, Only(), limit=10)
    assert (line.actor, line.address, line.request_id) == ("user:7", "10.1.2.3", "request-1")
    assert (line.action, line.target_kind, line.target_id) == ("agent.changed", "agent", "a")
    assert line.detail == {"from": {"name": "x"}, "to": {"name": "y"}, "also": ["role"]}
    assert began <= line.at <= await database.now()


async def test_what_nobody_asked_for_the_platform_did() -> None:
    await note()
    (line,) = await audit.page(1, Only(), limit=10)
    assert (line.actor, line.address, line.request_id) == ("corral", None, None)


async def test_a_change_that_is_rolled_back_leaves_no_line_and_one_without_a_line_is_rolled_back() -> None:
    def fails_after() -> Unit[None]:
        yield sql("INSERT INTO orgs (id, name, created_at) VALUES (7, 'seven', 0)")
        yield from audit.note(7, "org.created", "org", "7")
        raise BadRequest("no")

    def fails_to_note() -> Unit[None]:
        yield sql("INSERT INTO orgs (id, name, created_at) VALUES (7, 'seven', 0)")
        yield sql("INSERT INTO audit (id) VALUES ('incomplete')")

    for unit in (fails_after, fails_to_note):
        with pytest.raises(Exception):  # noqa: B017, PT011 - each database has its own
            await commit(unit())
    assert not await audit.page(7, Only(), limit=10)
    assert not await fetch("SELECT 1 FROM orgs WHERE id = 7")


async def test_each_of_many_at_once_is_known_by_who_began_it() -> None:
    async def one(who: str) -> None:
        acting.begin(Acting(who))
        await asyncio.sleep(0)
        await note(target=who)

    await asyncio.gather(*(one(f"user:{n}") for n in range(20)))
    lines = await audit.page(1, Only(), limit=100)
    assert len(lines) == 20
    assert all(line.actor == line.target_id for line in lines)


async def test_who_acts_is_known_where_units_run_in_the_databases_thread(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    if settings.is_embedded:
        monkeypatch.setattr(database._embedded, "_waits", True)
    with acting.as_(Acting("user:7", "10.1.2.3")):
        await note()
    (line,) = await audit.page(1, Only(), limit=10)
    assert (line.actor, line.address) == ("user:7", "10.1.2.3")


async def test_who_is_of_another_org_is_its_operator_and_a_person_of_both_is_themself() -> None:
    with acting.as_(Acting("user:7", "10.1.2.3", "request-1", org_id=2)):
        await commit(audit.note(1, "secrets.rotated", "master_key", "k"))
        await commit(audit.note(1, "sign_in.ended", "user", "7", actor="user:7"))
    own, other = await audit.page(1, Only(), limit=10)
    assert (other.actor, other.address, other.request_id) == ("operator", None, None)
    assert (own.actor, own.address, own.request_id) == ("user:7", "10.1.2.3", "request-1")


async def test_no_line_is_changed_and_none_deleted_that_is_not_old(settings: Settings) -> None:
    await note(target="new")
    await aged(29)
    statements = [
        "UPDATE audit SET actor = 'user:nobody'",
        "DELETE FROM audit",
        "DELETE FROM audit WHERE target_id = 'new'",
        "INSERT INTO audit_floor (id, at) VALUES (1, now_ms())",
        f"INSERT INTO audit_floor (id, at) VALUES (1, now_ms() - {29 * DAY})",
    ]
    statements.append(
        "INSERT OR REPLACE INTO audit SELECT no, id, org_id, at, 'user:nobody', action, target_kind, target_id, "
        "address, request_id, detail FROM audit"
        if settings.is_embedded
        else "TRUNCATE audit"
    )
    before = await audit.page(1, Only(), limit=10)
    for statement in statements:
        with pytest.raises(Exception, match="audit log"):
            await fetch(statement)
    assert await audit.page(1, Only(), limit=10) == before


async def test_nor_by_a_shell_that_knows_nothing_of_corral(settings: Settings) -> None:
    if not settings.is_embedded:
        return
    await note(target="new")
    before = await audit.page(1, Only(), limit=10)
    with closing(sqlite3.connect(settings.data / "corral.db")) as shell:
        for what in ("no, id", "no + 1, id", "no, id || 'x'"):
            statement = (
                f"INSERT OR REPLACE INTO audit SELECT {what}, org_id, at, 'user:nobody', action, target_kind, "
                "target_id, address, request_id, detail FROM audit"
            )
            with pytest.raises(sqlite3.Error, match="audit log"):
                shell.execute(statement)
            shell.rollback()
    assert await audit.page(1, Only(), limit=10) == before


async def test_retention_deletes_what_is_old_and_only_that_from_however_many_servers() -> None:
    old = [await aged(days) for days in range(41, 460)]
    young = [await aged(39), await aged(0)]
    assert sum(await asyncio.gather(*(audit.keep(40) for _ in range(3)))) == len(old)
    assert {line.id for line in await audit.page(1, Only(), limit=1000)} == set(young)
    assert await audit.floor() <= await database.now() - 40 * DAY


async def test_who_reads_all_lines_comes_to_the_end_although_retention_deletes_what_was_read() -> None:
    old, young = [await aged(days) for days in (60, 50)], [await aged(30), await aged(10)]
    read = []
    async for page in audit.pages(1, Only(), size=3):
        read += [line.id for line in page]
        await audit.keep(40)
    assert read == [*young[::-1], old[1]]


async def test_without_a_number_of_days_lines_are_kept_for_ever() -> None:
    await aged(10_000)
    assert await audit.keep(0) == 0
    assert len(await audit.page(1, Only(), limit=10)) == 1


async def test_who_asks_to_keep_lines_for_longer_loses_none_more() -> None:
    await aged(100)
    await audit.keep(60)
    await aged(70)
    await aged(50)
    await audit.keep(90)
    assert len(await audit.page(1, Only(), limit=10)) == 1, "what is below the floor goes, however it came there"


async def test_lines_are_found_by_actor_action_target_and_time_and_page_by_page() -> None:
    for n in range(10):
        with acting.as_(Acting(f"user:{n % 2}")):
            await note("run.launched" if n < 5 else "key.made", f"t{n}")
    await note(target="theirs", org=2)
    assert await listed(actor="user:1") == ["t9", "t7", "t5", "t3", "t1"]
    assert await listed(action="key.made") == ["t9", "t8", "t7", "t6", "t5"]
    assert await listed(target_kind="run", actor="user:0") == ["t4", "t2", "t0"]
    assert await listed(target_id="t3") == ["t3"]
    assert await listed(org=2) == ["theirs"]
    first = await audit.page(1, Only(), limit=4)
    rest = await audit.page(1, Only(), limit=100, before=first[-1].id)
    assert [line.target_id for line in [*first, *rest]] == [f"t{n}" for n in reversed(range(10))]
    assert await listed(since=await database.now() + 1000) == []
    assert await listed(until=first[0].at + 1, since=rest[-1].at) == [f"t{n}" for n in reversed(range(10))]
    theirs = (await audit.page(2, Only(), limit=1))[0].id
    with pytest.raises(BadRequest, match="no line"):
        await audit.page(1, Only(), limit=1, before=theirs)


async def test_what_is_told_stays_small() -> None:
    await note(text="x" * 10_000)
    await note(many=["y" * 150] * 100)
    large, long = await audit.page(1, Only(), limit=2)
    assert long.detail["text"] == "x" * 199 + "…"
    assert large.detail == {"too_long": ["many"]}


def test_the_days_of_retention_are_none_or_at_least_thirty(tmp_path: Any) -> None:
    assert from_env({}, data=tmp_path).audit_days == 0
    assert from_env({"CORRAL_AUDIT_DAYS": "400"}, data=tmp_path).audit_days == 400
    with pytest.raises(BadRequest, match="at least 30"):
        from_env({"CORRAL_AUDIT_DAYS": "7"}, data=tmp_path)
