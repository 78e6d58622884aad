"""What is done to a run: `POST /api/runs/:id/cancel` as Abbado has it, and a message to a live one."""

from __future__ import annotations

from tests.contract.conftest import ended, launched
from tests.support.http import JSON, Api
from tests.support.runner import Runner
from tests.support.waiting import eventually


def test_a_queued_run_is_cancelled_once(quiet: Api, queued: JSON) -> None:
    answer = quiet.post("/api/runs/:id/cancel", queued["id"])
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    assert quiet.get("/api/v1/runs/:id", queued["id"]).json()["status"] == "CANCELLED"
    again = quiet.post("/api/runs/:id/cancel", queued["id"])
    assert again.status_code == 409
    assert again.headers["Content-Type"].startswith("text/plain")


def test_a_running_run_is_cancelled(api: Api, shared_runner: Runner) -> None:
    run = launched(api, prompt="%stall", cwd=str(shared_runner.work))
    eventually(lambda: api.get("/api/v1/runs/:id", run["id"]).json()["status"] == "RUNNING")
    assert api.post("/api/runs/:id/cancel", run["id"]).json() == {"ok": True}
    done = ended(api, run["id"])
    assert done["status"] == "CANCELLED"
    assert done["logs"][-1]["kind"] == "error"


def test_a_completed_run_cannot_be_cancelled(api: Api, finished: JSON) -> None:
    answer = api.post("/api/runs/:id/cancel", finished["id"], headers={"Accept": "application/json"})
    assert answer.status_code == 409
    assert isinstance(answer.json()["error"], str)


def test_only_a_live_run_takes_a_message(quiet: Api, queued: JSON) -> None:
    refused = quiet.post("/api/runs/:id/message", queued["id"], body={"text": "hello"})
    assert refused.status_code == 409
    assert refused.headers["Content-Type"].startswith("text/plain")
    for body, field in (
        ({}, "text"),
        ({"text": ""}, "text"),
        ({"text": 7}, "text"),
        ({"text": "x", "colour": 1}, "colour"),
    ):
        answer = quiet.post("/api/runs/:id/message", queued["id"], body=body)
        assert answer.status_code == 400, body
        assert field in answer.text
