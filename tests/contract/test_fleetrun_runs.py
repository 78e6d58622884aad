"""The Fleetrun reference: a task is executed, by a real Claude Code, and what that used."""

from __future__ import annotations

import uuid

import pytest

from tests.contract.fleetrun import EVENT_TYPES, UNKNOWN, USAGE_FIELDS, agent, refused, shown, task, told, worker
from tests.contract.reference import RFC3339
from tests.support.http import JSON, Api, frames
from tests.support.runner import Runner
from tests.support.server import Server
from tests.support.waiting import eventually

SCRIPT = """Please edit the file.
%think I should read it first.
%tool Read {"file_path": "{{cwd}}/notes.md"}
%say It says hello.
"""


@pytest.fixture(scope="module")
def executed(shared_server: Server, shared_runner: Runner) -> JSON:
    """A task that a real Claude Code carried out, and what its stream told."""
    (shared_runner.work / "notes.md").write_text("hello\n")
    with shared_server.api() as api:
        ada = worker(api, str(shared_runner.work), allowed_tools="Read")
        made = task(api, ada, input=SCRIPT)
        answer = api.post("/api/run", body={"taskId": made["id"]})
        return {"task": made, "agent": ada, "told": told(answer)}


def test_a_task_is_executed_and_streams_what_its_agent_does(api: Api, executed: JSON) -> None:
    stream = executed["told"]
    assert all(set(event) == {"type", "text"} for event in stream)
    assert {event["type"] for event in stream} <= EVENT_TYPES
    assert {"type": "thinking", "text": "I should read it first."} in stream
    calls = [event["text"] for event in stream if event["type"] == "tool_call"]
    assert [call.startswith("Read ") and call.endswith("notes.md") for call in calls] == [True]
    assert any("hello" in event["text"] for event in stream if event["type"] == "tool_result")
    outputs = [event["text"] for event in stream if event["type"] == "output"]
    assert outputs.count("It says hello.") == 1  # the final text is not told twice


def test_an_executed_task_has_its_full_log(api: Api, executed: JSON) -> None:
    detail = shown(api, executed["task"])
    assert (detail["status"], detail["result"]) == ("done", "It says hello.")
    assert [{"type": entry["type"], "text": entry["text"]} for entry in detail["log"]] == executed["told"]
    assert {entry["run_id"] for entry in detail["log"]} == {detail["run_id"]}
    assert all(RFC3339.fullmatch(entry["created_at"]) for entry in detail["log"])
    assert api.get("/api/v1/runs/:id", detail["run_id"]).json()["status"] == "COMPLETED"


def test_usage_is_summed_up_by_agent_model_and_day(api: Api, executed: JSON) -> None:
    answer = api.get("/api/usage", query={"agent": executed["agent"]["id"]})
    assert answer.status_code == 200, answer.text
    usage = answer.json()
    assert set(usage) >= USAGE_FIELDS
    assert usage["total_tokens"] > 0
    assert usage["task_count"] == 1
    [by_agent] = usage["by_agent"]
    assert (by_agent["agent_id"], by_agent["total_tokens"]) == (executed["agent"]["id"], usage["total_tokens"])
    for name in ("by_model", "daily_breakdown"):
        assert sum(one["total_tokens"] for one in usage[name]) == usage["total_tokens"]
    days = {
        period: len(api.get("/api/usage", query={"period": period}).json()["daily_breakdown"])
        for period in ("day", "week", "month")
    }
    assert days == {"day": 1, "week": 7, "month": 30}
    assert api.get("/api/usage", body={"period": "week"}).json()["total_tokens"] >= usage["total_tokens"]
    refused(api.get("/api/usage", query={"period": "year"}), 400, "period", "day, week, month")
    refused(api.get("/api/usage", query={"agent": UNKNOWN}), 400, "agent")


QUESTION = """Ask first.
%tool AskUserQuestion {"questions": [{"question": "Which?", "header": "Which", "multiSelect": false,
"options": [{"label": "a", "description": ""}, {"label": "b", "description": ""}]}]}
%say All said.
"""


def test_who_joins_a_live_run_sees_all_of_it_and_who_leaves_does_not_stop_it(api: Api, shared_runner: Runner) -> None:
    ada = worker(api, str(shared_runner.work))
    made = task(api, ada, input=QUESTION)
    with api.stream("/api/run", body={"taskId": made["id"]}) as response:
        first = next(frames(response)).json()
    run_id = shown(api, made)["run_id"]

    def asked() -> JSON | None:
        waiting = api.get("/api/approvals", query={"status": "pending"}).json()
        return next((one for one in waiting if one["run_id"] == run_id), None)

    approval = eventually(asked)
    assert approval
    assert shown(api, made)["status"] == "waiting"
    with api.stream("/api/run", body={"task_id": made["id"]}) as response:
        seen = frames(response)
        assert next(seen).json() == first
        api.post("/api/approvals/:id", approval["id"], body={"decision": "allow", "answers": {"Which?": "a"}})
        rest = [frame.json() for frame in seen]
    assert rest[-1] == {"type": "output", "text": "All said."}
    detail = shown(api, made)
    assert [{"type": entry["type"], "text": entry["text"]} for entry in detail["log"]] == [first, *rest]
    assert any(event["type"] == "tool_call" and "Which?" in event["text"] for event in (first, *rest))


def test_a_failed_run_tells_its_error_and_the_ended_task_is_executed_anew(api: Api, shared_runner: Runner) -> None:
    (shared_runner.work / "notes.md").write_text("hello\n")
    ada = worker(api, str(shared_runner.work), allowed_tools="Read", max_turns=1)
    made = task(api, ada, input=SCRIPT)
    stream = told(api.post("/api/run", body={"taskId": made["id"]}))
    assert stream[-1]["type"] == "error"
    before = shown(api, made)
    assert before["status"] == "error"
    api.patch("/api/agents/:id", ada["id"], body={"max_turns": None}).raise_for_status()
    again = told(api.post("/api/run", body={"taskId": made["id"]}))
    after = shown(api, made)
    assert after["run_id"] != before["run_id"]
    assert after["status"] == "done"
    assert [{"type": entry["type"], "text": entry["text"]} for entry in after["log"]] == [*stream, *again]


def test_a_task_that_is_not_there_is_not_executed(quiet: Api) -> None:
    for id_ in (UNKNOWN, "nonsense"):
        refused(quiet.post("/api/run", body={"taskId": id_}), 404)
    refused(quiet.post("/api/run", body={}), 400, "task")
    refused(quiet.post("/api/run", body={"taskId": 7}), 400, "taskId")
    gone = agent(quiet)
    made = task(quiet, gone)
    quiet.delete("/api/agents/:id", gone["id"])
    refused(quiet.post("/api/run", body={"taskId": made["id"]}), 409, "archived")


def test_one_idempotency_key_executes_once_and_is_answered_by_the_same_stream(quiet: Api) -> None:
    made, headers = task(quiet, worker(quiet)), {"Idempotency-Key": str(uuid.uuid4())}
    body = {"taskId": made["id"]}
    with quiet.stream("/api/run", body=body, headers=headers) as response:
        quiet.post("/api/tasks/:id/cancel", made["id"])
        first = told(response)
    with quiet.stream("/api/run", body=body, headers=headers) as response:
        assert told(response) == first
    assert len({entry["run_id"] for entry in shown(quiet, made)["log"]}) == 1
    other = task(quiet, worker(quiet))
    refused(quiet.post("/api/run", body={"taskId": other["id"]}, headers=headers), 409, "Idempotency-Key")
