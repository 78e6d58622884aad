"""`POST /api/runs/:id/pause` and `/continue`, as Abbado has them."""

from __future__ import annotations

from tests.contract.conftest import ended, launched
from tests.support.http import JSON, Api
from tests.support.runner import Runner
from tests.support.waiting import eventually

#: Abbado's run object.
FIELDS = {
    "id",
    "project_id",
    "agent_id",
    "task",
    "status",
    "source_branch",
    "run_branch",
    "cli_name",
    "created_at",
    "updated_at",
    "tokens_in",
    "tokens_out",
    "cost_usd",
    "parent_run_id",
    "notify",
}


def status(api: Api, run_id: str) -> str:
    return str(api.get("/api/v1/runs/:id", run_id).json()["status"])


def test_a_run_is_paused_in_the_middle_of_a_turn_and_continued_to_its_end(api: Api, shared_runner: Runner) -> None:
    prompt = 'First this.\n%say One\n%tool Bash {"command": "tail -f /dev/null"}'
    run = launched(api, prompt=prompt, cwd=str(shared_runner.work), permissionMode="bypassPermissions")
    eventually(lambda: api.get("/api/v1/runs/:id", run["id"]).json()["logs"][-1]["kind"] == "tool_use")
    answer = api.post("/api/runs/:id/pause", run["id"])
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    eventually(lambda: status(api, run["id"]) == "PAUSED")
    assert api.get("/api/v1/runs/:id", run["id"]).json()["reason"] == "Paused by a person"
    again = api.post("/api/runs/:id/pause", run["id"])
    assert again.status_code == 409
    assert again.headers["Content-Type"].startswith("text/plain")
    answer = api.post("/api/runs/:id/continue", run["id"], body={"message": "Please also add tests.\n%say Added"})
    assert answer.status_code == 200
    shown: JSON = answer.json()
    assert set(shown) == FIELDS
    assert (shown["id"], shown["status"], shown["task"]) == (run["id"], "queued", run["input"])
    done = ended(api, run["id"])
    assert (done["status"], done["attempt"], done["logs"][-1]["message"]) == ("COMPLETED", 2, "Added")
    assert [entry["seq"] for entry in done["logs"]] == list(range(1, len(done["logs"]) + 1))
    assert "Please also add tests." in [e["message"].splitlines()[0] for e in done["logs"] if e["kind"] == "user"]


def test_a_completed_run_goes_on_with_a_message_in_its_own_log_and_session(api: Api, shared_runner: Runner) -> None:
    first = ended(api, launched(api, prompt="%say One", cwd=str(shared_runner.work))["id"])
    nothing = api.post("/api/runs/:id/continue", first["id"], body={})
    assert nothing.status_code == 400
    assert nothing.text.startswith("message: ")
    assert api.post("/api/runs/:id/continue", first["id"], body={"message": "And?\n%say Two"}).status_code == 200
    done = ended(api, first["id"])
    assert (done["attempt"], done["sessionId"]) == (2, first["sessionId"])
    said = [entry["message"] for entry in done["logs"] if entry["kind"] in {"assistant", "user", "result"}]
    assert said == ["One", "One", "And?\n%say Two", "Two", "Two"]
    assert done["endedAt"] > first["endedAt"]


def test_what_is_not_at_work_is_not_paused_and_what_has_no_session_is_not_continued(quiet: Api, queued: JSON) -> None:
    assert quiet.post("/api/runs/:id/pause", queued["id"]).status_code == 409
    live = quiet.post("/api/runs/:id/continue", queued["id"], body={"message": "go on"})
    assert (live.status_code, "queued" in live.text) == (409, True)
    quiet.post("/api/runs/:id/cancel", queued["id"])
    assert quiet.post("/api/runs/:id/pause", queued["id"]).status_code == 409
    for body in ({}, {"message": "go on"}):
        answer = quiet.post("/api/runs/:id/continue", queued["id"], body=body)
        assert (answer.status_code, "session" in answer.text) == (409, True)
    for wrong in ("", "  ", 7, None):
        answer = quiet.post("/api/runs/:id/continue", queued["id"], body={"message": wrong})
        assert answer.status_code == (409 if wrong is None else 400)
        assert wrong is None or "message" in answer.text
