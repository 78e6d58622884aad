"""Lists: newest first, with limit, before and a Link to the next page."""

from __future__ import annotations

import re
import uuid

import pytest

from tests.contract.conftest import launched
from tests.support.by_hand import ByHand
from tests.support.http import JSON, Api
from tests.support.server import Server


@pytest.fixture(scope="module")
def many(quiet_server: Server) -> list[str]:
    """Ids of seven runs in the order they were made."""
    with quiet_server.api() as api:
        return [launched(api, prompt=f"n{n}", cwd="/srv")["id"] for n in range(7)]


def test_a_list_of_runs_is_paged_by_limit_and_before(quiet: Api, many: list[str]) -> None:
    older = quiet.get("/api/v1/runs", query={"before": many[5]}).json()["data"]
    assert [run["id"] for run in older if run["id"] in many] == many[4::-1]  # an agent may have begun one meanwhile
    assert quiet.get("/api/v1/runs", query={"limit": 2, "before": many[5]}).json()["data"] == older[:2]
    assert len(quiet.get("/api/v1/runs", query={"limit": 3}).json()["data"]) == 3


def test_the_link_header_leads_through_the_whole_list(quiet: Api, many: list[str]) -> None:
    seen: list[str] = []
    path, answer = "/api/v1/runs?limit=4", None
    for _ in range(1000):
        answer = quiet.call("GET", path)
        assert answer.status_code == 200
        seen += [run["id"] for run in answer.json()["data"]]
        link = answer.headers.get("Link")
        if not link:
            break
        found = re.fullmatch(r'<([^>]+)>; ?rel="?next"?', link)
        assert found, link
        path = re.sub(r"^https?://[^/]+", "", found[1])
        assert "limit=4" in path
    assert answer is not None
    assert not answer.headers.get("Link")
    assert len(set(seen)) == len(seen)
    assert [run for run in seen if run in many] == many[::-1]


def test_runs_are_filtered_by_the_words_of_the_face(quiet: Api, many: list[str]) -> None:
    quiet.post("/api/runs/:id/cancel", many[0])
    cancelled = quiet.get("/api/v1/runs", query={"status": "CANCELLED", "limit": 1000}).json()["data"]
    assert many[0] in [run["id"] for run in cancelled]
    assert {run["status"] for run in cancelled} == {"CANCELLED"}
    queued = quiet.get("/api/v1/runs", query={"status": "QUEUED", "limit": 1000}).json()["data"]
    assert many[0] not in [run["id"] for run in queued]


def test_a_limit_beyond_a_thousand_is_clamped(quiet: Api, many: list[str]) -> None:
    assert quiet.get("/api/v1/runs", query={"limit": 5000}).status_code == 200


def test_keys_are_paged_too(quiet: Api) -> None:
    for n in range(3):
        quiet.post("/api/v1/keys", body={"name": f"k{n}", "scopes": ["runs:read"]})
    first = quiet.get("/api/v1/keys", query={"limit": 2})
    assert len(first.json()["data"]) == 2
    second: JSON = quiet.get("/api/v1/keys", query={"limit": 2, "before": first.json()["data"][-1]["id"]}).json()
    assert not {key["id"] for key in second["data"]} & {key["id"] for key in first.json()["data"]}


def test_events_of_abbado_are_a_bare_array_and_whole_unless_limited(quiet: Api, queued: JSON) -> None:
    answer = quiet.get("/api/runs/:id/events", queued["id"])
    assert isinstance(answer.json(), list)
    assert quiet.get("/api/runs/:id/events", queued["id"], query={"limit": 1}).json() == answer.json()[:1]


def test_runners_are_paged_by_either_of_their_ids(hand_server: Server) -> None:
    with hand_server.api() as api:
        first, second = (ByHand(api, f"paged-{uuid.uuid4().hex[:8]}") for _ in range(2))
        for hand in (first, second):
            hand.register()
        page = api.get("/runners", query={"limit": 1})
        assert [one["id"] for one in page.json()["runners"]] == [second.id]
        assert page.headers["Link"] == f'</runners?limit=1&before={second.id}>; rel="next"'
        for before in (second.id, second.card["uid"]):
            rest = api.get("/api/v1/runners/available", query={"before": before}).json()["runners"]
            assert rest[0]["id"] == first.id
        assert api.get("/runners", query={"before": "nonsense"}).status_code == 400
