"""How the server does, for whoever looks after it."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.http import Api
from tests.support.waiting import eventually


def test_a_server_that_has_what_it_needs_is_ready_and_says_so_to_anybody(quiet: Api) -> None:
    answer = eventually(lambda: quiet.as_key(None).get("/api/ready").raise_for_status())
    body = answer.json()
    assert body["ready"] is True
    assert [check["name"] for check in body["checks"]] == ["serving", "database", "migrations", "bus", "loops"]
    eventually(lambda: quiet.get("/api/ready", query={"exclude": "bus"}).json()["ready"] is True)
    assert quiet.get("/api/ready", query={"exclude": "moon"}).status_code == 400


def test_metrics_are_for_who_runs_the_server(quiet: Api, key_for: Callable[..., Api]) -> None:
    answer = quiet.get("/api/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert "\ncorral_build_info{" in answer.text
    assert quiet.as_key(None).get("/api/metrics").status_code == 401
    assert key_for("runs:read").get("/api/metrics").status_code == 403


def test_the_system_is_shown_to_admins(quiet: Api, key_for: Callable[..., Api]) -> None:
    body = quiet.get("/api/v1/system").raise_for_status().json()
    eventually(lambda: quiet.get("/api/v1/system").json()["ready"] is True)
    assert {"queued", "running", "waiting", "paused"} == set(body["queue"]["runs"])
    assert body["loops"]
    assert key_for("runs:read").get("/api/v1/system").status_code == 403
