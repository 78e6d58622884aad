"""Ready or not: what is looked at, what is said of it, and that it is so again when what was wrong is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from corral.base.errors import Unavailable
from corral.base.supervisor import Loop
from corral.platform.database import fetch
from tests.support.http import Api
from tests.support.waiting import eventually
from tests.web.conftest import Running

NAMES = ["serving", "database", "migrations", "bus", "loops"]


@pytest.fixture
def nobody(running: Running) -> Iterator[Api]:
    with running.api(None) as caller:
        yield caller


def looked(running: Running, **query: str) -> tuple[int, dict[str, Any]]:
    """What is answered to who asks now, whatever was answered a moment ago."""
    running.server.prober._last = None
    with running.api(None) as api:
        answer = api.get("/api/ready", query=query)
        return answer.status_code, answer.json()


def says(running: Running, name: str) -> str:
    """What is wrong with the one thing that is."""
    status, body = looked(running)
    assert status == 503
    assert body["ready"] is False
    (wrong,) = [check for check in body["checks"] if not check["ok"]]
    assert wrong["name"] == name
    return str(wrong["says"])


def test_a_server_that_has_all_it_needs_is_ready(running: Running) -> None:
    status, body = looked(running)
    assert (status, body["ready"]) == (200, True)
    assert [check["name"] for check in body["checks"]] == NAMES
    assert all(check["ok"] and check["says"] for check in body["checks"])
    assert body["database_ms"] < 2000


def test_every_loop_that_is_registered_is_looked_at(running: Running) -> None:
    loops = running.server.supervisor.loops
    assert {"reread", "leases", "mail", "pulse", "figures", "servers"} <= {loop.name for loop in loops}
    for loop in loops:
        failing, error = loop.failing, loop.error
        loop.failing, loop.error = 3, RuntimeError("not today")
        try:
            # It goes round once more by itself, perhaps: then it is well again, and is asked of again.
            assert eventually(lambda loop=loop: broken(running, loop), within=10)  # type: ignore[misc]
        finally:
            loop.failing, loop.error = failing, error
    assert looked(running)[0] == 200


def broken(running: Running, loop: Loop) -> bool:
    loop.failing, loop.error = 3, RuntimeError("not today")
    told = next(check["says"] for check in looked(running)[1]["checks"] if check["name"] == "loops")
    return bool(told == f"These fail again and again: {loop.name}")


def test_a_loop_that_hangs_is_named(running: Running) -> None:
    loop = next(one for one in running.server.supervisor.loops if one.name == "sweep")
    heard, loop.heard = loop.heard, time.monotonic() - 2 * loop.every
    try:
        assert says(running, "loops") == "These have not come to an end for long: sweep"
    finally:
        loop.heard = heard


def test_a_loop_that_wants_the_database_is_no_reason_of_its_own(running: Running) -> None:
    loop = next(one for one in running.server.supervisor.loops if one.name == "sweep")
    loop.failing, loop.error = 9, Unavailable()
    try:
        assert looked(running)[0] == 200
        loop.error = TimeoutError()
        assert "sweep" in says(running, "loops")
    finally:
        loop.failing, loop.error = 0, None


def test_a_migration_that_is_missing_is_told(running: Running) -> None:
    (row,) = running.do(fetch("DELETE FROM tortoise_migrations WHERE name = '0007_servers' RETURNING app, applied_at"))
    try:
        assert says(running, "migrations") == "1 migrations have not been applied; run `corral migrate`"
    finally:
        running.do(
            fetch(
                "INSERT INTO tortoise_migrations (app, name, applied_at) VALUES ($1, '0007_servers', $2)",
                row["app"],
                row["applied_at"],
            )
        )
    assert looked(running)[0] == 200


def test_who_asks_may_leave_out_what_does_not_matter_to_them(running: Running, nobody: Api) -> None:
    loop = next(one for one in running.server.supervisor.loops if one.name == "sweep")
    loop.failing, loop.error = 3, RuntimeError("x")
    try:
        assert looked(running, exclude="bus")[0] == 503
        status, body = looked(running, exclude="bus,loops")
        assert (status, [check["name"] for check in body["checks"]]) == (200, ["serving", "database", "migrations"])
    finally:
        loop.failing, loop.error = 0, None
    answer = nobody.get("/api/ready", query={"exclude": "redis"})
    assert answer.status_code == 400
    assert "exclude: there is no check 'redis'" in answer.text


def test_however_many_ask_the_database_is_asked_once_a_second(running: Running) -> None:
    prober, looks = running.server.prober, 0
    look = prober._look

    async def counted() -> Any:
        nonlocal looks
        looks += 1
        return await look()

    async def crowd() -> None:
        prober._last = None
        await asyncio.gather(*(prober.look() for _ in range(50)))

    prober._look = counted  # type: ignore[method-assign]
    try:
        running.do(crowd())
    finally:
        prober._look = look  # type: ignore[method-assign]
    assert looks == 1


def test_a_database_that_hangs_keeps_nobody_for_longer_than_the_first(running: Running) -> None:
    prober, looks = running.server.prober, 0
    look = prober._look

    async def hanging() -> Any:
        nonlocal looks
        looks += 1
        await asyncio.sleep(1.2)
        return await look()

    async def crowd() -> None:
        prober._last = None
        await asyncio.gather(*(prober.look() for _ in range(5)))

    prober._look = hanging  # type: ignore[method-assign]
    try:
        running.do(crowd())
    finally:
        prober._look = look  # type: ignore[method-assign]
    assert looks == 1
