"""What a server needs goes away and comes back: the database, the bus, the network."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import RunnerMaker, ServerMaker
from tests.flows.fleet import Fleet
from tests.support.http import follow
from tests.support.model import Model
from tests.support.postgres import Postgres
from tests.support.proxy import Proxy
from tests.support.redis import Redis
from tests.support.waiting import eventually

STEPS = "%repeat 6 %% %bash echo step-{{turn}}; sleep 0.4 %% %end %% %say all done"


class Away(Proxy):
    """The way to a PostgreSQL database, which can be cut."""

    def __init__(self, postgres: Postgres, url: str) -> None:
        super().__init__(postgres.port)
        self.url = url.replace(f":{postgres.port}/", f":{self.port}/")


@pytest.fixture
def away(postgres: Postgres, migrated_postgres_url: str) -> Iterator[Away]:
    proxy = Away(postgres, migrated_postgres_url)
    yield proxy
    proxy.stop()


def test_while_the_database_is_away_answers_are_503_and_runs_go_on(
    away: Away, make_server: ServerMaker, start_runner: RunnerMaker, model: Model
) -> None:
    server = make_server(env={"CORRAL_DATABASE_URL": away.url})
    fleet = Fleet(server, start_runner(server), model)
    run = fleet.launch(STEPS)
    fleet.wait_event(run, "agent.tool_result")
    away.cut()

    def refused() -> bool:
        answer = fleet.api.get("/api/v1/runs", query={"limit": 1})
        assert answer.status_code == 503, answer.text
        assert answer.json()["error"]["code"] == "UNAVAILABLE"
        return int(answer.headers["Retry-After"]) > 0

    eventually(refused, what="requests are answered 503")
    assert fleet.api.get("/api/health").json() == "ok"
    away.heal()
    fleet.completed(run)
    fleet.hold(run)
    assert len(fleet.payloads(run, "run.started")) == 1
    assert len(fleet.payloads(run, "agent.tool_result")) == 6


def test_redis_may_die_in_the_middle_of_everything(
    migrated_postgres_url: str, own_redis: Redis, make_server: ServerMaker, start_runner: RunnerMaker, model: Model
) -> None:
    server = make_server(env={"CORRAL_DATABASE_URL": migrated_postgres_url, "CORRAL_REDIS_URL": own_redis.url})
    fleet = Fleet(server, start_runner(server), model)
    run = fleet.launch(STEPS)
    fleet.wait_event(run, "agent.tool_result")
    assert own_redis.process
    own_redis.process.kill()
    later = fleet.launch("%say without a bus")
    types = [frame.json()["event_type"] for frame in follow(fleet.api, "/api/runs/:id/events/stream", run)]
    assert types[-1] == "run.completed"
    fleet.completed(later)
    own_redis.process.start()
    fleet.completed(fleet.launch("%say the bus is back"))
    for one in (run, later):
        fleet.hold(one)


def test_a_runner_whose_network_drops_goes_on_and_catches_up(
    start_runner: RunnerMaker, make_server: ServerMaker, model: Model
) -> None:
    server = make_server()
    proxy = Proxy(server.port)
    runner = start_runner(server, url=f"http://127.0.0.1:{proxy.port}")
    fleet = Fleet(server, runner, model)
    run = fleet.launch("%repeat 4 %% %bash sleep 0.5 %% %end %% %bash touch last %% %say all done")
    fleet.wait_event(run, "agent.tool_result")
    proxy.cut()
    seen = len(fleet.events(run))
    eventually((runner.work / "last").exists, what="the agent works on without a network")
    assert len(fleet.events(run)) <= seen + 1
    proxy.heal()
    fleet.completed(run)
    fleet.hold(run)
    assert len(fleet.payloads(run, "run.started")) == 1
    proxy.stop()
