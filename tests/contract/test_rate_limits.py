"""120 requests a minute a key, on a server that has the default."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.contract.conftest import launched
from tests.support.cluster import Cluster
from tests.support.http import Api
from tests.support.server import Server


@pytest.fixture(scope="module")
def limited(session_folder: Path) -> Iterator[Server]:
    server = Server(session_folder / "limited")
    del server.process.env["CORRAL_RATE_LIMIT"]
    yield server.start()
    server.stop()


def fresh(server: Server) -> Api:
    """A caller with a key of its own, that nobody has used."""
    with server.api() as owner:
        return server.api(owner.post("/api/v1/keys", body={"name": "fresh", "scopes": ["*"]}).json()["key"])


def test_the_hundred_and_twenty_first_request_of_a_minute_is_refused(limited: Server) -> None:
    api = fresh(limited)
    answers = [api.get("/api/v1/runs", query={"limit": 1}) for _ in range(120)]
    assert {answer.status_code for answer in answers} == {200}
    assert answers[0].headers["RateLimit-Limit"] == "120"
    assert [int(answer.headers["RateLimit-Remaining"]) for answer in answers[:3]] == [119, 118, 117]
    assert 0 < int(answers[0].headers["RateLimit-Reset"]) <= 60
    refused = api.get("/api/v1/runs")
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "RATE_LIMITED"
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert refused.headers["RateLimit-Remaining"] == "0"
    # 429 comes before 404, 405 and 400, and after 401
    assert api.get("/api/v1/runs/:id", "unknown").status_code == 429
    assert api.call("DELETE", "/api/v1/runs").status_code == 429
    assert api.post("/api/v1/runs", raw="{").status_code == 429
    assert api.as_key("crl_live_unknown").get("/api/v1/runs").status_code == 401
    assert api.post("/api/run", body={"taskId": "unknown"}).status_code == 429  # a launch, although a stream follows
    # in the shape of each root
    plain = api.post("/api/runs/:id/cancel", "x")
    assert (plain.status_code, plain.headers["Content-Type"].partition(";")[0]) == (429, "text/plain")
    # another key, and what is open, go on
    assert fresh(limited).get("/api/v1/runs").status_code == 200
    assert api.get("/api/health").status_code == 200
    # runners and streams go on too
    assert api.post("/api/v1/runners/register", body={}).status_code == 400


def test_open_streams_and_the_runner_protocol_do_not_count(limited: Server) -> None:
    api = fresh(limited)
    run = launched(api, prompt="p", cwd="/srv")
    api.post("/api/runs/:id/cancel", run["id"])
    before = int(api.get("/api/v1/runs").headers["RateLimit-Remaining"])
    for _ in range(5):
        with api.stream("/api/runs/:id/events/stream", run["id"]) as response:
            response.read()
        api.post("/api/v1/runners/register", body={})
    assert int(api.get("/api/v1/runs").headers["RateLimit-Remaining"]) == before - 1


def test_of_240_requests_at_once_at_three_servers_exactly_120_pass(cluster: Cluster) -> None:
    with cluster.api() as owner:
        made = owner.post("/api/v1/keys", body={"name": "exact", "scopes": ["*"], "rate_limit": 120})
    before = dict(cluster.balancer.served)
    with cluster.api(made.json()["key"]) as api, ThreadPoolExecutor(40) as threads:
        answers = list(threads.map(lambda _: api.get("/api/v1/runs", query={"limit": 1}).status_code, range(240)))
    assert sorted(answers) == [200] * 120 + [429] * 120
    asked = [cluster.balancer.served[port] - before[port] for port in before]
    assert min(asked) >= 80  # a runner may call them meanwhile
