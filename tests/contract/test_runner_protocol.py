"""The runner protocol by hand: what somebody who writes a runner from `docs/runner-protocol.md` may rely on."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator

import pytest

from tests.contract.conftest import launched
from tests.support.by_hand import ByHand
from tests.support.http import JSON
from tests.support.server import Server
from tests.support.waiting import eventually


@pytest.fixture
def hand(hand_server: Server) -> Iterator[ByHand]:
    with hand_server.api() as api:
        yield ByHand(api, f"by-hand-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def claimed(hand: ByHand) -> JSON:
    hand.register()
    run = launched(hand.api, prompt="do it", cwd=f"{hand.root}/x", permissionMode="plan", model="m")
    claimed = hand.claim()
    assert claimed["run_id"] == run["id"]
    return claimed


def test_registering_answers_id_session_lease_and_wait(hand: ByHand) -> None:
    told = hand.register()
    assert isinstance(told["id"], int)
    assert told["session"]
    assert (told["lease_seconds"], told["wait_seconds"]) == (90, 25)
    again = hand.register()
    assert again["id"] == told["id"]
    assert again["session"] != told["session"]
    shown = hand.api.get("/runners/:id", told["id"]).json()["runner"]
    assert (shown["name"], shown["status"], shown["arch"]) == (hand.card["name"], "online", "arm64")


def test_a_name_in_use_by_another_live_runner_is_a_conflict(hand: ByHand) -> None:
    hand.register()
    answer = hand.api.post("/api/v1/runners/register", body={**hand.card, "uid": str(uuid.uuid4())})
    assert answer.status_code == 409
    assert str(hand.card["name"]) in answer.json()["error"]["message"]


def test_an_assignment_says_all_that_an_attempt_needs(hand: ByHand, claimed: JSON) -> None:
    assert claimed["attempt"] == 1
    assert len(claimed["lease"]) >= 20
    wanted = {
        "prompt": "do it",
        "cwd": f"{hand.root}/x",
        "permission_mode": "plan",
        "model": "m",
        "engine": "claude-code",
    }
    assert {name: claimed[name] for name in wanted} == wanted


def test_a_claim_that_is_not_held_is_offered_again_unchanged_and_a_held_one_is_not(hand: ByHand, claimed: JSON) -> None:
    assert hand.poll()["assignments"] == [claimed]
    held = [{"run_id": claimed["run_id"], "attempt": claimed["attempt"], "lease": claimed["lease"]}]
    assert hand.poll(held=held)["assignments"] == []


def test_no_slots_no_assignments(hand: ByHand) -> None:
    hand.register()
    launched(hand.api, prompt="later", cwd=hand.root)
    assert hand.poll(free_slots=0)["assignments"] == []
    assert hand.poll(draining=True)["assignments"] == []


def test_events_are_stored_once_whatever_is_repeated_and_a_gap_is_refused(hand: ByHand, claimed: JSON) -> None:
    started, said = (1, "run.started", {"pid": 1}), (2, "agent.message", {"text": "hi"})
    assert hand.send(claimed, started) == (200, {"n": 1})
    assert hand.send(claimed, started, said) == (200, {"n": 2})
    assert hand.send(claimed, started, said) == (200, {"n": 2})
    assert hand.send(claimed, (5, "agent.message", {"text": "from the future"})) == (200, {"n": 2})  # send from there
    assert hand.send(claimed, (3, "run.completed", {"text": "hi"})) == (200, {"n": 3})
    run = hand.api.get("/api/v1/runs/:id", claimed["run_id"]).json()
    assert run["status"] == "COMPLETED"
    assert [event["message"] for event in run["logs"]].count("hi") >= 1
    assert [event["seq"] for event in run["logs"]] == list(range(1, len(run["logs"]) + 1))


def test_another_lease_is_fenced_but_its_usage_is_stored(hand: ByHand, claimed: JSON) -> None:
    hand.send(claimed, (1, "run.started", {"pid": 1}))
    usage = [{"source": "1/turn-1/m", "model": "m", "input_tokens": 5, "output_tokens": 7, "cost_micros": 1_500_000}]
    status, told = hand.send({**claimed, "lease": "stale"}, (2, "agent.message", {"text": "late"}), usage=usage)
    assert status == 409
    assert told["error"]["code"] == "CONFLICT"
    hand.send({**claimed, "lease": "stale"}, usage=usage)
    run = hand.api.get("/api/v1/runs/:id", claimed["run_id"]).json()
    assert "late" not in json.dumps(run["logs"])
    assert run["usage"] == {"inputTokens": 5, "outputTokens": 7, "cacheReadTokens": 0, "cacheWriteTokens": 0}
    assert run["costUsd"] == 1.5


def test_a_runner_may_not_write_what_only_the_server_writes(hand: ByHand, claimed: JSON) -> None:
    for kind in ("run.created", "user.message", "permission.resolved", "session.reachable", "made.up"):
        status, told = hand.send(claimed, (1, kind, {}))
        assert (status, told["error"]["code"]) == (400, "BAD_REQUEST"), kind


@pytest.mark.parametrize("value", ["1e999", "9" * 5000, "[" * 900 + "]" * 900])
@pytest.mark.parametrize("kind", ["agent.message", "run.completed"])
def test_a_payload_that_nobody_could_read_again_is_refused(hand: ByHand, claimed: JSON, kind: str, value: str) -> None:
    event = f'{{"n": 1, "type": "{kind}", "payload": {{"text": "x", "value": {value}}}}}'
    body = f'{{"attempt": {claimed["attempt"]}, "lease": "{claimed["lease"]}", "events": [{event}]}}'
    answer = hand.api.post("/api/v1/runs/:id/events", claimed["run_id"], raw=body)
    assert answer.status_code == 400
    assert "payload" in answer.json()["error"]["message"]
    assert hand.api.get("/api/v1/runs/:id", claimed["run_id"]).status_code == 200


def test_a_cancel_is_a_command_until_its_result_is_stored(hand: ByHand, claimed: JSON) -> None:
    hand.send(claimed, (1, "run.started", {"pid": 1}))
    assert hand.api.post("/api/runs/:id/cancel", claimed["run_id"]).status_code == 200
    held = [{"run_id": claimed["run_id"], "attempt": claimed["attempt"], "lease": claimed["lease"]}]
    (command,) = hand.poll(held=held)["commands"]
    assert (command["kind"], command["run_id"]) == ("cancel", claimed["run_id"])
    assert hand.poll(held=held)["commands"] == [command]
    result = {"session": hand.session, "status": "done"}
    for _ in range(2):
        answer = hand.api.post("/api/v1/runners/:id/commands/:command_id", hand.id, command["id"], body=result)
        assert answer.status_code == 200
    assert hand.poll(held=held)["commands"] == []
    assert hand.send(claimed, (2, "run.cancelled", {"message": "Cancelled"})) == (200, {"n": 2})
    assert hand.api.get("/api/v1/runs/:id", claimed["run_id"]).json()["status"] == "CANCELLED"


def test_a_newer_poll_voids_an_older_one_that_waits(hand: ByHand) -> None:
    hand.register()
    answers: list[JSON] = []
    waiting = threading.Thread(target=lambda: answers.append(hand.poll(wait_seconds=25)))
    waiting.start()
    eventually(lambda: hand.poll_no == 1)
    hand.poll()
    waiting.join(15)
    assert not waiting.is_alive()  # long before its time is up


def test_a_waiting_poll_gets_a_run_as_soon_as_it_is_launched(hand: ByHand) -> None:
    hand.register()
    answers: list[JSON] = []
    waiting = threading.Thread(target=lambda: answers.append(hand.poll(wait_seconds=20)))
    waiting.start()
    run = launched(hand.api, prompt="now", cwd=hand.root, labels=hand.card["labels"])
    waiting.join(15)
    assert not waiting.is_alive()  # before its time is up
    assert [one["run_id"] for one in answers[0]["assignments"]] == [run["id"]]


def test_an_older_session_is_told_so(hand: ByHand) -> None:
    hand.register()
    old = hand.session
    hand.register()
    body = {"session": old, "poll_no": 1, "free_slots": 1, "wait_seconds": 0}
    assert hand.api.post("/api/v1/runners/:id/poll", hand.id, body=body).status_code == 409


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"uid": 7}, "uid"),
        ({"uid": ""}, "uid"),
        ({"name": "x" * 500}, "name"),
        ({"arch": "sparc"}, "arch"),
        ({"allowed_dirs": ["relative"]}, "allowed_dirs"),
        ({"allowed_dirs": []}, "allowed_dirs"),
        ({"max_pods": 0}, "max_pods"),
        ({"labels": [""]}, "labels"),
        ({"clis": [{"engine": "unknown", "version": "1", "signed_in": True}]}, "clis"),
    ],
)
def test_a_bad_registration_is_refused_by_field(hand: ByHand, change: JSON, field: str) -> None:
    answer = hand.api.post("/api/v1/runners/register", body={**hand.card, **change})
    assert answer.status_code == 400, answer.text
    assert field in answer.json()["error"]["message"]


@pytest.fixture
def working(hand: ByHand) -> JSON:
    """The claimed run of an agent, which has started."""
    hand.register()
    return hand.working()


def test_a_run_calls_tools_for_its_agent_with_a_token_of_its_own(hand: ByHand, working: JSON) -> None:
    with hand.tools(working) as run:
        answer = run.post("/api/v1/tools/:name", "list_agents", body={"call_id": "1", "input": {}}).json()
        assert (answer["done"], answer["is_error"]) == (True, False)
        assert working["agent"]["name"] in answer["text"]
        wrong = run.post("/api/v1/tools/:name", "check_task", body={"call_id": "2", "input": {"id": ""}}).json()
        assert (wrong["done"], wrong["is_error"]) == (True, True)
        assert "id" in wrong["text"]
        assert run.post("/api/v1/tools/:name", "juggle", body={"call_id": "3", "input": {}}).status_code == 404
        assert run.post("/api/v1/tools/:name", "list_agents", body={"call_id": ""}).status_code == 400


def test_the_same_call_again_is_the_same_call_and_one_that_others_answer_makes_the_run_wait(
    hand: ByHand, working: JSON
) -> None:
    body = {"call_id": "ask-1", "input": {"question": "Which?", "options": ["a", "b"]}, "wait_seconds": 0}
    with hand.tools(working) as run:
        for _ in range(2):
            assert run.post("/api/v1/tools/:name", "ask_human", body=body).json()["done"] is False
        assert hand.api.get("/api/v1/runs/:id", working["run_id"]).json()["status"] == "WAITING"
        [asked] = [a for a in hand.api.get("/api/approvals").json() if a["run_id"] == working["run_id"]]
        answers = {"Which?": "b"}
        hand.api.post("/api/approvals/:id", asked["id"], body={"decision": "allow", "answers": answers})
        answer = run.post("/api/v1/tools/:name", "ask_human", body={**body, "wait_seconds": 20}).json()
        assert (answer["done"], answer["is_error"]) == (True, False)
        assert "b" in answer["text"]
    assert hand.api.get("/api/v1/runs/:id", working["run_id"]).json()["status"] == "RUNNING"


def test_a_runs_token_is_for_tools_alone_and_ends_with_its_attempt(hand: ByHand, working: JSON) -> None:
    call = {"call_id": "1", "input": {}}
    with hand.tools(working) as run, hand.api.as_key(f"crl_run_{working['run_id']}_{'x' * 43}") as other:
        for path in ("/api/v1/runs", "/api/me", "/api/v1/keys"):
            assert run.get(path).status_code == 403
        assert other.post("/api/v1/tools/:name", "list_agents", body=call).status_code == 401
        assert hand.api.post("/api/v1/tools/:name", "list_agents", body=call).status_code == 403
        hand.send(working, (2, "run.completed", {"text": "done"}))
        assert run.post("/api/v1/tools/:name", "list_agents", body=call).status_code == 401
