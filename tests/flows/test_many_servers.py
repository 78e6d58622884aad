"""Two servers on one PostgreSQL and one Redis are one Corral."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import RunnerMaker, ServerMaker
from tests.flows.fleet import Fleet
from tests.support.http import JSON, follow
from tests.support.model import Model
from tests.support.people import PASSWORD, newcomer, signed_in
from tests.support.redis import Redis
from tests.support.server import Server
from tests.support.waiting import eventually

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


def test_who_is_thrown_out_through_one_is_out_of_the_other_within_a_second(pair: tuple[Server, Server]) -> None:
    first, second = pair
    one, two = first.api(), second.api()
    ada = newcomer(one, "admin")
    there, key = signed_in(two, ada.email), two.as_key(ada.by_key().key)
    assert [api.get("/api/me").status_code for api in (ada, there, key)] == [200] * 3
    here = next(found["id"] for found in ada.get("/api/sign-ins").json() if not found["current"])
    assert ada.delete("/api/sign-ins/:id", here).status_code == 200
    eventually(lambda: there.get("/api/me").status_code == 401, within=1.5, every=0.1)
    assert one.patch("/api/people/:id", ada.id, body={"role": "viewer"}).status_code == 200
    eventually(lambda: key.get("/api/me").json()["role"] == "viewer", within=1.5, every=0.1)
    assert one.delete("/api/people/:id", ada.id).status_code == 200
    eventually(lambda: key.get("/api/me").status_code == 401, within=1.5, every=0.1)
    wrong = [{"email": "nobody@example.com", "password": PASSWORD}] * 11
    tried = [
        api.as_key(None).post("/api/sign-ins", body=body) for api, body in zip([one, two] * 6, wrong, strict=False)
    ]
    assert [answer.status_code for answer in tried] == [401] * 10 + [429]  # counted by both together
    assert int(tried[-1].headers["Retry-After"]) > 60


def test_ten_runs_launched_through_both_share_the_last_cents(
    pair: tuple[Server, Server], start_runner: RunnerMaker, model: Model
) -> None:
    """Each is lent a cent and spends half of one: seven are done when there is no cent left for another."""
    first, second = pair
    runner = start_runner(second, max_pods=8)
    fleets = [Fleet(first, runner, model), Fleet(second, runner, model)]
    one, two = fleets
    made = one.api.post("/api/budgets", body={"scope": "org", "limit_usd": 0.04, "period": "total", "name": "B"})
    assert made.status_code == 201, made.text
    changed = two.api.patch("/api/budgets/:id", made.json()["id"], body={"limit_usd": 0.04})  # now both know of it
    assert changed.status_code == 200
    script = "%usage in=0 out=500 read=0 write=0\n%say done"

    def launch(n: int) -> str:
        return fleets[n % 2].launch(f"{n}\n{script}", model="claude-sonnet-5")

    with ThreadPoolExecutor(10) as threads:
        runs = list(threads.map(launch, range(10)))

    def stand() -> JSON:
        found: JSON = two.api.get("/api/budgets").json()[0]
        return found

    def is_still() -> bool:
        states = [one.run(run)["status"] for run in runs]
        return sorted(states) == ["COMPLETED"] * 7 + ["QUEUED"] * 3 and stand()["held_runs"] == 3

    eventually(is_still, within=60, what="seven are done, and three wait for money")
    assert stand()["spent_usd"] == pytest.approx(0.035)
    held = [run for run in runs if one.run(run)["status"] == "QUEUED"]
    why = "budget B: too little is left of its $0.04 in all for a run to go on"  # half of the smallest coin
    eventually(lambda: {two.run(run)["reason"] for run in held} == {why}, what=why)
    assert two.api.patch("/api/budgets/:id", made.json()["id"], body={"limit_usd": 1}).status_code == 200
    for run in runs:
        one.completed(run)
    for fleet in fleets:
        fleet.api.close()
