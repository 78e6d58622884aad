"""The AgentsMesh reference: monitor runners and their pods."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from tests.contract.conftest import launched
from tests.contract.reference import RFC3339, assert_shape
from tests.support.by_hand import ByHand
from tests.support.http import JSON, Api
from tests.support.server import Server

RUNNERS = """{
  "runners": [
    {
      "id": 1,
      "name": "dev-runner-01",
      "status": "online",
      "version": "1.2.0",
      "os": "linux",
      "arch": "amd64",
      "labels": ["gpu", "high-memory"],
      "pod_count": 3,
      "max_pods": 10,
      "last_heartbeat_at": "2025-01-15T14:30:00Z",
      "created_at": "2025-01-01T00:00:00Z"
    }
  ]
}"""

RUNNER = """{
  "runner": {
    "id": 1,
    "name": "dev-runner-01",
    "status": "online",
    "version": "1.2.0",
    "os": "linux",
    "arch": "amd64",
    "labels": ["gpu", "high-memory"],
    "pod_count": 3,
    "max_pods": 10,
    "last_heartbeat_at": "2025-01-15T14:30:00Z",
    "created_at": "2025-01-01T00:00:00Z"
  }
}"""

PODS = """{
  "pods": [
    {
      "key": "pod-abc123",
      "status": "running",
      "agent_type_id": "claude-code",
      "initial_prompt": "Fix the login bug",
      "created_at": "2025-01-15T10:30:00Z"
    }
  ],
  "total": 8,
  "limit": 50,
  "offset": 0
}"""

POD_STATUSES = {"queued", "running", "waiting", "paused", "terminated", "failed"}
UNKNOWN = "0190f0f0-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def busy(hand_server: Server) -> Iterator[JSON]:
    """A runner by hand, labelled and sized as in the reference but for one slot: a run holds it, another waits."""
    with hand_server.api() as api:
        hand = ByHand(api, f"dev-runner-{uuid.uuid4().hex[:8]}")
        hand.card |= {"labels": ["gpu", "high-memory"], "max_pods": 1, "arch": "amd64"}
        hand.register()

        def claimed(prompt: str) -> JSON:
            launched(api, prompt=prompt, cwd=hand.root, runnerId=hand.id)
            attempt = hand.claim()
            hand.send(attempt, (1, "run.started", {"pid": 1}))
            return attempt

        done = claimed("finish")
        hand.send(done, (2, "run.completed", {"text": "done"}))
        failed = claimed("fail")
        hand.send(failed, (2, "run.failed", {"code": "cli_error", "message": "no"}))
        running = claimed("Fix the login bug")
        queued = launched(api, prompt="later", cwd=hand.root, runnerId=hand.id)
        runs = {
            "done": done["run_id"],
            "failed": failed["run_id"],
            "running": running["run_id"],
            "queued": queued["id"],
        }
        yield {**api.get("/runners/:id", hand.id).json()["runner"], **runs}


@pytest.fixture
def api(hand_server: Server) -> Iterator[Api]:
    with hand_server.api() as caller:
        yield caller


def test_runners_are_listed_as_in_the_reference(api: Api, busy: JSON) -> None:
    answer = api.get("/runners")
    assert answer.status_code == 200
    assert_shape(answer.json(), RUNNERS)
    shown = next(runner for runner in answer.json()["runners"] if runner["name"] == busy["name"])
    assert shown["id"] == busy["id"]
    assert isinstance(shown["id"], int)
    assert (shown["status"], shown["labels"]) == ("online", ["gpu", "high-memory"])
    assert (shown["pod_count"], shown["max_pods"]) == (1, 1)
    assert shown["os"] in {"linux", "darwin", "windows"}
    assert shown["arch"] in {"amd64", "arm64"}
    assert RFC3339.fullmatch(shown["last_heartbeat_at"])


def test_a_runner_is_shown_as_in_the_reference_under_both_roots(api: Api, busy: JSON) -> None:
    answer = api.get("/runners/:id", busy["id"])
    assert answer.status_code == 200
    assert_shape(answer.json(), RUNNER)
    other = api.get("/api/v1/runners/:id", busy["id"]).json()
    steady = ("id", "name", "runnerId", "labels", "max_pods", "created_at")
    assert [answer.json()["runner"][name] for name in steady] == [other["runner"][name] for name in steady]
    assert [run["id"] for run in answer.json()["sessions"]] == [run["id"] for run in other["sessions"]]


def test_available_runners_are_online_with_a_free_slot(api: Api, busy: JSON) -> None:
    idle = ByHand(api, f"idle-{uuid.uuid4().hex[:8]}")
    idle.register()
    answer = api.get("/runners/available")
    assert answer.status_code == 200
    assert_shape(answer.json(), RUNNERS)
    names = [runner["name"] for runner in answer.json()["runners"]]
    assert busy["name"] not in names
    assert idle.card["name"] in names
    other = api.get("/api/v1/runners/available").json()["runners"]
    # Not the same list: one that was registered a lease ago may have gone offline between the two.
    listed = {runner["name"] for runner in other}
    assert (idle.card["name"] in listed, busy["name"] in listed) == (True, False)


def test_pods_are_listed_as_in_the_reference(api: Api, busy: JSON) -> None:
    answer = api.get("/runners/:id/pods", busy["id"])
    assert answer.status_code == 200
    assert_shape(answer.json(), PODS)
    body = answer.json()
    assert set(body) == {"pods", "total", "limit", "offset"}
    assert (body["limit"], body["offset"]) == (50, 0)
    keys = [pod["key"] for pod in body["pods"]]
    assert keys == [f"pod-{busy[name]}" for name in ("running", "failed", "done")]  # what is only pinned is no pod yet
    assert body["total"] == len(keys)
    running = next(pod for pod in body["pods"] if pod["key"] == f"pod-{busy['running']}")
    assert (running["status"], running["agent_type_id"]) == ("running", "claude-code")
    assert running["initial_prompt"].startswith("Fix the login bug")
    assert {pod["status"] for pod in body["pods"]} <= POD_STATUSES
    other = api.get("/api/v1/runners/:id/pods", busy["runnerId"]).json()
    assert [pod["key"] for pod in other["pods"]] == keys


@pytest.mark.parametrize(
    ("status", "names"), [("running", ["running"]), ("terminated", ["done"]), ("failed", ["failed"]), ("paused", [])]
)
def test_pods_are_filtered_by_the_words_of_the_face(api: Api, busy: JSON, status: str, names: list[str]) -> None:
    answer = api.get("/runners/:id/pods", busy["id"], query={"status": status}).json()
    assert [pod["key"] for pod in answer["pods"]] == [f"pod-{busy[name]}" for name in names]
    assert answer["total"] == len(names)


def test_pods_are_paged_by_limit_and_offset(api: Api, busy: JSON) -> None:
    whole = api.get("/runners/:id/pods", busy["id"]).json()
    page = api.get("/runners/:id/pods", busy["id"], query={"limit": 1, "offset": 1}).json()
    assert page["pods"] == whole["pods"][1:2]
    assert (page["total"], page["limit"], page["offset"]) == (whole["total"], 1, 1)
    beyond = api.get("/runners/:id/pods", busy["id"], query={"offset": 1000}).json()
    assert (beyond["pods"], beyond["total"]) == ([], whole["total"])


def test_the_limit_of_pods_is_clamped(api: Api, busy: JSON) -> None:
    assert api.get("/runners/:id/pods", busy["id"], query={"limit": 100_000}).json()["limit"] == 500


@pytest.mark.parametrize(
    "query",
    [{"status": "COMPLETED"}, {"status": "done"}, {"limit": "many"}, {"limit": -1}, {"offset": -1}, {"colour": "red"}],
)
def test_a_bad_filter_of_pods_is_refused_by_name(api: Api, busy: JSON, query: JSON) -> None:
    answer = api.get("/runners/:id/pods", busy["id"], query=query)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "BAD_REQUEST"
    assert next(iter(query)) in answer.json()["error"]["message"]


@pytest.mark.parametrize("id_", ["999999", UNKNOWN, "nonsense", "-1", "1.5", "01", "9" * 40])
def test_an_unknown_or_malformed_runner_is_not_found(api: Api, id_: str) -> None:
    for answer in (
        api.get("/runners/:id", id_),
        api.get("/runners/:id/pods", id_),
        api.get("/api/v1/runners/:id", id_),
    ):
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "NOT_FOUND"
        assert answer.json()["error"]["message"]


def test_each_endpoint_needs_runners_read(quiet: Api, key_for: Callable[..., Api]) -> None:
    reader, other = key_for("runners:read"), key_for("runs:read", "runs:write")
    for path in ("/runners", "/runners/available", "/api/v1/runners", "/api/v1/runners/available"):
        assert reader.call("GET", path).status_code == 200
        refused = other.call("GET", path)
        assert refused.status_code == 403
        assert refused.json()["error"]["code"] == "FORBIDDEN"
        assert "runners:read" in refused.json()["error"]["message"]
    for path in ("/runners/1", "/runners/1/pods"):
        assert reader.call("GET", path).status_code == 404
        assert other.call("GET", path).status_code == 403
