"""Follow-ups resume the real CLI session; messages reach a live one."""

from __future__ import annotations

import json

from tests.flows.fleet import Fleet


def history(fleet: Fleet, run_id: str) -> str:
    """Everything the model was sent in the run's CLI session, in its latest request."""
    session = fleet.payloads(run_id, "session.init")[-1]["session_id"]
    sent = [
        one
        for one in fleet.model.requests(path="/v1/messages")
        if session in json.dumps(one["body"].get("metadata", {})) or session in json.dumps(one["headers"])
    ]
    return json.dumps(sent[-1]["body"]["messages"])


def test_a_follow_up_resumes_the_session_with_its_history_and_a_second_one_forks_it(fleet: Fleet) -> None:
    first = fleet.launch("My name is Ada. %% %say Hello Ada.", model="claude-haiku-4-5")
    parent = fleet.completed(first)
    second = fleet.follow_up(first, "What is my name? %% %say You are Ada.")
    child = fleet.completed(second)
    assert child["parentRunId"] == first
    for inherited in ("runnerId", "cwd", "permissionMode", "model"):
        assert child[inherited] == parent[inherited]
    sessions = [fleet.payloads(run, "session.init")[-1]["session_id"] for run in (first, second)]
    assert sessions[0] == sessions[1]
    told = history(fleet, second)
    assert "My name is Ada." in told
    assert "Hello Ada." in told
    assert "What is my name?" in told
    third = fleet.follow_up(first, "Second branch. %% %say You are Ada still.")
    fleet.completed(third)
    assert fleet.payloads(third, "session.init")[-1]["session_id"] != sessions[0]
    told = history(fleet, third)
    assert "My name is Ada." in told
    assert "Second branch." in told


def test_a_follow_up_of_a_failed_run_goes_on_with_its_session(fleet: Fleet) -> None:
    first = fleet.launch("Remember the horse. %% %bash echo 1 %% %error 400 broken")
    fleet.wait(first, "FAILED")
    second = fleet.follow_up(first, "%say again")
    fleet.completed(second)
    assert "Remember the horse." in history(fleet, second)


def test_a_live_run_takes_messages_and_no_follow_up_and_an_ended_one_no_message(fleet: Fleet) -> None:
    heard = fleet.runner.work / "heard"
    run = fleet.launch(f"%keep\n%bash while [ ! -e {heard} ]; do sleep 0.05; done\n%say I heard: {{{{user}}}}")
    fleet.wait_event(run, "agent.tool_call")
    early = fleet.api.post("/api/v1/runs/:id/followup", run, body={"prompt": "and"})
    assert early.status_code == 409
    answer = fleet.api.post("/api/runs/:id/message", run, body={"text": "use the blue one"})
    assert answer.status_code in (200, 201), answer.text
    fleet.wait_event(run, "user.message")  # it has reached the machine
    heard.touch()
    fleet.completed(run)
    assert fleet.payloads(run, "user.message")[-1]["text"] == "use the blue one"
    assert "use the blue one" in history(fleet, run)
    assert fleet.api.post("/api/runs/:id/message", run, body={"text": "too late"}).status_code == 409
