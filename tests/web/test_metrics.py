"""What Prometheus reads: by whom, that it can be parsed, and that nothing is in it that is nobody's business."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from corral.platform import keys
from corral.platform.database import commit, sql
from corral.runs import figures
from tests.support.http import Api
from tests.web.conftest import Running
from tests.web.test_streams import launched, register

DOCS = Path(__file__).parents[2] / "docs" / "monitoring.md"
ALERTS = Path(__file__).parents[2] / "deploy" / "prometheus-alerts.yml"
TOKEN = "a-token-for-prometheus"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    made = Running(tmp_path_factory.mktemp("metrics"), metrics_token=TOKEN)
    yield made
    made.stop()


def scraped(running: Running) -> httpx.Response:
    with running.api(TOKEN) as prometheus:
        return prometheus.get("/api/metrics").raise_for_status()


def values(running: Running) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample, by name and labels."""
    families = text_string_to_metric_families(scraped(running).text)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def value(running: Running, name: str, **labels: str) -> float:
    return values(running).get((name, frozenset(labels.items())), 0.0)


def test_the_operators_token_and_an_owners_full_key_may_read_them(running: Running, full: Api) -> None:
    answer = scraped(running)
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert full.get("/api/metrics").status_code == 200
    weaker = full.post("/api/v1/keys", body={"name": "k", "scopes": ["runners:read", "keys:read"]}).json()["key"]
    for key, status in ((None, 401), (TOKEN + "x", 401), (TOKEN[:-1], 401), (weaker, 403)):
        with running.api(key) as other:
            assert other.get("/api/metrics").status_code == status
    unreadable = {b"Authorization": b"Bearer \xff"}
    assert httpx.get(f"{running.server.settings.url}/api/metrics", headers=unreadable, timeout=60).status_code == 401


def test_the_token_opens_nothing_else(running: Running) -> None:
    with running.api(TOKEN) as prometheus:
        for path in ("/api/v1/runs", "/api/me", "/api/v1/system", "/api/v1/keys"):
            assert prometheus.get(path).status_code == 401
    answer = httpx.get(
        running.server.settings.url + "/api/metrics", headers=[(b"Authorization", b"Bearer \xff")], timeout=60
    )
    assert answer.status_code == 401


def test_a_token_that_is_no_text_is_not_the_right_one(running: Running) -> None:
    headers = {b"Authorization": b"Bearer " + TOKEN.encode() + b"\xff"}
    with running.api(None) as nobody:
        assert nobody.client.get("/api/metrics", headers=headers).status_code == 401


def test_another_orgs_owner_may_not_read_them(running: Running) -> None:
    token = keys.PREFIX + "of-an-org-that-runs-no-servers"

    def unit() -> Iterator[object]:
        yield sql("INSERT INTO orgs (id, name, created_at) VALUES (78, 'other', 0)")
        yield from keys.insert(78, name="k", scopes="*", user_id=None, token=token)

    running.do(commit(unit()))  # type: ignore[arg-type]
    with running.api(token) as other:
        answer = other.get("/api/metrics")
        assert answer.status_code == 403
        assert "those who run the servers" in answer.text


