"""Both spellings of every field, and what comes back."""

from __future__ import annotations

import pytest

from tests.support.http import JSON, Api

GOOD: JSON = {"prompt": "p", "cwd": "/srv"}


@pytest.mark.parametrize("name", ["permissionMode", "permission_mode"])
def test_a_field_is_taken_in_either_case_and_answered_in_the_case_of_its_reference(quiet: Api, name: str) -> None:
    answer = quiet.post("/api/v1/runs", body={**GOOD, name: "plan"})
    assert answer.status_code == 201
    assert answer.json()["permissionMode"] == "plan"
    assert "permission_mode" not in answer.json()


def test_both_spellings_of_one_field_are_refused(quiet: Api) -> None:
    answer = quiet.post("/api/v1/runs", body={**GOOD, "runnerId": None, "runner_id": None})
    assert answer.status_code == 400
    assert "runner" in answer.json()["error"]["message"].lower()


def test_fields_that_only_answers_have_are_ignored_when_sent_back(quiet: Api) -> None:
    first = quiet.post("/api/v1/runs", body=GOOD).json()
    again = quiet.post("/api/v1/runs", body={**first, "prompt": first["input"]})
    assert again.status_code == 201, again.text
    assert again.json()["id"] != first["id"]
    assert again.json()["status"] == "QUEUED"
    detail = quiet.get("/api/v1/runs/:id", first["id"]).json()
    assert quiet.post("/api/v1/runs", body={**detail, "prompt": "p"}).status_code == 201


@pytest.mark.parametrize("name", ["Prompt", "PROMPT", "permissionmode", "Permission_Mode", "permission-mode"])
def test_other_spellings_are_unknown_fields(quiet: Api, name: str) -> None:
    answer = quiet.post("/api/v1/runs", body={**GOOD, name: "x"})
    assert answer.status_code == 400
    assert name in answer.json()["error"]["message"]


def test_filters_may_also_come_as_a_body_and_the_query_wins(quiet: Api) -> None:
    for _ in range(3):
        quiet.post("/api/v1/runs", body=GOOD)
    assert len(quiet.get("/api/v1/runs", body={"limit": 2}).json()["data"]) == 2
    assert len(quiet.get("/api/v1/runs", body={"limit": 2}, query={"limit": 1}).json()["data"]) == 1
