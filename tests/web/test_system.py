"""How the servers do: who is told what, and what they are advised."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corral.platform import keys
from corral.platform.database import commit, fetch, sql
from corral.platform.servers import Presence, ServerProcess
from corral.platform.settings import Settings
from corral.web.system import advice
from tests.support.http import Api
from tests.web.conftest import Person, Running
from tests.web.test_streams import launched, register


@pytest.fixture(scope="module")
def stranger(running: Running) -> Iterator[Api]:
    """A full key of another org."""
    token = keys.PREFIX + "of-an-org-that-is-a-guest"

    def unit() -> Iterator[object]:
        yield sql("INSERT INTO orgs (id, name, created_at) VALUES (79, 'guest', 0)")
        yield from keys.insert(79, name="k", scopes="*", user_id=None, token=token)

    running.do(commit(unit()))  # type: ignore[arg-type]
    with running.api(token) as caller:
        yield caller


def test_the_operators_admins_see_the_server_its_loops_and_their_queue(running: Running, full: Api) -> None:
    launched(full)
    register(full)
    found = full.get("/api/v1/system").raise_for_status().json()
    assert found["ready"] is True
    assert (found["database"], found["bus"]) == ("sqlite", "memory")
    assert found["queue"]["runs"]["queued"] >= 1
    assert found["queue"]["ready"] >= 1
    assert found["queue"]["runners_online"] == 1
    assert {loop["name"] for loop in found["loops"]} == {loop.name for loop in running.server.supervisor.loops}
    assert [(server["is_this"], server["is_there"]) for server in found["servers"]] == [(True, True)]
    assert found["servers"][0]["name"].endswith(f":{running.server.settings.port}")


def test_another_org_sees_its_own_queue_and_nothing_of_the_operators(full: Api, stranger: Api) -> None:
    launched(full)
    found = stranger.get("/api/v1/system").raise_for_status().json()
    assert found["ready"] is True
    assert (found["loops"], found["servers"], found["advice"]) == ([], [], [])
    assert set(found["queue"]["runs"].values()) == {0}
    assert (found["queue"]["ready"], found["queue"]["runners_online"]) == (0, 0)


def test_the_page_is_for_admins_and_others_are_not_led_to_it(person: Callable[[str], Person]) -> None:
    for role in ("owner", "admin"):
        someone = person(role)
        page = someone.get("/app/system")
        assert "Background work of this server" in page
        assert "Tables" in page
        assert ">1 h</td>" in page
        assert ">3600 s<" not in page
        assert 'href="/app/system"' in someone.get("/app/runs")
    for role in ("member", "viewer"):
        someone = person(role)
        someone.get("/app/system", status=403)
        assert 'href="/app/system"' not in someone.get("/app/runs")


def server(name: str, version: str = "1", *, is_there: bool = True) -> ServerProcess:
    return ServerProcess(name, name, version, 0, 0, is_there=is_there)


def test_what_should_be_set_otherwise_is_said_and_nothing_else(tmp_path: Path) -> None:
    alone, shared = Settings(data=tmp_path), Settings(data=tmp_path, database_url="postgres://x", secret_key="k")
    assert advice(alone, [server("a")]) == []
    assert advice(shared, [server("a"), server("b", "2", is_there=False)]) == []
    (said,) = advice(shared, [server("a"), server("b")])
    assert "CORRAL_REDIS_URL" in said
    (said,) = advice(dataclasses.replace(shared, redis_url="redis://x"), [server("a", "1"), server("b", "2")])
    assert "different versions (1, 2)" in said
    (said,) = advice(dataclasses.replace(alone, host="0.0.0.0"), [server("a")])
    assert "TLS" in said
    assert advice(dataclasses.replace(alone, public_url="https://corral.example.org"), [server("a")]) == []
    (tmp_path / "secret.key").touch()
    (said,) = advice(dataclasses.replace(alone, public_url="https://corral.example.org"), [server("a")])
    assert "CORRAL_SECRET_KEY_FILE" in said
    (said,) = advice(dataclasses.replace(shared, secret_key=""), [server("a")])
    assert "CORRAL_SECRET_KEY" in said
    (said,) = advice(dataclasses.replace(alone, rate_limit=0), [server("a")])
    assert "CORRAL_RATE_LIMIT" in said


def test_servers_of_one_database_see_each_other_come_and_go(running: Running) -> None:
    async def story() -> None:
        first, second = (Presence(Settings(data=Path(), database_url="postgres://x", port=port)) for port in (1, 2))
        for one in (first, second, first):
            await one.beat(0.0)
        assert [(one.id, one.is_there) for one in await first.all()] == [(first.id, True), (second.id, True)]
        await fetch("UPDATE servers SET seen_at = now_ms() - 60000 WHERE id = $1", second.id)
        assert [one.is_there for one in await first.all()] == [True, False]
        await fetch(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) "
            "INSERT INTO servers (id, name, version, started_at, seen_at) "
            "SELECT '00' || i, 'one that fails at each start', '1', 0, now_ms() - 600000 FROM n"
        )
        assert second.id in {one.id for one in await first.all()}
        await fetch("UPDATE servers SET seen_at = now_ms() - 7200000 WHERE id <> $1", first.id)
        await first.beat(0.0)
        assert [one.id for one in await first.all()] == [first.id]
        await second.beat(0.0)
        await second.leave()
        assert [one.id for one in await first.all()] == [first.id]
        await first.leave()

    running.do(story())
