"""Whatever belongs to another org is not there: 404, never 403, and in no list."""

from __future__ import annotations

import pytest

from tests.support.http import Api
from tests.support.second_org import second_org
from tests.support.seeds import Seeds
from tests.support.server import Server


@pytest.fixture(scope="module")
def both(hand_server: Server) -> tuple[Seeds, Api]:
    """Things of one org, and a caller of the other."""
    return Seeds(hand_server.api()), second_org(hand_server)


def test_nothing_of_another_org_is_found_by_its_id(both: tuple[Seeds, Api]) -> None:
    seeds, stranger = both
    run, runner = seeds.ended, seeds.hand.id
    approval, key = seeds.approval(), seeds.key()
    claimed = seeds.claimed_run()
    answers = [
        stranger.get("/api/v1/runs/:id", run),
        stranger.get("/api/v1/runs/:id/events", run),
        stranger.post("/api/v1/runs/:id/followup", run, body={"prompt": "p"}),
        stranger.get("/api/runs/:id/events", run),
        stranger.get("/api/runs/:id/events/stream", run),
        stranger.post("/api/runs/:id/cancel", claimed["run_id"]),
        stranger.post("/api/runs/:id/pause", claimed["run_id"]),
        stranger.post("/api/runs/:id/continue", run, body={"message": "go on"}),
        stranger.delete("/api/runs/:id", run),
        stranger.get("/runners/:id", runner),
        stranger.get("/runners/:id", seeds.hand.card["uid"]),
        stranger.get("/runners/:id/pods", runner),
        stranger.get("/api/v1/runners/:id", runner),
        stranger.post("/api/approvals/:id", approval, body={"decision": "allow"}),
        stranger.delete("/api/v1/keys/:id", key),
        stranger.post(
            "/api/v1/runners/:id/poll",
            runner,
            body={"session": seeds.hand.session, "poll_no": 10_000, "free_slots": 1, "wait_seconds": 0},
        ),
    ]
    assert [(answer.request.method, answer.request.url.path) for answer in answers if answer.status_code != 404] == []
    stolen = {"attempt": claimed["attempt"], "lease": claimed["lease"], "events": []}
    fenced = stranger.post("/api/v1/runs/:id/events", claimed["run_id"], body=stolen)
    assert fenced.status_code in (404, 409)
    assert seeds.api.get("/api/v1/runs/:id", claimed["run_id"]).json()["status"] == "RUNNING"
    assert seeds.api.get("/api/approvals").json()[0]["id"] == approval


def test_the_lists_of_another_org_are_empty(both: tuple[Seeds, Api]) -> None:
    _, stranger = both
    assert stranger.get("/api/v1/runs").json() == {"data": []}
    assert stranger.get("/api/v1/runners").json() == {"runners": []}
    assert stranger.get("/runners").json() == {"runners": []}
    assert stranger.get("/runners/available").json() == {"runners": []}
    assert stranger.get("/api/approvals").json() == []
    assert len(stranger.get("/api/v1/keys").json()["data"]) == 1


def test_a_runner_of_another_org_cannot_be_pinned_and_numbers_count_in_each_org(
    both: tuple[Seeds, Api], hand_server: Server
) -> None:
    (seeds, _), stranger = both, second_org(hand_server)
    body = {"prompt": "p", "cwd": "/srv", "runnerId": seeds.hand.card["uid"]}
    assert stranger.post("/api/v1/runs", body=body).status_code == 400
    mine = stranger.post(
        "/api/v1/runners/register", body={**seeds.hand.card, "uid": "11111111-1111-7111-8111-111111111111"}
    )
    assert mine.json()["id"] == 1  # the same name too: it is free in this org
