"""Keys: shown once, with scopes, expiring, revoked at once; and what is open without one."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.conftest import everywhere, launched
from tests.contract.reference import RFC3339, UUIDV7
from tests.support.by_hand import ByHand
from tests.support.http import JSON, Api
from tests.support.people import newcomer
from tests.support.waiting import PATIENCE, eventually, never

NEEDS_A_KEY = [
    ("GET", "/api/v1/runners"),
    ("GET", "/api/v1/runners/1"),
    ("GET", "/api/v1/runners/available"),
    ("GET", "/api/v1/runners/1/pods"),
    ("GET", "/runners"),
    ("GET", "/runners/1"),
    ("GET", "/runners/available"),
    ("GET", "/runners/1/pods"),
    ("POST", "/api/v1/runs"),
    ("GET", "/api/v1/runs"),
    ("GET", "/api/v1/runs/x"),
    ("GET", "/api/v1/runs/x/events"),
    ("POST", "/api/v1/runs/x/events"),
    ("POST", "/api/v1/runs/x/followup"),
    ("GET", "/api/v1/keys"),
    ("POST", "/api/v1/keys"),
    ("DELETE", "/api/v1/keys/x"),
    ("POST", "/api/v1/runners/register"),
    ("POST", "/api/v1/runners/1/poll"),
    ("POST", "/api/v1/runners/1/commands/x"),
    ("GET", "/api/runs/x/events"),
    ("GET", "/api/runs/x/events/stream"),
    ("POST", "/api/runs/x/cancel"),
    ("POST", "/api/runs/x/pause"),
    ("POST", "/api/runs/x/continue"),
    ("DELETE", "/api/runs/x"),
    ("GET", "/api/approvals"),
    ("POST", "/api/approvals/x"),
]


@pytest.mark.parametrize(("method", "path"), NEEDS_A_KEY)
@pytest.mark.parametrize("key", [None, "crl_live_unknown"])
def test_everything_needs_a_key_and_says_so_in_the_shape_of_its_root(
    quiet: Api, method: str, path: str, key: str | None
) -> None:
    answer = quiet.as_key(key).call(method, path, raw="{not json")
    assert answer.status_code == 401, answer.text
    if path.startswith(("/api/v1/", "/runners")):
        assert answer.json() == {"error": {"code": "UNAUTHORIZED", "message": "Authentication required"}}
    elif path.startswith("/api/runs"):
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert answer.text == "Authentication required"
    else:
        assert answer.json() == {"error": "Authentication required"}


@pytest.mark.parametrize("header", ["Basic {key}", "{key}", "Bearer", "Token {key}", "Bearer {key} more"])
def test_only_a_bearer_key_counts(quiet: Api, header: str) -> None:
    answer = quiet.as_key(None).get("/api/v1/runs", headers={"Authorization": header.format(key=quiet.key)})
    assert answer.status_code == 401


@pytest.mark.parametrize("header", ["bearer {key}", "Bearer  {key}", "Bearer\t{key}"])
def test_the_scheme_may_be_written_as_http_allows(quiet: Api, header: str) -> None:
    answer = quiet.as_key(None).get("/api/v1/runs", headers={"Authorization": header.format(key=quiet.key)})
    assert answer.status_code == 200


def test_a_key_is_not_taken_from_the_url(quiet: Api) -> None:
    for name in ("token", "key", "api_key", "access_token"):
        assert quiet.as_key(None).get("/api/v1/runs", query={name: quiet.key}).status_code == 401


def test_health_and_the_openapi_document_are_open(quiet: Api) -> None:
    stranger = quiet.as_key(None)
    health = stranger.get("/api/health")
    assert (health.status_code, health.json()) == (200, "ok")
    document = stranger.get("/api/openapi.json")
    assert document.status_code == 200
    assert document.json()["openapi"].startswith("3.1")


def test_a_key_is_made_shown_once_and_listed_without_itself(quiet: Api) -> None:
    answer = quiet.post("/api/v1/keys", body={"name": "ci", "scopes": ["runs:read", "runs:write"]})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["key"].startswith("crl_live_")
    assert len(made["key"]) >= 40
    assert UUIDV7.fullmatch(made["id"])
    assert (made["name"], sorted(made["scopes"])) == ("ci", ["runs:read", "runs:write"])
    listing = quiet.get("/api/v1/keys")
    assert made["key"] not in listing.text
    shown = listing.json()["data"][0]
    assert shown["id"] == made["id"]
    assert made["key"].startswith(shown["prefix"])
    assert len(shown["prefix"]) < 20
    assert quiet.get("/api/v1/keys/:id", made["id"]).json() == shown
    assert "key" not in shown
    assert "hash" not in shown


def test_a_revoked_key_ends_at_once(quiet: Api, house: str) -> None:
    made = quiet.post("/api/v1/keys", body={"name": "short", "scopes": ["*"]}).json()
    mine = quiet.as_key(made["key"])
    assert mine.get("/api/v1/runs").status_code == 200
    assert quiet.delete("/api/v1/keys/:id", made["id"]).status_code == 200
    if house == "three":  # those that did not revoke it have to hear of it
        everywhere(lambda: mine.get("/api/v1/runs").status_code == 401)
    assert mine.get("/api/v1/runs").status_code == 401


def test_revoking_an_unknown_or_malformed_key_is_not_found(quiet: Api) -> None:
    for unknown in ("0190f0f0-0000-7000-8000-000000000000", "nonsense"):
        answer = quiet.delete("/api/v1/keys/:id", unknown)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "NOT_FOUND"


def test_an_expired_key_is_unknown(quiet: Api, key_for: Callable[..., Api]) -> None:
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=3 * PATIENCE)
    mine = key_for("runs:read", expires_at=soon.isoformat().replace("+00:00", "Z"))
    assert mine.get("/api/v1/runs").status_code == 200
    eventually(lambda: mine.get("/api/v1/runs").status_code == 401, within=8, every=0.3)


def test_a_key_that_never_ends_can_still_be_shown(quiet: Api) -> None:
    last = "9999-12-31T23:59:59Z"
    made = quiet.post("/api/v1/keys", body={"name": "k", "scopes": ["*"], "expiresAt": last})
    assert made.status_code == 201
    assert quiet.get("/api/v1/keys/:id", made.json()["id"]).json()["expiresAt"].startswith("9999-12-31T23:59:59")


def test_a_key_says_when_it_expires(quiet: Api) -> None:
    made = quiet.post("/api/v1/keys", body={"name": "k", "scopes": ["*"], "expiresAt": "2099-01-01T00:00:00Z"}).json()
    shown = next(key for key in quiet.get("/api/v1/keys").json()["data"] if key["id"] == made["id"])
    times = [value for value in shown.values() if isinstance(value, str) and value.startswith("2099-01-01T00:00:00")]
    assert times
    assert RFC3339.fullmatch(times[0])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"scopes": ["*"]}, "name"),
        ({"name": "", "scopes": ["*"]}, "name"),
        ({"name": "k" * 1000, "scopes": ["*"]}, "name"),
        ({"name": "k", "scopes": []}, "scopes"),
        ({"name": "k", "scopes": ["everything"]}, "scopes"),
        ({"name": "k", "scopes": "runs:read"}, "scopes"),
        ({"name": "k", "scopes": ["*"], "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "k", "scopes": ["*"], "expires_at": "tomorrow"}, "expires_at"),
        ({"name": "k", "scopes": ["*"], "expires_at": 4102444800}, "expires_at"),
        ({"name": "k", "scopes": ["*"], "expires_at": "2099-01-01T00:00:00"}, "expires_at"),
        ({"name": "k", "scopes": ["*"], "expires_at": "9999-12-31T23:59:59-14:00"}, "expires_at"),
    ],
)
def test_a_bad_key_is_refused_by_field(quiet: Api, body: JSON, field: str) -> None:
    answer = quiet.post("/api/v1/keys", body=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "BAD_REQUEST"
    assert field in answer.json()["error"]["message"]


def test_nobody_hands_out_more_than_they_have(key_for: Callable[..., Api]) -> None:
    some = key_for("keys:write", "runs:read")
    refused = some.post("/api/v1/keys", body={"name": "more", "scopes": ["*"]})
    assert refused.status_code == 403
    assert some.post("/api/v1/keys", body={"name": "same", "scopes": ["runs:read"]}).status_code == 201


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/api/v1/runs", "runs:read"),
        ("GET", "/api/v1/runs/x", "runs:read"),
        ("GET", "/api/v1/runs/x/events", "runs:read"),
        ("POST", "/api/v1/runs", "runs:write"),
        ("POST", "/api/v1/runs/x/followup", "runs:write"),
        ("GET", "/api/v1/runners", "runners:read"),
        ("POST", "/api/v1/runners/register", "runners:write"),
        ("GET", "/api/v1/keys", "keys:read"),
        ("POST", "/api/v1/keys", "keys:write"),
        ("PATCH", "/api/v1/keys/x", "keys:write"),
        ("DELETE", "/api/v1/keys/x", "keys:write"),
        ("GET", "/api/v1/limits", "keys:read"),
        ("PATCH", "/api/v1/limits", "keys:write"),
        ("GET", "/api/runs/x/events", "runs:read"),
        ("GET", "/api/runs/x/events/stream", "runs:read"),
        ("POST", "/api/runs/x/cancel", "runs:write"),
        ("POST", "/api/runs/x/pause", "runs:write"),
        ("POST", "/api/runs/x/continue", "runs:write"),
        ("DELETE", "/api/runs/x", "runs:write"),
        ("GET", "/api/approvals", "approvals:read"),
        ("POST", "/api/approvals/x", "approvals:write"),
        ("GET", "/api/secrets", "secrets:read"),
        ("POST", "/api/secrets", "secrets:write"),
        ("DELETE", "/api/secrets", "secrets:write"),
        ("GET", "/api/mcps", "mcps:read"),
        ("POST", "/api/mcps", "mcps:write"),
        ("PATCH", "/api/mcps/x", "mcps:write"),
        ("DELETE", "/api/mcps/x", "mcps:write"),
        ("GET", "/api/people", "people:read"),
        ("GET", "/api/people/x", "people:read"),
        ("PATCH", "/api/people/x", "people:write"),
        ("DELETE", "/api/people/x", "people:write"),
        ("GET", "/api/invitations", "people:read"),
        ("POST", "/api/invitations", "people:write"),
        ("DELETE", "/api/invitations/x", "people:write"),
        ("GET", "/api/sign-ins", "people:read"),
        ("PATCH", "/api/orgs/1", "people:write"),
    ],
)
def test_each_endpoint_names_the_scope_that_a_key_lacks(
    key_for: Callable[..., Api], method: str, path: str, scope: str
) -> None:
    everything = ["runs", "runners", "keys", "approvals", "secrets", "mcps", "people"]
    others = [f"{what}:{how}" for what in everything for how in ("read", "write") if f"{what}:{how}" != scope]
    answer = key_for(*others).call(method, path, raw="{not json", headers={"Accept": "application/json"})
    assert answer.status_code == 403, answer.text  # before the body is read, and before the object is looked for
    assert scope in answer.text


def test_an_ordinary_full_key_also_works_for_a_runner(quiet: Api, key_for: Callable[..., Api]) -> None:
    refused = key_for("*").post("/api/v1/runners/register", body={})
    assert refused.status_code == 400  # not 403


def test_a_runners_key_does_a_runners_work_and_nothing_else(by_hand: Api) -> None:
    made = by_hand.post("/api/v1/keys", body={"name": "a machine", "scopes": ["runner"]})
    assert made.status_code == 201, made.text
    assert made.json()["scopes"] == ["runner"]
    key = by_hand.as_key(made.json()["key"])
    machine = ByHand(key, "with-a-key-of-its-own")
    machine.register()
    run = launched(by_hand, prompt="p", cwd=machine.root)
    claimed = machine.claim()
    assert claimed["run_id"] == run["id"]
    assert machine.send(claimed, (1, "run.started", {"pid": 1})) == (200, {"n": 1})
    assert machine.send(claimed, (2, "run.completed", {"text": "done"})) == (200, {"n": 2})
    others = [
        key.get("/api/v1/runs"),
        key.get("/api/v1/runs/:id", run["id"]),
        key.get("/api/v1/runners"),
        key.get("/api/me"),
        key.get("/api/plan"),
        key.post("/api/v1/runs", body={"prompt": "p", "cwd": machine.root}),
        key.post("/api/v1/keys", body={"name": "more", "scopes": ["*"]}),
    ]
    assert {answer.status_code for answer in others} == {403}
    assert "runner's key" in key.get("/api/me").text
    refused = by_hand.post("/api/v1/keys", body={"name": "k", "scopes": ["runner", "runs:read"]})
    assert refused.status_code == 400
    assert "scopes" in refused.json()["error"]["message"]


def test_a_poll_whose_key_is_revoked_while_it_waits_is_given_nothing(by_hand: Api) -> None:
    made = by_hand.post("/api/v1/keys", body={"name": "a machine", "scopes": ["runner"]}).json()
    machine = ByHand(by_hand.as_key(made["key"]), "revoked-while-it-waits")
    machine.register()
    with ThreadPoolExecutor(1) as threads:
        body = {"session": machine.session, "poll_no": 1, "free_slots": 2, "wait_seconds": 25}
        poll = threads.submit(machine.api.post, "/api/v1/runners/:id/poll", machine.id, body=body)
        never(poll.done, what="the poll has nothing to wait for")
        began = time.monotonic()
        assert by_hand.delete("/api/v1/keys/:id", made["id"]).status_code == 200
        run = launched(by_hand, prompt="p", cwd=machine.root)
        assert poll.result(30 * PATIENCE).status_code == 401
        assert time.monotonic() - began < 10 * PATIENCE  # at once, and not when its time is up
    assert by_hand.get("/api/v1/runs/:id", run["id"]).json()["status"] == "QUEUED"


def test_a_key_is_renamed_and_given_a_limit_of_its_own(quiet: Api) -> None:
    made = quiet.post("/api/v1/keys", body={"name": "ci", "scopes": ["runs:read"], "rate_limit": 3}).json()
    assert made["rateLimit"] == 3
    key = quiet.as_key(made["key"])
    answers = [key.get("/api/v1/runs") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[0].headers["RateLimit-Limit"] == "3"
    changed = quiet.patch("/api/v1/keys/:id", made["id"], body={"name": "nightly", "rateLimit": 5})
    assert changed.status_code == 200, changed.text
    assert (changed.json()["name"], changed.json()["rateLimit"]) == ("nightly", 5)
    # A refused request does not count, so that the first that goes by the new limit is the fourth.
    raised = eventually(lambda: key.get("/api/v1/runs").raise_for_status(), within=5)
    assert (raised.headers["RateLimit-Limit"], raised.headers["RateLimit-Remaining"]) == ("5", "1")
    assert quiet.patch("/api/v1/keys/:id", made["id"], body={"rate_limit": None}).json()["rateLimit"] is None
    everywhere(lambda: "RateLimit-Limit" not in key.get("/api/v1/runs").headers)  # these servers have none
    for bad in ({"rate_limit": 0}, {"rate_limit": 100_001}, {"rate_limit": "many"}, {"name": " "}):
        refused = quiet.patch("/api/v1/keys/:id", made["id"], body=bad)
        assert refused.status_code == 400, refused.text
        assert next(iter(bad)) in refused.json()["error"]["message"]
    assert quiet.patch("/api/v1/keys/:id", "unknown", body={"name": "x"}).status_code == 404


def test_a_sign_in_link_is_made_for_the_console_by_a_full_key_alone(quiet: Api, key_for: Callable[..., Api]) -> None:
    made = newcomer(quiet, "owner").by_key().post("/api/v1/sign-in-links")
    assert made.status_code == 201
    assert made.json()["url"].startswith(f"{quiet.url}/app/")
    assert RFC3339.fullmatch(made.json()["expiresAt"])
    assert key_for("keys:write", "runs:write").post("/api/v1/sign-in-links").status_code == 403


def test_a_run_of_one_key_is_seen_by_the_other_keys_of_the_org(quiet: Api, key_for: Callable[..., Api]) -> None:
    run = launched(key_for("*"), prompt="p", cwd="/srv")
    assert quiet.get("/api/v1/runs/:id", run["id"]).status_code == 200
