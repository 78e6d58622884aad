"""Several servers on one PostgreSQL and one Redis are one Corral, whatever of it dies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import RunnerMaker, ServerMaker
from tests.flows.company import Company
from tests.flows.fleet import Fleet
from tests.support.cluster import Cluster
from tests.support.http import JSON, follow
from tests.support.model import Model
from tests.support.people import PASSWORD, newcomer, signed_in
from tests.support.postgres import Mortal
from tests.support.redis import Redis
from tests.support.server import Server
from tests.support.waiting import eventually

Pair = Callable[[], tuple[Server, Server]]


@pytest.fixture
def pair(migrated_postgres_url: str, redis: Redis, make_server: ServerMaker) -> tuple[Server, Server]:
    shared = {"CORRAL_DATABASE_URL": migrated_postgres_url, "CORRAL_REDIS_URL": redis.url}
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


@pytest.fixture
def fragile(own_redis: Redis, folder: Path) -> Iterator[tuple[Cluster, Mortal]]:
    """Three servers on a PostgreSQL and a Redis of this test's own."""
    database = Mortal()
    try:
        cluster = Cluster(folder, database.postgres, database.postgres.url("postgres"), own_redis.url)
        yield cluster.start(), database
        cluster.stop()
    finally:
        database.remove()


@pytest.mark.timeout(300)  # half a minute, where nothing else is at work
def test_nothing_is_lost_or_doubled_when_redis_and_a_server_and_postgresql_die_in_the_middle_of_everything(
    fragile: tuple[Cluster, Mortal], own_redis: Redis, start_runner: RunnerMaker, model: Model
) -> None:
    cluster, database = fragile
    machine = start_runner(cluster, name="machine", max_pods=6)
    company = Company(cluster, {"machine": machine}, model)  # type: ignore[arg-type] # it has what is asked of it
    go = machine.work / "go"
    steps = (
        f"%bash while [ ! -e {go} ]; do sleep 0.1; done %% %repeat 5 %% %bash echo {{{{turn}}}} %% %end %% %say done"
    )
    run = company.launch(steps, cwd=machine.work)
    asking = company.launch("%bash touch allowed %% %say it was allowed", cwd=machine.work, mode="default")
    approval = company.asked(asking)
    company.wait_event(run, "agent.tool_call")
    ada = company.agent("Ada", on="machine")

    with ThreadPoolExecutor(2) as threads:
        watching = [threads.submit(seen, company, one) for one in (run, asking)]

        # The bus forgets everything, and then is away: what needs it comes two seconds later.
        assert own_redis.process
        own_redis.process.kill()
        first = company.task(ada, "%say one")
        assert company.result(first) == "one"
        own_redis.process.start()

        # A server dies: who was connected to it goes to another.
        cluster.servers[0].kill()
        second = company.task(ada, "%say two")
        assert company.result(second) == "two"

        # The database crashes, while the run goes on.
        database.crash()
        go.touch()
        eventually(lambda: refused(company), what="requests are answered 503 with Retry-After")
        assert all(server.process.is_running() for server in cluster.servers[1:])
        database.start()
        eventually(lambda: company.api.get("/api/v1/runs").status_code == 200, what="the database is found again")
        cluster.servers[0].restart()
        eventually(lambda: company.answer(approval, "allow") in (200, 409), what="the approval is answered")
        third = company.task(ada, "%say three")
        assert company.result(third) == "three"

        for one, watched in zip((run, asking), watching, strict=True):
            company.completed(one)
            company.hold(one)
            assert watched.result(60) == list(range(1, len(company.events(one)) + 1))
            assert len(company.payloads(one, "run.started")) == 1
    assert len(company.payloads(run, "agent.tool_result")) == 6
    assert (machine.work / "allowed").exists()
    listed = company.api.get("/api/v1/runs", query={"limit": 100}).json()["data"]
    assert len(listed) == 5, "each task has had one run"
    assert all(cluster.balancer.served.values())
    company.api.close()


def seen(company: Company, run: str) -> list[int]:
    """The numbers of a run's events as a watcher gets them, who comes back whenever its stream breaks."""
    with company.server.api() as api:
        return [int(frame.id) for frame in follow(api, "/api/runs/:id/events/stream", run, within=120) if frame.id]


def refused(company: Company) -> bool:
    answer = company.api.get("/api/v1/runs", query={"limit": 1})
    return answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0


def test_six_runs_launched_through_both_share_the_last_cents(
    pair: tuple[Server, Server], start_runner: RunnerMaker, model: Model
) -> None:
    """Each is lent a cent and spends half of one: three are done when there is no cent left for another."""
    first, second = pair
    runner = start_runner(second, max_pods=8)
    fleets = [Fleet(first, runner, model), Fleet(second, runner, model)]
    one, two = fleets
    made = one.api.post("/api/budgets", body={"scope": "org", "limit_usd": 0.02, "period": "total", "name": "B"})
    assert made.status_code == 201, made.text
    changed = two.api.patch("/api/budgets/:id", made.json()["id"], body={"limit_usd": 0.02})  # now both know of it
    assert changed.status_code == 200
    script = "%usage in=0 out=500 read=0 write=0\n%say done"

    def launch(n: int) -> str:
        return fleets[n % 2].launch(f"{n}\n{script}", model="claude-sonnet-5")

    with ThreadPoolExecutor(6) as threads:
        runs = list(threads.map(launch, range(6)))

    def stand() -> JSON:
        found: JSON = two.api.get("/api/budgets").json()[0]
        return found

    def is_still() -> bool:
        states = [run["status"] for run in one.api.get("/api/v1/runs").raise_for_status().json()["data"]]
        return sorted(states) == ["COMPLETED"] * 3 + ["QUEUED"] * 3 and stand()["held_runs"] == 3

    eventually(is_still, within=60, what="three are done, and three wait for money")
    eventually(lambda: stand()["spent_usd"] == pytest.approx(0.015))
    held = [run for run in runs if one.run(run)["status"] == "QUEUED"]
    why = "budget B: too little is left of its $0.02 in all for a run to go on"  # half of the smallest coin
    eventually(lambda: {two.run(run)["reason"] for run in held} == {why}, what=why)
    assert two.api.patch("/api/budgets/:id", made.json()["id"], body={"limit_usd": 1}).status_code == 200
    for run in runs:
        one.completed(run)
    for fleet in fleets:
        fleet.api.close()
