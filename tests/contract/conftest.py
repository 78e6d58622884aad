"""Servers for each worker, twice: single ones on SQLite, and orgs of three servers behind a proxy.

One has a real runner, one runners by hand, and a quiet one has none, so that what is queued there stays queued.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import make_runner, migrate
from tests.support.cluster import Cluster, Place, Tenant
from tests.support.http import JSON, Api
from tests.support.model import Model
from tests.support.postgres import Postgres
from tests.support.redis import Redis
from tests.support.runner import Runner
from tests.support.server import Server
from tests.support.waiting import eventually

ENDED = ("COMPLETED", "FAILED", "CANCELLED")


@pytest.fixture(scope="session", params=["one", "three"])
def house(request: pytest.FixtureRequest) -> str:
    """Whether it is one server on SQLite that answers, or any of three on one PostgreSQL and one Redis."""
    return str(request.param)


@pytest.fixture(scope="session")
def cluster(session_folder: Path, postgres: Postgres, redis: Redis) -> Iterator[Cluster]:
    """Three servers of this worker, with an org for each of the servers that they stand for."""
    with postgres.migrated(migrate) as url:
        made = Cluster(session_folder / "cluster", postgres, url, redis.url).start()
        yield made
        made.stop()


@pytest.fixture(scope="session")
def tenants(cluster: Cluster) -> dict[str, Tenant]:
    return {name: cluster.tenant(name) for name in ("shared", "by-hand")}


@pytest.fixture(scope="session")
def one_quiet_server(session_folder: Path) -> Iterator[Server]:
    server = Server(session_folder / "quiet").start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def quiet_server(house: str, request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue("cluster" if house == "three" else "one_quiet_server")
    return found


@pytest.fixture(scope="session")
def hand_server(house: str, request: pytest.FixtureRequest) -> Place:
    found: Place = (
        request.getfixturevalue("tenants")["by-hand"] if house == "three" else request.getfixturevalue("hand_server")
    )
    return found


@pytest.fixture(scope="session")
def shared_server(house: str, request: pytest.FixtureRequest) -> Place:
    found: Place = (
        request.getfixturevalue("tenants")["shared"] if house == "three" else request.getfixturevalue("shared_server")
    )
    return found


@pytest.fixture(scope="session")
def three_shared_runner(
    tenants: dict[str, Tenant], session_folder: Path, model: Model, claude_binary: Path
) -> Iterator[Runner]:
    tenant = tenants["shared"]
    runner = make_runner(session_folder / "runner-of-three", tenant, model, name="shared-runner", max_pods=8)
    runner.start()
    with tenant.api() as api:
        runner.wait_online(api)
    yield runner
    runner.stop()


@pytest.fixture(scope="session")
def shared_runner(house: str, request: pytest.FixtureRequest) -> Runner:
    found: Runner = request.getfixturevalue("three_shared_runner" if house == "three" else "shared_runner")
    return found


@pytest.fixture
def quiet(quiet_server: Server) -> Iterator[Api]:
    """A full-key caller of a server that no runner is connected to."""
    with quiet_server.api() as caller:
        yield caller


@pytest.fixture
def by_hand(hand_server: Server) -> Iterator[Api]:
    """A full-key caller of the server that tests connect runners of their own to."""
    with hand_server.api() as caller:
        yield caller


@pytest.fixture
def queued(quiet: Api) -> JSON:
    """A run that stays QUEUED."""
    return launched(quiet, prompt="wait for a runner", cwd="/nowhere/in/particular")


@pytest.fixture
def key_for(quiet: Api) -> Callable[..., Api]:
    """Make a key on the quiet server and return a caller that uses it: `key_for("runs:read")`."""

    def make(*scopes: str, **more: Any) -> Api:
        answer = quiet.post("/api/v1/keys", body={"name": "contract", "scopes": list(scopes), **more})
        assert answer.status_code == 201, answer.text
        return quiet.as_key(answer.json()["key"])

    return make


@pytest.fixture(scope="session")
def finished(shared_server: Server, shared_runner: Runner) -> JSON:
    """A run that a real Claude Code completed: it thought, edited a file and said so."""
    (shared_runner.work / "src").mkdir(exist_ok=True)
    (shared_runner.work / "src" / "app.ts").write_text("export {}\n")
    script = """Please edit the file.
%think I should read it first.
%tool Read {"file_path": "{{cwd}}/src/app.ts"}
%tool Edit {"file_path": "{{cwd}}/src/app.ts", "old_string": "export {}", "new_string": "export { x }"}
%say Adding the route… done
"""
    script = script.replace('"}\n%tool Edit', '"}\n%next\n%tool Edit')
    with shared_server.api() as caller:
        run = launched(caller, prompt=script, cwd=str(shared_runner.work), permissionMode="bypassPermissions")
        return ended(caller, run["id"])


def everywhere(condition: Callable[[], object]) -> None:
    """Wait until it holds at whichever server is asked: the others go by a change within a second, not at once.

    More often in a row than there are servers, because somebody else's request may take one's turn.
    """
    eventually(lambda: all(condition() for _ in range(6)), within=5)


def launched(api: Api, **fields: Any) -> JSON:
    answer = api.post("/api/v1/runs", body=fields)
    assert answer.status_code == 201, answer.text
    made: JSON = answer.json()
    return made


def ended(api: Api, run_id: str, within: float = 60) -> JSON:
    def look() -> JSON | None:
        run: JSON = api.get("/api/v1/runs/:id", run_id).raise_for_status().json()
        return run if run["status"] in ENDED else None

    run = eventually(look, within=within, what=f"run {run_id} ends")
    assert run
    return run
