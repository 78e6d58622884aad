"""Events of a run as Abbado shows them: a bare array, and Server-Sent Events that can be resumed."""

from __future__ import annotations

import threading

import httpx
import pytest

from tests.contract.conftest import launched
from tests.contract.reference import RFC3339, assert_shape
from tests.support.http import JSON, Api, follow, frames
from tests.support.runner import Runner
from tests.support.waiting import PATIENCE

EVENTS = """[
{
"id": 1,
"run_id": "uuid",
"sequence": 1,
"event_type": "run.created",
"payload": { "task": "...", "source_branch": "HEAD" },
"created_at": "..."
}
]"""


def test_events_are_listed_as_in_the_reference(api: Api, finished: JSON) -> None:
    answer = api.get("/api/runs/:id/events", finished["id"])
    assert answer.status_code == 200
    events = answer.json()
    # A run in a directory has no branch it came from.
    assert_shape([{**events[0], "payload": {**events[0]["payload"], "source_branch": "HEAD"}}], EVENTS)
    assert events[0]["payload"]["task"] == finished["input"]
    assert {frozenset(event) for event in events} == {frozenset(events[0])}
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert [event["id"] for event in events] == [event["sequence"] for event in events]
    assert {event["run_id"] for event in events} == {finished["id"]}
    assert all(RFC3339.fullmatch(event["created_at"]) for event in events)
    assert all(isinstance(event["payload"], dict) for event in events)
    types = [event["event_type"] for event in events]
    assert types[0] == "run.created"
    assert types[-1] == "run.completed"
    wanted = ("run.started", "session.init", "agent.thinking", "agent.tool_call", "agent.tool_result", "agent.message")
    assert [kind for kind in (*wanted, "run.result") if kind not in types] == []
    assert "agent.token" not in types


def test_a_stream_replays_in_order_and_ends_with_the_run(api: Api, finished: JSON) -> None:
    stored = api.get("/api/runs/:id/events", finished["id"]).json()
    with api.stream("/api/runs/:id/events/stream", finished["id"]) as response:
        assert response.status_code == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert "no-" in response.headers["Cache-Control"]
        streamed = list(frames(response))
    assert [frame.json() for frame in streamed] == stored
    assert [frame.id for frame in streamed] == [str(event["sequence"]) for event in stored]
    assert {frame.event for frame in streamed} == {None}


def test_a_stream_goes_on_after_the_last_event_seen_and_the_header_wins(api: Api, finished: JSON) -> None:
    def sequences(query: JSON, headers: dict[str, str]) -> list[int]:
        with api.stream("/api/runs/:id/events/stream", finished["id"], query=query, headers=headers) as response:
            assert response.status_code == 200
            return [int(frame.id or 0) for frame in frames(response)]

    every = sequences({}, {})
    assert sequences({"last_event_id": 2}, {}) == every[2:]
    assert sequences({}, {"Last-Event-ID": "3"}) == every[3:]
    assert sequences({"last_event_id": 1}, {"Last-Event-ID": "4"}) == every[4:]


def test_a_reconnect_to_an_ended_run_with_nothing_newer_is_a_204(api: Api, finished: JSON) -> None:
    last = api.get("/api/runs/:id/events", finished["id"]).json()[-1]["sequence"]
    with api.stream("/api/runs/:id/events/stream", finished["id"], headers={"Last-Event-ID": str(last)}) as response:
        assert response.status_code == 204
        assert response.read() == b""


def test_a_bad_cursor_is_refused_by_name(api: Api, finished: JSON) -> None:
    for bad in ("x", "-1", "1.5"):
        with api.stream("/api/runs/:id/events/stream", finished["id"], query={"last_event_id": bad}) as response:
            assert response.status_code == 400
            assert "last_event_id" in response.read().decode()


@pytest.mark.parametrize("bad", ["x", "-1", "1.5", "9" * 19, "0" * 20 + "9" * 5000])
def test_a_bad_last_event_id_is_refused_by_name(quiet: Api, queued: JSON, bad: str) -> None:
    with quiet.stream("/api/runs/:id/events/stream", queued["id"], headers={"Last-Event-ID": bad}) as response:
        assert response.status_code == 400
        assert "Last-Event-ID" in response.read().decode()


def test_a_cursor_beyond_the_log_of_a_live_run_goes_on_from_its_end(quiet: Api, queued: JSON) -> None:
    with quiet.stream("/api/runs/:id/events/stream", queued["id"], headers={"Last-Event-ID": "500"}) as response:
        assert response.status_code == 200
        assert quiet.post("/api/runs/:id/cancel", queued["id"]).status_code == 200
        seen = [(frame.id, frame.json()["event_type"]) for frame in frames(response)]
    assert seen == [("2", "run.cancelled")]


def test_a_watcher_of_a_live_run_sees_tokens_without_an_id_and_then_the_whole_message(
    api: Api, shared_runner: Runner
) -> None:
    run = launched(api, prompt="%pace 200 %% %words 60", cwd=str(shared_runner.work))
    seen = list(follow(api, "/api/runs/:id/events/stream", run["id"]))
    tokens = [frame for frame in seen if frame.json()["event_type"] == "agent.token"]
    assert tokens
    assert {frame.id for frame in tokens} == {None}
    stored = [frame for frame in seen if frame.json()["event_type"] != "agent.token"]
    assert [int(frame.id or 0) for frame in stored] == list(range(1, len(stored) + 1))
    message = next(frame.json() for frame in stored if frame.json()["event_type"] == "agent.message")
    # In their order; who reads rows at the moment at which one comes does not see that one.
    text, until = message["payload"]["text"], 0
    for piece in [frame.json()["payload"]["text"] for frame in tokens]:
        assert piece
        assert piece in text[until:]
        until = text.index(piece, until) + len(piece)


def test_a_queued_run_is_watched_live_until_it_is_cancelled(quiet: Api, queued: JSON) -> None:
    cancel = threading.Timer(0.3, lambda: quiet.post("/api/runs/:id/cancel", queued["id"]))
    cancel.start()
    seen = [frame.json()["event_type"] for frame in follow(quiet, "/api/runs/:id/events/stream", queued["id"])]
    cancel.join()
    assert seen == ["run.created", "run.cancelled"]


def test_a_quiet_stream_is_kept_alive_with_comments(quiet: Api, queued: JSON) -> None:
    with quiet.stream("/api/runs/:id/events/stream", queued["id"], headers={"Last-Event-ID": "1"}) as response:
        assert response.status_code == 200
        lines = response.iter_lines()
        assert next(line for line in lines if line).startswith(":")


def test_a_stream_of_an_unknown_run_is_plain_text(quiet: Api) -> None:
    with quiet.stream("/api/runs/:id/events/stream", "unknown") as response:
        assert response.status_code == 404
        assert response.headers["Content-Type"].startswith("text/plain")


def test_a_watcher_that_leaves_changes_nothing(quiet: Api, queued: JSON) -> None:
    with quiet.stream("/api/runs/:id/events/stream", queued["id"]) as response:
        next(frames(response))
    with httpx.Client(base_url=quiet.url, timeout=30 * PATIENCE) as other:
        assert other.get("/api/health").json() == "ok"
    assert quiet.get("/api/v1/runs/:id", queued["id"]).json()["status"] == "QUEUED"
