"""The Fleetrun reference: messages on the bus."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Generator
from contextlib import closing
from typing import Any

from tests.contract.fleetrun import MESSAGE_FIELDS, UNKNOWN, agent, refused, worker
from tests.support.http import JSON, Api, Frame, frames
from tests.support.waiting import eventually


def test_people_write_to_agents_by_id_by_name_and_to_all(quiet: Api) -> None:
    name = f"Ada {uuid.uuid4().hex[:6]}"
    ada = worker(quiet, name=name)
    for to in (ada["id"], name):
        answer = quiet.post("/api/messages", body={"to": to, "text": "Hello", "type": "question"})
        assert answer.status_code == 200, answer.text
        message = answer.json()
        assert set(message) >= MESSAGE_FIELDS
        assert (message["type"], message["receiver"], message["text"]) == ("question", ada["id"], "Hello")
        assert message["sender"].startswith("key:")
    reply = quiet.post("/api/messages", body={"to": ada["id"], "text": "And?", "reply_to": message["id"]}).json()
    assert (reply["type"], reply["reply_to"]) == ("note", message["id"])
    assert quiet.post("/api/messages", body={"to": "*", "text": "All hands"}).json()["type"] == "broadcast"
    worker(quiet, name=name)
    refused(quiet.post("/api/messages", body={"to": name, "text": "Which?"}), 400, "to", ada["id"])
    refused(quiet.post("/api/messages", body={"to": "Nobody at all", "text": "?"}), 400, "to")
    refused(quiet.post("/api/messages", body={"to": ada["id"], "text": " "}), 400, "text")
    refused(quiet.post("/api/messages", body={"to": ada["id"], "text": "x", "type": "task.result"}), 400, "type")
    refused(quiet.post("/api/messages", body={"to": ada["id"], "text": "x", "reply_to": UNKNOWN}), 400, "reply_to")


def test_messages_are_filtered_by_agent_type_and_time(quiet: Api) -> None:
    ada, bob = worker(quiet), worker(quiet)
    sent = [
        quiet.post("/api/messages", body={"to": to["id"], "text": text, "type": type_}).json()
        for to, text, type_ in ((ada, "1", "note"), (bob, "2", "note"), (ada, "3", "question"))
    ]

    def texts(**options: Any) -> list[str]:
        return [one["text"] for one in quiet.get("/api/messages", **options).raise_for_status().json()]

    assert texts(query={"agent": ada["id"]}) == ["3", "1"]
    assert texts(body={"agent": ada["id"]}) == ["3", "1"]
    assert texts(query={"agent": ada["id"], "type": "question"}) == ["3"]
    assert texts(query={"agent": ada["id"], "since": sent[0]["created_at"], "until": "2999-01-01T00:00:00+02:00"}) == [
        "3",
        "1",
    ]
    assert texts(query={"agent": ada["id"], "until": "2020-01-01T00:00:00Z"}) == []
    assert texts(query={"agent": ada["id"], "before": sent[2]["id"]}) == ["1"]
    page = quiet.get("/api/messages", query={"agent": ada["id"], "limit": 1})
    assert f"before={sent[2]['id']}" in page.headers["Link"]
    assert quiet.get("/api/messages", query={"limit": 100_000}).status_code == 200
    refused(quiet.get("/api/messages", query={"agent": UNKNOWN}), 400, "agent")
    refused(quiet.get("/api/messages", query={"type": "gossip"}), 400, "type", "task.assigned")
    refused(quiet.get("/api/messages", query={"since": "yesterday"}), 400, "since")
    refused(quiet.get("/api/messages", query={"since": "2020-01-01T00:00:00"}), 400, "since")


def test_a_list_of_messages_is_a_hundred_and_five_hundred_at_most(quiet: Api) -> None:
    ada = worker(quiet)
    for n in range(101):
        quiet.post("/api/messages", body={"to": ada["id"], "text": str(n)})
    assert len(quiet.get("/api/messages", query={"agent": ada["id"]}).json()) == 100
    assert len(quiet.get("/api/messages", query={"agent": ada["id"], "limit": 9999}).json()) == 101


def test_the_bus_is_watched_live_and_goes_on_after_the_last_message_seen(quiet: Api) -> None:
    ada, bob = worker(quiet), worker(quiet)

    def write(*texts: str, to: JSON = ada) -> None:
        for text in texts:
            quiet.post("/api/messages", body={"to": to["id"], "text": text})

    write("before")
    with quiet.stream("/api/messages/stream", query={"agent": ada["id"]}) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        write("not mine", to=bob)
        later = threading.Timer(0.2, write, ("one", "two"))
        later.start()
        seen = frames(response)
        got = [next(seen), next(seen)]
        later.join()
    assert [frame.json()["text"] for frame in got] == ["one", "two"]
    assert set(got[0].json()) >= MESSAGE_FIELDS
    assert {frame.event for frame in got} == {None}

    def rest(after: Frame, **more: Any) -> Generator[str]:
        headers = {"Last-Event-ID": after.id or ""}
        query = {"agent": ada["id"], **more}
        with quiet.stream("/api/messages/stream", query=query, headers=headers) as response:
            yield from (frame.json()["text"] for frame in frames(response))

    with closing(rest(got[0])) as texts:
        assert next(texts) == "two"
    assert list(rest(got[1], seconds=0.3)) == []
    with quiet.stream("/api/messages/stream", headers={"Last-Event-ID": "x"}) as response:
        assert response.status_code == 400


def test_what_could_not_be_delivered_is_listed_with_the_reason_and_replayed(quiet: Api) -> None:
    lost = agent(quiet, cli_name="claude-code")
    sent = quiet.post("/api/messages", body={"to": lost["id"], "text": "Hello"}).json()

    def dead() -> JSON | None:
        return next((one for one in quiet.get("/api/messages/dead").json() if one["id"] == sent["id"]), None)

    found = eventually(dead)
    assert found
    assert "provider_config.cwd" in found["error"]
    quiet.patch("/api/agents/:id", lost["id"], body={"provider_config": {"cwd": "/srv"}})
    assert quiet.post("/api/messages/:id/replay", sent["id"]).json()["id"] == sent["id"]
    assert dead() is None
    eventually(lambda: any(run["input"] == "Hello" for run in quiet.get("/api/v1/runs").json()["data"]))
    refused(quiet.post("/api/messages/:id/replay", sent["id"]), 409)
    refused(quiet.post("/api/messages/:id/replay", UNKNOWN), 404)
