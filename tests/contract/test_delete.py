"""`DELETE /api/runs/:id`, as Abbado has it: 204 without a body, and never a live run."""

from __future__ import annotations

from tests.contract.conftest import launched
from tests.support.http import JSON, Api
from tests.support.runner import Runner
from tests.support.waiting import eventually


def test_a_queued_run_is_deleted_and_then_unknown(quiet: Api, queued: JSON) -> None:
    answer = quiet.delete("/api/runs/:id", queued["id"])
    assert (answer.status_code, answer.content) == (204, b"")
    for gone in (
        quiet.get("/api/v1/runs/:id", queued["id"]),
        quiet.get("/api/runs/:id/events", queued["id"]),
        quiet.delete("/api/runs/:id", queued["id"]),
        quiet.post("/api/runs/:id/cancel", queued["id"]),
    ):
        assert gone.status_code == 404, gone.text
    assert queued["id"] not in quiet.get("/api/v1/runs").text


def test_a_live_run_is_cancelled_first_and_then_deleted(api: Api, shared_runner: Runner) -> None:
    run = launched(api, prompt="%stall", cwd=str(shared_runner.work))
    eventually(lambda: api.get("/api/v1/runs/:id", run["id"]).json()["status"] == "RUNNING")
    refused = api.delete("/api/runs/:id", run["id"])
    assert (refused.status_code, refused.text) == (409, "The run is running; cancel it first")
    assert api.post("/api/runs/:id/cancel", run["id"]).json() == {"ok": True}
    eventually(lambda: api.delete("/api/runs/:id", run["id"]).status_code == 204)
    assert api.get("/api/v1/runs/:id", run["id"]).status_code == 404
