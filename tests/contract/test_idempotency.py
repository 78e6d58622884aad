"""Idempotency-Key on every POST that makes or does something."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

from tests.support.http import JSON, Api

GOOD: JSON = {"prompt": "p", "cwd": "/srv"}


def once() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid.uuid4())}


def test_the_same_key_and_body_get_the_same_answer_and_make_one_run(quiet: Api) -> None:
    headers = once()
    first = quiet.post("/api/v1/runs", body=GOOD, headers=headers)
    again = quiet.post("/api/v1/runs", body=GOOD, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    ids = [run["id"] for run in quiet.get("/api/v1/runs", query={"limit": 1000}).json()["data"]]
    assert ids.count(first.json()["id"]) == 1


def test_the_same_key_with_another_body_is_a_conflict(quiet: Api) -> None:
    headers = once()
    quiet.post("/api/v1/runs", body=GOOD, headers=headers)
    answer = quiet.post("/api/v1/runs", body={**GOOD, "prompt": "other"}, headers=headers)
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "CONFLICT"


def test_a_request_without_the_header_is_done_each_time(quiet: Api) -> None:
    assert quiet.post("/api/v1/runs", body=GOOD).json()["id"] != quiet.post("/api/v1/runs", body=GOOD).json()["id"]


def test_a_key_counts_for_one_path_only(quiet: Api, queued: JSON) -> None:
    headers = once()
    assert quiet.post("/api/v1/runs", body=GOOD, headers=headers).status_code == 201
    assert quiet.post("/api/runs/:id/cancel", queued["id"], headers=headers).status_code == 200


def test_a_repeated_cancel_with_its_key_is_answered_again_rather_than_refused(quiet: Api, queued: JSON) -> None:
    headers = once()
    first = quiet.post("/api/runs/:id/cancel", queued["id"], headers=headers)
    again = quiet.post("/api/runs/:id/cancel", queued["id"], headers=headers)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    assert quiet.post("/api/runs/:id/cancel", queued["id"]).status_code == 409


def test_an_answer_that_holds_a_key_is_not_given_twice(quiet: Api) -> None:
    headers, body = once(), {"name": "once", "scopes": ["runs:read"]}
    assert quiet.post("/api/v1/keys", body=body, headers=headers).status_code == 201
    again = quiet.post("/api/v1/keys", body=body, headers=headers)
    assert again.status_code == 409
    assert "crl_live_" not in again.text


def test_a_failed_request_may_be_sent_again_corrected(quiet: Api) -> None:
    headers = once()
    assert quiet.post("/api/v1/runs", body={"prompt": "p"}, headers=headers).status_code == 400
    assert quiet.post("/api/v1/runs", body=GOOD, headers=headers).status_code == 201


def test_many_at_once_with_one_key_make_one_run(quiet: Api) -> None:
    headers, mark = once(), f"at once {uuid.uuid4()}"

    def send(_: int) -> tuple[int, str | None]:
        answer = quiet.post("/api/v1/runs", body={**GOOD, "prompt": mark}, headers=headers)
        return answer.status_code, answer.json().get("id")

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(send, range(12)))
    assert {status for status, _ in answers} <= {201, 409}
    assert len({id_ for status, id_ in answers if status == 201}) == 1
    made = [run for run in quiet.get("/api/v1/runs", query={"limit": 100}).json()["data"] if run["input"] == mark]
    assert len(made) == 1


def test_a_key_that_is_too_long_is_refused_by_name(quiet: Api) -> None:
    answer = quiet.post("/api/v1/runs", body=GOOD, headers={"Idempotency-Key": "k" * 300})
    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.json()["error"]["message"]
