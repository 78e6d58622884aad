"""Every route that is no GET leaves a line in the audit log, or stands in the list of those that need none."""

from __future__ import annotations

import re

import pytest

from corral.platform import sign_in
from corral.platform.access import CALL_TOOLS
from corral.platform.database import fetch
from corral.web.app import routes
from tests.support.by_hand import ByHand
from tests.support.http import JSON, Api
from tests.support.seeds import Seeds
from tests.web import audited, audited_people
from tests.web.audited_people import Company
from tests.web.conftest import Person, Running

WRITING = {f"{route.method} {route.path}": route for route in routes() if route.method != "GET"}
WRITTEN = audited.API | audited.PAGES | audited_people.PEOPLE


def test_every_route_that_writes_is_thought_about() -> None:
    assert WRITING.keys() == WRITTEN.keys() | audited.UNWRITTEN.keys()
    assert not WRITTEN.keys() & audited.UNWRITTEN.keys()


@pytest.fixture(scope="module")
def seeds(running: Running) -> Seeds:
    return Seeds(running.api())


@pytest.fixture(scope="module")
def owner(running: Running) -> Person:
    return Person(running, "owner")


@pytest.mark.parametrize("label", audited.API)
def test_a_call_of_the_api_is_written_down_with_its_change(seeds: Seeds, label: str) -> None:
    made = audited.requests(seeds).get(label)
    good = made() if made else seeds.good(re.sub(r"<(\w+)>", r"{\1}", label))
    route, api = WRITING[label], seeds.api
    caller = api.as_key(good.key) if good.key else api
    path = re.sub(r"<(\w+)>", lambda found: str(good.path[found[1]]), route.path)
    answer = caller.call(route.method, path, body=good.body, query=good.query)
    assert answer.is_success, answer.text
    (line,) = [one for one in lines(api, answer.headers["x-request-id"]) if one["action"] == audited.API[label]]
    assert line["address"] == "127.0.0.1"
    assert line["actor"].startswith("run:" if route.scope == CALL_TOOLS else "key:")


@pytest.mark.parametrize(
    "label", [one for one in audited.PAGES if one not in {"POST /app/sign-in", "POST /app/sign-out"}]
)
def test_a_form_of_a_page_is_written_down_as_its_persons_doing(seeds: Seeds, owner: Person, label: str) -> None:
    id_, fields = audited.forms(seeds)[label]()
    answer = owner.post(re.sub(r"<\w+>", id_, WRITING[label].path), **fields)
    assert answer.status_code < 400, answer.text
    (line,) = [one for one in lines(seeds.api, answer.headers["x-request-id"]) if one["action"] == audited.PAGES[label]]
    assert line["actor"].startswith("user:")
    assert line["actor_name"] == "owner"


def test_signing_in_and_out_is_written_down_as_the_persons_doing(running: Running, seeds: Seeds) -> None:
    person = Person(running, "member")
    ended = person.post("/app/sign-out")
    (line,) = lines(seeds.api, ended.headers["x-request-id"])
    assert (line["action"], line["target_id"]) == ("sign_in.ended", line["actor"].removeprefix("user:"))
    assert line["target_name"] == "member"
    link = running.do(sign_in.make_link(1, line["target_id"]))
    begun = person.client.post("/app/sign-in", data={"token": link.token})
    (line,) = lines(seeds.api, begun.headers["x-request-id"])
    assert (line["action"], line["actor_name"], line["address"]) == ("sign_in.begun", "member", "127.0.0.1")


@pytest.fixture(scope="module")
def company(running: Running) -> Company:
    return Company(running)


@pytest.mark.parametrize("label", audited_people.PEOPLE)
def test_what_is_done_to_people_orgs_and_limits_is_written_down(running: Running, company: Company, label: str) -> None:
    answer = audited_people.requests(company)[label]()
    assert answer.status_code < 400, answer.text
    query = "SELECT action, actor, target_id, address FROM audit WHERE request_id = $1"
    written = running.do(fetch(query, answer.headers["x-request-id"]))
    assert audited_people.PEOPLE[label] in [row["action"] for row in written]
    for row in written:
        assert row["actor"].startswith(("user:", "key:"))
        assert row["address"] == "127.0.0.1"


@pytest.mark.parametrize("label", [one for one in audited.UNWRITTEN if "/api/" in one])
def test_what_runners_tell_in_the_course_of_a_run_leaves_no_line(seeds: Seeds, label: str) -> None:
    good = seeds.good(re.sub(r"<(\w+)>", r"{\1}", label))
    before = seeds.api.get("/api/audit").json()
    path = re.sub(r"<(\w+)>", lambda found: str(good.path[found[1]]), WRITING[label].path)
    assert seeds.api.post(path, body=good.body).is_success
    assert seeds.api.get("/api/audit").json() == before


def test_what_changes_nothing_and_what_is_refused_leaves_no_line(seeds: Seeds) -> None:
    api, key, agent = seeds.api, seeds.key(), seeds.agent()
    machine = ByHand(api, "registered-twice")
    machine.register()
    api.delete("/api/v1/keys/:id", key)
    depth = api.get("/api/v1/policy").json()["max_depth"]
    quiet = [
        api.delete("/api/v1/keys/:id", key),
        api.patch("/api/v1/policy", body={"max_depth": depth}),
        api.patch("/api/agents/:id", agent, body={"name": "Seed"}),
        api.post("/api/v1/runners/register", body=machine.card),
        api.post("/api/v1/runs", body={"prompt": "p"}),
        api.post("/api/runs/:id/cancel", seeds.ended),
        api.post("/api/agents", body={"name": "incomplete"}),
        api.get("/api/agents"),
    ]
    for answer in quiet:
        assert lines(api, answer.headers["x-request-id"]) == [], answer.request.url


def lines(api: Api, request_id: str) -> list[JSON]:
    """What was written down of this request."""
    newest = api.get("/api/audit", query={"limit": 200}).json()["data"]
    return [line for line in newest if line["request_id"] == request_id]
