"""What is decided about a key, a run's token or a limit on one server holds on the others, within a second."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.support.by_hand import ByHand
from tests.support.http import JSON, Api
from tests.support.postgres import Postgres
from tests.support.redis import Redis
from tests.support.server import Server
from tests.support.waiting import PATIENCE, eventually, never

#: Seconds in which every server knows, with some for a machine that has much else to do.
KNOWN = 1.0 + 1.0 * PATIENCE


@pytest.fixture(scope="module")
def servers(session_folder: Path, postgres: Postgres, redis: Redis) -> Iterator[list[Server]]:
    """Three servers on one PostgreSQL and one Redis. Make keys of your own in them."""
    made: list[Server] = []
    with postgres.database() as url:
        shared = {"CORRAL_DATABASE_URL": url, "CORRAL_REDIS_URL": redis.url}
        for n in range(3):
            key = {"CORRAL_BOOTSTRAP_KEY": made[0].key} if made else {}
            made.append(Server(session_folder / f"everywhere{n}", env={**shared, **key}))
            made[-1].key = made[0].key
            made[-1].start()
        yield made
        for server in made:
            server.stop()


def key(server: Server, **fields: object) -> JSON:
    with server.api() as api:
        answer = api.post("/api/v1/keys", body={"name": "k", "scopes": ["*"], **fields})
        assert answer.status_code == 201, answer.text
        made: JSON = answer.json()
        return made


def test_of_240_requests_at_once_at_three_servers_120_pass(servers: list[Server]) -> None:
    made = key(servers[0], rate_limit=120)
    headers = {"Authorization": f"Bearer {made['key']}"}
    with (
        ThreadPoolExecutor(24) as threads,
        httpx.Client(headers=headers, timeout=60 * PATIENCE, trust_env=False) as client,
    ):
        urls = [f"{servers[n % 3].url}/api/me" for n in range(240)]
        answers = list(threads.map(client.get, urls))
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(200), statuses.count(429)) == (120, 120)
    assert all(0 < int(answer.headers["Retry-After"]) <= 60 for answer in answers if answer.status_code == 429)
    left = sorted(int(answer.headers["RateLimit-Remaining"]) for answer in answers if answer.status_code == 200)
    assert left == list(range(120))


def test_a_revoked_key_is_refused_by_every_server_within_a_second(servers: list[Server]) -> None:
    made = key(servers[0])
    apis = [server.api(made["key"]) for server in servers]
    assert {api.get("/api/me").status_code for api in apis} == {200}
    with servers[0].api() as owner:
        assert owner.delete("/api/v1/keys/:id", made["id"]).status_code == 200
    began = time.monotonic()
    eventually(lambda: {api.get("/api/me").status_code for api in apis} == {401}, what="all refuse it")
    assert time.monotonic() - began < KNOWN
    for api in apis:
        api.close()


def test_a_poll_that_waits_at_another_server_ends_with_its_key(servers: list[Server]) -> None:
    made = key(servers[0], scopes=["runner"])
    machine = ByHand(servers[1].api(made["key"]), "waits-elsewhere")
    machine.register()
    with ThreadPoolExecutor(1) as threads, servers[0].api() as owner:
        body = {"session": machine.session, "poll_no": 1, "free_slots": 2, "wait_seconds": 25}
        poll = threads.submit(machine.api.post, "/api/v1/runners/:id/poll", machine.id, body=body)
        never(poll.done, what="the poll has nothing to wait for")
        began = time.monotonic()
        assert owner.delete("/api/v1/keys/:id", made["id"]).status_code == 200
        run = owner.post("/api/v1/runs", body={"prompt": "p", "cwd": machine.root}).json()
        assert poll.result(40 * PATIENCE).status_code == 401
        assert time.monotonic() - began < KNOWN + 2
        assert owner.get("/api/v1/runs/:id", run["id"]).json()["status"] == "QUEUED"
        assert owner.post("/api/runs/:id/cancel", run["id"]).status_code == 200


def test_a_changed_limit_holds_on_every_server_within_a_second(servers: list[Server]) -> None:
    made = key(servers[0], rate_limit=50)
    apis = [server.api(made["key"]) for server in servers]
    assert [api.get("/api/me").headers["RateLimit-Remaining"] for api in apis] == ["49", "48", "47"]
    with servers[2].api() as owner:
        assert owner.patch("/api/v1/keys/:id", made["id"], body={"rate_limit": 40}).status_code == 200
    began = time.monotonic()
    eventually(
        lambda: {api.get("/api/me").headers["RateLimit-Limit"] for api in apis} == {"40"},
        what="all go by the new limit",
    )
    assert time.monotonic() - began < KNOWN
    for api in apis:
        api.close()


def test_a_runs_token_is_dead_on_every_server_when_its_run_has_ended(servers: list[Server]) -> None:
    with servers[0].api() as api:
        machine = ByHand(api, "ends")
        machine.register()
        claimed = machine.working()
        call = {"call_id": "c", "input": {}, "wait_seconds": 0}
        token = machine.tools(claimed).key
        tools: list[Api] = [server.api(token) for server in servers]
        assert {one.post("/api/v1/tools/:name", "list_agents", body=call).status_code for one in tools} == {200}
        assert machine.send(claimed, (2, "run.completed", {"text": "done"})) == (200, {"n": 2})
        assert {one.post("/api/v1/tools/:name", "list_agents", body=call).status_code for one in tools} == {401}
        for one in tools:
            one.close()
