"""Approvals: what an agent may not do unasked, listed and answered once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.contract.conftest import ended, launched
from tests.contract.reference import RFC3339, UUIDV7
from tests.support.http import JSON, Api
from tests.support.runner import Runner
from tests.support.waiting import eventually

UNKNOWN = "0190f0f0-0000-7000-8000-000000000000"
FIELDS = {"id", "run_id", "kind", "tool", "input", "cwd", "status", "created_at", "expires_at"}


def pending(api: Api, run_id: str) -> JSON:
    def look() -> JSON | None:
        return next((one for one in listed(api) if one["run_id"] == run_id and one["status"] == "pending"), None)

    found = eventually(look, what=f"run {run_id} asks")
    assert found
    return found


def listed(api: Api) -> list[JSON]:
    answer = api.get("/api/approvals")
    assert answer.status_code == 200, answer.text
    found: list[JSON] = answer.json()
    return found


def test_an_approval_is_listed_and_answered_once(api: Api, shared_runner: Runner) -> None:
    run = launched(api, prompt="%bash touch approved.txt %% %say did it", cwd=str(shared_runner.work))
    asked = pending(api, run["id"])
    assert set(asked) >= FIELDS
    assert UUIDV7.fullmatch(asked["id"])
    assert (asked["kind"], asked["tool"], asked["status"]) == ("tool", "Bash", "pending")
    assert asked["input"]["command"] == "touch approved.txt"
    assert asked["cwd"] == str(shared_runner.work)
    assert RFC3339.fullmatch(asked["created_at"])
    assert RFC3339.fullmatch(asked["expires_at"])
    assert api.get("/api/v1/runs/:id", run["id"]).json()["status"] == "WAITING"
    assert api.get("/api/approvals/:id", asked["id"]).json() == asked
    answer = api.post("/api/approvals/:id", asked["id"], body={"decision": "allow"})
    assert answer.status_code == 200, answer.text
    again = api.post("/api/approvals/:id", asked["id"], body={"decision": "deny"})
    assert again.status_code == 409
    assert isinstance(again.json()["error"], str)
    done = ended(api, run["id"])
    assert done["status"] == "COMPLETED"
    assert (shared_runner.work / "approved.txt").exists()
    kinds = [event["kind"] for event in done["logs"]]
    assert "attention" in kinds


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "decision"),
        ({"decision": "maybe"}, "decision"),
        ({"decision": True}, "decision"),
        ({"decision": "deny", "reason": 7}, "reason"),
        ({"decision": "deny", "reason": "x" * 100_000}, "reason"),
        ({"decision": "allow", "answers": ["yes"]}, "answers"),
        ({"decision": "allow", "colour": "red"}, "colour"),
    ],
)
def test_a_bad_answer_is_refused_by_field_before_the_approval_is_looked_for(quiet: Api, body: JSON, field: str) -> None:
    answer = quiet.post("/api/approvals/:id", UNKNOWN, body=body)
    assert answer.status_code == 400, answer.text
    assert field in answer.json()["error"]


@pytest.mark.parametrize("id_", [UNKNOWN, "nonsense", "%00"])
def test_an_unknown_approval_is_not_found(quiet: Api, id_: str) -> None:
    answer = quiet.post("/api/approvals/:id", id_, body={"decision": "allow"})
    assert answer.status_code == 404
    assert isinstance(answer.json()["error"], str)
    assert quiet.get("/api/approvals/:id", id_).status_code == 404


def test_reading_and_answering_need_their_scopes(key_for: Callable[..., Api]) -> None:
    assert key_for("approvals:read").get("/api/approvals").json() == []
    refused = key_for("approvals:read").post("/api/approvals/:id", UNKNOWN, body={"decision": "allow"})
    assert refused.status_code == 403
    assert "approvals:write" in refused.json()["error"]


def test_approvals_of_a_run_that_is_not_there_are_refused_by_name(quiet: Api, queued: JSON) -> None:
    assert quiet.get("/api/approvals", query={"run_id": queued["id"]}).json() == []
    for id_ in (UNKNOWN, "nonsense"):
        answer = quiet.get("/api/approvals", query={"run_id": id_})
        assert answer.status_code == 400
        assert "run_id" in answer.json()["error"]
