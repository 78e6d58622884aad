"""Two servers on one PostgreSQL and one Redis are one Corral."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import RunnerMaker, ServerMaker
from tests.flows.fleet import Fleet
from tests.support.http import follow
from tests.support.model import Model
from tests.support.redis import Redis
from tests.support.server import Server

Pair = Callable[[], tuple[Server, Server]]


@pytest.fixture
def pair(make_server: ServerMaker, postgres_url: str, redis: Redis) -> tuple[Server, Server]:
    shared = {"CORRAL_DATABASE_URL": postgres_url, "CORRAL_REDIS_URL": redis.url}
    first = make_server(env=shared)
    second = make_server(env={**shared, "CORRAL_BOOTSTRAP_KEY": first.key})
    second.key = first.key
    return first, second


def test_a_run_launched_on_one_is_run_and_watched_and_cancelled_through_the_other(
    pair: tuple[Server, Server], start_runner: RunnerMaker, model: Model
) -> None:
    first, second = pair
    runner = start_runner(second)
    one, two = Fleet(first, runner, model), Fleet(second, runner, model)
    run = one.launch("%bash touch it %% %say through both", mode="default")
    assert one.answer(one.asked(run), "allow") == 200
    types = [frame.json()["event_type"] for frame in follow(one.api, "/api/runs/:id/events/stream", run)]
    assert types[-1] == "run.completed"
    assert two.text(run) == "through both"
    two.hold(run)
    stalled = two.launch("%stall")
    one.wait(stalled, "RUNNING")
    one.cancel(stalled)
    two.wait(stalled, "CANCELLED")
