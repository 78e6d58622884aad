"""The Fleetrun reference: tasks and epics."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.fleetrun import (
    CREATE_TASK,
    TASK_FIELDS,
    TASK_STATUSES,
    UNKNOWN,
    Field,
    agent,
    refused,
    shown,
    table,
    task,
    told,
    worker,
)
from tests.support.http import JSON, Api


def test_a_task_is_made_from_the_fields_of_the_reference(quiet: Api) -> None:
    ada, bob = agent(quiet), agent(quiet)
    made = task(quiet, ada, requester=bob["id"])
    assert set(made) >= TASK_FIELDS
    wanted = {
        "title": "A task",
        "input": "Do it",
        "assignee": ada["id"],
        "requester": bob["id"],
        "priority": "normal",
        "epic_id": None,
        "status": "pending",
    }
    assert {name: made[name] for name in wanted} == wanted
    detail = shown(quiet, made)
    assert detail["log"] == []
    assert {name: detail[name] for name in made} == made


@pytest.mark.parametrize("field", table(CREATE_TASK), ids=lambda field: field.name)
def test_each_field_of_a_task_is_required_or_not_as_the_reference_says(quiet: Api, field: Field) -> None:
    whole: JSON = {"title": "t", "input": "i", "assignee": agent(quiet)["id"], "priority": "low"}
    answer = quiet.post("/api/tasks", body={name: value for name, value in whole.items() if name != field.name})
    if field.required:
        refused(answer, 400, field.name)
    else:
        assert answer.status_code == 201, answer.text
    bad: object
    for bad in ("", 7, {}):
        refused(quiet.post("/api/tasks", body={**whole, field.name: bad}), 400, field.name)
    if field.name in {"assignee", "requester", "epic_id"}:
        for bad in (UNKNOWN, "nonsense"):
            refused(quiet.post("/api/tasks", body={**whole, field.name: bad}), 400, field.name)
    for choice in field.choices:
        assert quiet.post("/api/tasks", body={**whole, field.name: choice}).json()[field.name] == choice


def test_tasks_are_listed_newest_first_and_filtered_by_query_and_by_body(quiet: Api) -> None:
    ada, bob = agent(quiet), agent(quiet)
    tasks = [task(quiet, ada), task(quiet, bob, priority="high"), task(quiet, ada)]
    quiet.patch("/api/tasks/:id", tasks[2]["id"], body={"status": "done"})

    def ids(**options: Any) -> list[str]:
        return [one["id"] for one in quiet.get("/api/tasks", **options).raise_for_status().json()]

    one, two, three = (made["id"] for made in tasks)
    assert ids()[:3] == [three, two, one]
    assert ids(query={"assignee": ada["id"]}) == [three, one]
    assert ids(body={"assignee": ada["id"]}) == [three, one]
    assert ids(body={"assignee": ada["id"]}, query={"assignee": bob["id"]}) == [two]
    assert ids(query={"assignee": ada["id"], "status": "done"}) == [three]
    assert ids(query={"assignee": ada["id"]}, body={"status": "pending"}) == [one]
    assert ids(query={"assignee": bob["id"], "priority": "high"}) == [two]
    assert ids(query={"before": two, "limit": 1}) == [one]
    answer = quiet.get("/api/tasks", query={"assignee": ada["id"], "limit": 1})
    assert answer.headers["Link"] == f'</api/tasks?assignee={ada["id"]}&limit=1&before={three}>; rel="next"'
    for status in TASK_STATUSES.split(" | "):
        assert quiet.get("/api/tasks", query={"status": status}).status_code == 200
    refused(quiet.get("/api/tasks", query={"status": "ended"}), 400, "status", "pending, running, done, error, waiting")
    refused(quiet.get("/api/tasks", query={"assignee": UNKNOWN}), 400, "assignee")


def test_a_tasks_status_priority_and_assignee_are_changed(quiet: Api) -> None:
    ada, bob = agent(quiet), agent(quiet)
    made = task(quiet, ada)
    answer = quiet.patch("/api/tasks/:id", made["id"], body={"priority": "high", "assignee": bob["id"]})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["priority"], answer.json()["assignee"]) == ("high", bob["id"])
    for status in ("done", "pending", "error", "waiting"):
        answer = quiet.patch("/api/tasks/:id", made["id"], body={"status": status})
        assert (answer.status_code, answer.json()["status"]) == (200, status)
    refused(quiet.patch("/api/tasks/:id", made["id"], body={"status": "running"}), 400, "status")
    refused(quiet.patch("/api/tasks/:id", made["id"], body={"assignee": UNKNOWN}), 400, "assignee")
    refused(quiet.patch("/api/tasks/:id", made["id"], body={"epic_id": UNKNOWN}), 400, "epic_id")
    refused(quiet.patch("/api/tasks/:id", UNKNOWN, body={"status": "done"}), 404)
    assert quiet.patch("/api/tasks/:id", made["id"], body=shown(quiet, made)).status_code == 200


def test_a_task_of_a_live_run_keeps_its_status_until_it_is_cancelled(quiet: Api) -> None:
    made = task(quiet, worker(quiet))
    with quiet.stream("/api/run", body={"taskId": made["id"]}) as response:
        refused(quiet.patch("/api/tasks/:id", made["id"], body={"status": "done"}), 409, "status")
        assert shown(quiet, made)["why"] == "no runner has connected yet"
        answer = quiet.post("/api/tasks/:id/cancel", made["id"])
        assert (answer.status_code, answer.json()) == (200, {"ok": True, "cancelled": 1})
        assert told(response) == [{"type": "error", "text": "Cancelled by a person"}]
    detail = shown(quiet, made)
    assert (detail["status"], detail["error"]) == ("error", "Cancelled by a person")
    assert [(entry["type"], entry["run_id"]) for entry in detail["log"]] == [("error", detail["run_id"])]
    refused(quiet.post("/api/tasks/:id/cancel", made["id"]), 409)


def test_who_watches_a_task_whose_run_is_deleted_is_let_go(quiet: Api) -> None:
    made = task(quiet, worker(quiet))
    with quiet.stream("/api/run", body={"taskId": made["id"]}) as response:
        run = shown(quiet, made)["run_id"]
        assert quiet.delete("/api/runs/:id", run).status_code == 204
        told(response)  # comes to its end


def test_a_tree_of_tasks_is_cancelled_as_a_whole(quiet: Api) -> None:
    ada = agent(quiet)
    top = task(quiet, ada)
    parts = [task(quiet, ada, parent=top["id"]) for _ in range(2)]
    assert [one["id"] for one in quiet.get("/api/tasks", query={"parent": top["id"]}).json()] == [
        part["id"] for part in parts[::-1]
    ]
    assert quiet.post("/api/tasks/:id/cancel", top["id"], body={"tree": True}).json()["cancelled"] == 3
    assert {shown(quiet, one)["status"] for one in (top, *parts)} == {"error"}


def test_blocked_tasks_say_so_and_a_circle_is_refused(quiet: Api) -> None:
    ada = worker(quiet)
    first = task(quiet, ada, title="First")
    then = task(quiet, ada, blocked_by=[first["id"]])
    assert shown(quiet, then)["blocked_by"] == [first["id"]]
    answer = quiet.patch("/api/tasks/:id", first["id"], body={"blockedBy": [then["id"]]})
    refused(answer, 400, "blocked_by")
    refused(quiet.post("/api/tasks", body={**first, "blocked_by": [UNKNOWN]}), 400, "blocked_by")
    with quiet.stream("/api/run", body={"taskId": then["id"]}):
        assert shown(quiet, then)["why"] == "blocked by First"
    quiet.post("/api/tasks/:id/cancel", then["id"])


def test_epics_gather_tasks_and_tell_how_far_they_are(quiet: Api) -> None:
    made = quiet.post("/api/epics", body={"title": "Launch"})
    assert made.status_code == 201, made.text
    id_ = made.json()["id"]
    first, _ = (task(quiet, agent(quiet), epic_id=id_) for _ in range(2))
    quiet.patch("/api/tasks/:id", first["id"], body={"status": "done"})
    epic = quiet.get("/api/epics/:id", id_).json()
    assert epic["progress"] == {"tasks": 2, "done": 1, "failed": 0, "percent": 50}
    changed = quiet.patch("/api/epics/:id", id_, body={"description": "All of it"})
    assert (changed.json()["title"], changed.json()["description"]) == ("Launch", "All of it")
    assert quiet.get("/api/epics").json()[0] == changed.json()
    assert len(quiet.get("/api/tasks", query={"epic_id": id_}).json()) == 2
    assert quiet.delete("/api/epics/:id", id_).json() == {"ok": True}
    refused(quiet.get("/api/epics/:id", id_), 404)
    assert shown(quiet, first)["epic_id"] is None