def test_a_request_is_counted_under_its_route_and_a_path_of_nobody_under_none(running: Running, full: Api) -> None:
    run = launched(full)
    shown = {"method": "GET", "route": "/api/v1/runs/<id>"}
    before, nowhere = value(running, "corral_http_requests_total", **shown, status="200"), {"method": "GET"}
    assert full.get("/api/v1/runs/:id", run).status_code == 200
    assert full.get("/api/v1/runs/:id", "0190f0f0-0000-7000-8000-000000000000").status_code == 404
    for index in range(20):
        assert full.call("GET", f"/api/no-such-thing-{index}").status_code == 404
    for index in range(5):
        full.call(f"BREW{index}", "/api/v1/runs")
    found = values(running)
    assert found["corral_http_requests_total", frozenset({**shown, "status": "200"}.items())] == before + 1
    assert found["corral_http_requests_total", frozenset({**shown, "status": "404"}.items())] >= 1
    assert found["corral_http_request_seconds_count", frozenset(shown.items())] >= 2
    nowhere |= {"route": "(none)", "status": "404"}
    assert found["corral_http_requests_total", frozenset(nowhere.items())] >= 20
    routes = {dict(labels)["route"] for name, labels in found if name == "corral_http_requests_total"}
    assert routes <= {route.path for route in running.server.table.routes} | {"(none)"}
    methods = {dict(labels)["method"] for name, labels in found if name == "corral_http_requests_total"}
    assert methods <= {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"}


def test_runs_are_counted_from_their_launch_to_their_end(running: Running, full: Api) -> None:
    before = values(running)

    def more(name: str, **labels: str) -> float:
        key = (name, frozenset(labels.items()))
        return after.get(key, 0.0) - before.get(key, 0.0)

    run = launched(full)
    running.do(figures.reread(0.0))
    after = values(running)
    assert more("corral_runs_launched_total") == 1
    assert after["corral_runs", frozenset({("status", "queued")})] >= 1
    assert after["corral_queue_ready", frozenset()] >= 1
    session = register(full)
    poll = {"session": session, "poll_no": 1, "free_slots": 100, "wait_seconds": 0}
    given = full.post("/api/v1/runners/:id/poll", 1, body=poll).json()["assignments"]
    work = next(one for one in given if one["run_id"] == run)
    batch = {
        "attempt": work["attempt"],
        "lease": work["lease"],
        "events": [
            {"n": 1, "type": "run.started", "payload": {}, "age": 0},
            {"n": 2, "type": "run.completed", "payload": {"text": "done"}, "age": 0},
        ],
    }
    for _ in range(2):  # the second tells nothing new
        assert full.post("/api/v1/runs/:id/events", run, body=batch).status_code == 200
    assert full.post("/api/v1/runs/:id/events", run, body={**batch, "lease": "another"}).status_code == 409
    after = values(running)
    assert more("corral_claims_total") == len(given)
    assert more("corral_ingest_events_total") == 2
    assert [more("corral_ingest_batches_total", outcome=how) for how in ("stored", "repeated", "fenced")] == [1, 1, 1]
    assert more("corral_runs_ended_total", status="completed") == 1
    running.do(figures.reread(0.0))
    after = values(running)
    assert after["corral_runners", frozenset({("state", "online")})] == 1
    assert after["corral_runner_slots", frozenset()] == 1000


def test_it_holds_no_key_no_id_and_no_name(running: Running, full: Api) -> None:
    run = launched(full)
    full.call("GET", f"/api/runs/{run}/events?after=1", headers={"X-Request-Id": "request-0815"})
    full.call("GET", "/secret-path/with-a-secret")
    text = scraped(running).text
    me = full.get("/api/me").json()
    for private in (run, me["id"], me["name"], str(full.key), TOKEN, "secret-path", "request-0815"):
        assert private not in text
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-7", text)
    labels = set(re.findall(r'[{,](\w+)="', text))
    assert labels <= {
        "method", "route", "status", "le", "kind", "outcome", "provider", "check", "loop", "state",
        "version", "python", "database",
    }  # fmt: skip


def test_every_metric_is_told_of_in_the_documentation_and_every_alarm_is_about_one(running: Running) -> None:
    documented = set(re.findall(r"`((?:corral|process)_\w+)`", DOCS.read_text()))
    families = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in text_string_to_metric_families(scraped(running).text)
    }
    postgres_alone = {"corral_database_connections"}
    assert families <= documented
    assert documented - families <= postgres_alone
    used = set(re.findall(r"corral_\w+", ALERTS.read_text()))
    known = documented | {f"{name}_{part}" for name in documented for part in ("bucket", "count", "sum")}
    assert used <= known
    alarms = set(re.findall(r"alert: (\w+)", ALERTS.read_text()))
    assert alarms == set(re.findall(r"\| `(Corral\w+)`", DOCS.read_text()))


def test_a_rate_can_be_taken_of_what_has_not_happened_yet(running: Running) -> None:
    found = {name for name, _ in values(running)}
    assert {"corral_messages_dead_total", "corral_database_unavailable_total", "corral_limit_refusals_total"} <= found
    assert {"corral_event_loop_lag_seconds_count", "corral_loop_rounds_total", "corral_ready"} <= found
