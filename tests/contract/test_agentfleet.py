"""The AgentFleet reference: launch a run, tail it, follow up."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable

import pytest

from tests.contract.conftest import ended, launched
from tests.contract.reference import UUIDV7, assert_shape, curl
from tests.support.by_hand import ByHand
from tests.support.http import JSON, Api
from tests.support.runner import Runner

LAUNCH = r"""curl -X POST https://your-host/api/v1/runs \
-H "Authorization: Bearer af_live_..." \
-H "Content-Type: application/json" \
-d '{"prompt":"add a health check route","cwd":"C:\\Users\\you\\code\\api","permissionMode":"acceptEdits"}'"""

LAUNCHED = r"""{
"id": "clr...",
"status": "QUEUED",
"input": "add a health check route",
"cwd": "C:\\Users\\you\\code\\api",
"permissionMode": "acceptEdits",
"runnerId": "run_..."
}"""

EVENTS = r"""curl "https://your-host/api/v1/runs/clr.../events?after=0" \
-H "Authorization: Bearer af_live_..." """

EVENTS_ANSWER = """{ "data": [
{ "seq": 1, "kind": "system", "message": "session started" },
{ "seq": 2, "kind": "assistant", "message": "Adding the route…" },
{ "seq": 3, "kind": "tool_use", "message": "Edit src/app.ts" },
{ "seq": 4, "kind": "result", "message": "done" }
] }"""

FOLLOW_UP = r"""curl -X POST https://your-host/api/v1/runs/clr.../followup \
-H "Authorization: Bearer af_live_..." \
-H "Content-Type: application/json" \
-d '{"prompt":"now add a test for it"}'"""

FOLLOW_UP_ANSWER = """{ "id": "clr2...", "status": "QUEUED", "parentRunId": "clr..." }"""

UNAUTHORIZED = """{ "error": { "code": "UNAUTHORIZED", "message": "Authentication required" } }"""

RUN_FIELDS = {"id", "status", "input", "cwd", "permissionMode", "model", "runnerId", "parentRunId"}
KINDS = {"system", "assistant", "thinking", "tool_use", "tool_result", "attention", "user", "result", "error"}


def test_missing_credentials_get_the_envelope_of_the_reference(quiet: Api) -> None:
    answer = quiet.as_key(None).get("/api/v1/runners")
    assert answer.status_code == 401
    assert answer.json() == json.loads(UNAUTHORIZED)


def test_the_launch_of_the_reference_works_with_only_host_and_token_changed(quiet: Api) -> None:
    answer = curl(LAUNCH).send(quiet)
    assert answer.status_code == 201, answer.text
    run = answer.json()
    assert set(run) >= RUN_FIELDS
    assert_shape(run, LAUNCHED, nullable=("runnerId",))
    assert UUIDV7.fullmatch(run["id"])
    assert {name: run[name] for name in RUN_FIELDS - {"id"}} == {
        "status": "QUEUED",
        "input": "add a health check route",
        "cwd": "C:\\Users\\you\\code\\api",
        "permissionMode": "acceptEdits",
        "model": None,
        "runnerId": None,
        "parentRunId": None,
    }


@pytest.mark.parametrize("mode", ["default", "acceptEdits", "bypassPermissions", "plan"])
def test_a_run_keeps_its_permission_mode_and_model(quiet: Api, mode: str) -> None:
    run = launched(quiet, prompt="p", cwd="/srv", permissionMode=mode, model="claude-opus-4-5")
    shown = quiet.get("/api/v1/runs/:id", run["id"]).json()
    assert (shown["permissionMode"], shown["model"]) == (mode, "claude-opus-4-5")


def test_an_unknown_permission_mode_is_refused_by_name(quiet: Api) -> None:
    answer = quiet.post("/api/v1/runs", body={"prompt": "p", "cwd": "/srv", "permissionMode": "yolo"})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "BAD_REQUEST"
    assert "permissionMode" in answer.json()["error"]["message"]


def test_a_run_without_a_permission_mode_asks(quiet: Api) -> None:
    assert launched(quiet, prompt="p", cwd="/srv")["permissionMode"] == "default"


def test_a_finished_run_shows_its_logs_final_cost_and_token_usage(api: Api, finished: JSON) -> None:
    run = api.get("/api/v1/runs/:id", finished["id"]).json()
    assert run["status"] == "COMPLETED"
    assert set(run) >= RUN_FIELDS | {"logs", "costUsd", "usage"}
    assert run["costUsd"] > 0
    assert set(run["usage"]) == {"inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens"}
    assert run["usage"]["inputTokens"] > 0
    assert run["usage"]["outputTokens"] > 0
    events = api.get("/api/v1/runs/:id/events", run["id"]).json()["data"]
    assert run["logs"] == events


def test_the_events_of_the_reference_are_there_with_its_kinds_and_texts(api: Api, finished: JSON) -> None:
    answer = curl(EVENTS, **{"clr...": finished["id"]}).send(api)
    assert answer.status_code == 200
    assert_shape(answer.json(), EVENTS_ANSWER)
    events = answer.json()["data"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert {event["kind"] for event in events} <= KINDS
    assert all(set(event) >= {"seq", "kind", "message"} for event in events)
    told = {(event["kind"], event["message"]) for event in events}
    assert ("assistant", "Adding the route… done") in told
    assert ("thinking", "I should read it first.") in told
    calls = [message for kind, message in told if kind == "tool_use"]
    assert any(call.startswith("Edit ") and call.endswith("src/app.ts") for call in calls), calls
    assert any(kind == "tool_result" for kind, _ in told)
    assert events[0]["kind"] == "system"
    assert events[-1]["kind"] == "result"


def test_events_after_a_sequence_number_are_only_the_newer_ones(api: Api, finished: JSON) -> None:
    every = api.get("/api/v1/runs/:id/events", finished["id"], query={"after": 0}).json()["data"]
    newer = api.get("/api/v1/runs/:id/events", finished["id"], query={"after": 3}).json()["data"]
    assert newer == every[3:]
    assert api.get("/api/v1/runs/:id/events", finished["id"], query={"after": len(every)}).json() == {"data": []}
    some = api.get("/api/v1/runs/:id/events", finished["id"], query={"after": 1, "limit": 2}).json()["data"]
    assert some == every[1:3]


def test_a_follow_up_is_a_child_that_inherits_runner_directory_mode_and_model(api: Api, finished: JSON) -> None:
    answer = curl(FOLLOW_UP, **{"clr...": finished["id"]}).send(api)
    assert answer.status_code == 201, answer.text
    child = answer.json()
    assert_shape(child, FOLLOW_UP_ANSWER)
    assert child["id"] != finished["id"]
    assert (child["status"], child["parentRunId"]) == ("QUEUED", finished["id"])
    done = ended(api, child["id"])
    assert done["status"] == "COMPLETED"
    for inherited in ("runnerId", "cwd", "permissionMode", "model"):
        assert done[inherited] == finished[inherited]
    assert done["input"] == "now add a test for it"


def test_a_follow_up_of_a_live_run_is_a_conflict(quiet: Api, queued: JSON) -> None:
    answer = quiet.post("/api/v1/runs/:id/followup", queued["id"], body={"prompt": "and then"})
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "CONFLICT"


def test_a_follow_up_needs_a_prompt(quiet: Api, queued: JSON) -> None:
    answer = quiet.post("/api/v1/runs/:id/followup", queued["id"], body={})
    assert answer.status_code == 400
    assert "prompt" in answer.json()["error"]["message"]


def test_runs_are_listed_newest_first_as_data(quiet: Api) -> None:
    ids = [launched(quiet, prompt=f"p{n}", cwd="/srv")["id"] for n in range(3)]
    answer = quiet.get("/api/v1/runs")
    assert answer.status_code == 200
    listed = answer.json()["data"]
    # An agent may begin a run meanwhile.
    assert [run["id"] for run in listed if run["id"] in ids] == ids[::-1]
    assert set(listed[0]) >= RUN_FIELDS


@pytest.mark.parametrize("spelling", ["uid", "number", "digits"])
def test_a_run_can_be_pinned_to_a_runner_by_either_of_its_ids(by_hand: Api, spelling: str) -> None:
    hand = ByHand(by_hand, f"pinned-to-{uuid.uuid4().hex[:8]}")
    hand.register()
    named = {"uid": hand.card["uid"], "number": hand.id, "digits": str(hand.id)}[spelling]
    run = launched(by_hand, prompt="hi", cwd=hand.root, runnerId=named)
    assert run["runnerId"] == hand.card["uid"]
    assert hand.claim()["run_id"] == run["id"]


def test_a_run_pinned_to_an_unknown_runner_is_refused_by_name(quiet: Api) -> None:
    for unknown in ("0190f0f0-0000-7000-8000-000000000000", 999_999, "nonsense"):
        answer = quiet.post("/api/v1/runs", body={"prompt": "p", "cwd": "/srv", "runnerId": unknown})
        assert answer.status_code == 400, unknown
        assert "runnerId" in answer.json()["error"]["message"]


def test_a_directory_that_no_runner_allows_is_refused_by_name(api: Api, shared_runner: Runner) -> None:
    for outside in ("/", "/etc", f"{shared_runner.work}/../..", f"{shared_runner.work}-not"):
        answer = api.post("/api/v1/runs", body={"prompt": "p", "cwd": outside})
        assert answer.status_code == 400, outside
        assert "cwd" in answer.json()["error"]["message"]


def test_a_relative_directory_is_refused_by_name(quiet: Api) -> None:
    answer = quiet.post("/api/v1/runs", body={"prompt": "p", "cwd": "code/api"})
    assert answer.status_code == 400
    assert "cwd" in answer.json()["error"]["message"]


def test_runners_are_listed_and_shown_with_their_sessions(api: Api, shared_runner: Runner, finished: JSON) -> None:
    shown = shared(api, shared_runner)
    answer = api.get("/api/v1/runners/:id", shown["id"]).json()
    assert set(answer) == {"runner", "sessions"}
    assert answer["runner"]["name"] == "shared-runner"
    session = next(run for run in answer["sessions"] if run["id"] == finished["id"])
    assert set(session) >= RUN_FIELDS
    assert (session["status"], session["runnerId"]) == ("COMPLETED", shown["runnerId"])
    by_uid = api.get("/api/v1/runners/:id", shown["runnerId"]).json()["runner"]
    for name in ("id", "name", "runnerId", "labels", "max_pods", "created_at"):  # what no poll changes
        assert by_uid[name] == answer["runner"][name] == shown[name]


def test_reading_and_launching_need_their_scopes(key_for: Callable[..., Api], queued: JSON) -> None:
    reader, writer = key_for("runs:read"), key_for("runs:write")
    assert reader.get("/api/v1/runs").status_code == 200
    assert reader.get("/api/v1/runs/:id", queued["id"]).status_code == 200
    assert reader.get("/api/v1/runs/:id/events", queued["id"]).status_code == 200
    refused = reader.post("/api/v1/runs", body={"prompt": "p", "cwd": "/srv"})
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "FORBIDDEN"
    assert "runs:write" in refused.json()["error"]["message"]
    assert writer.post("/api/v1/runs", body={"prompt": "p", "cwd": "/srv"}).status_code == 201
    assert writer.get("/api/v1/runs").status_code == 403
    assert reader.get("/api/v1/runners").status_code == 403


def shared(api: Api, runner: Runner) -> JSON:
    runners: list[JSON] = api.get("/api/v1/runners").json()["runners"]
    return next(one for one in runners if one["name"] == runner.name)
