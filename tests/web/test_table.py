"""Every route there is, walked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest

from corral.platform import keys
from corral.platform.access import CALL_TOOLS, RUNNER, SCOPES
from corral.platform.database import commit, sql
from corral.web.app import routes
from corral.web.routes import Route
from tests.support.http import Api
from tests.web.conftest import Running

ALL = routes()
GUARDED = [route for route in ALL if not route.open]
API = [route for route in ALL if not route.hidden]
UNKNOWN = "0190f0f0-0000-7000-8000-000000000000"
#: CONTRACT §2: health, the document, the sign-in pages and static files; `/` and `/app` only lead on.
OPEN = {
    "GET /",
    "GET /app",
    "GET /app/sign-in",
    "POST /app/sign-in",
    "POST /api/sign-ins",
    "POST /api/invitations/accept",
    "POST /app/sign-in/provider",
    "GET /app/sign-in/provider/back",
    "GET /app/invitation",
    "POST /app/invitation",
    "POST /app/invitation/accept",
    "GET /api/health",
    "GET /api/ready",
    "GET /api/openapi.json",
    "GET /static/<name>",
}
#: Who calls may always ask who that is, and see to what is their own. These look for themselves who that is.
ANYBODY = {
    "GET /api/me",
    "PATCH /api/me",
    "PUT /api/me/password",
    "POST /api/me/leave",
    "GET /api/orgs",
    "GET /api/plan",
    "PATCH /api/sign-ins/<id>",
    "DELETE /api/sign-ins/<id>",
    "POST /api/invitations/join",
}
#: A body that each route with one takes.
BODIES: dict[str, Any] = {
    "follow_up_run": {"prompt": "p"},
    "message_run": {"text": "hello"},
    "answer_approval": {"decision": "allow"},
    "poll_runner": {"session": "s", "poll_no": 1, "free_slots": 0, "wait_seconds": 0},
    "store_run_events": {"attempt": 1, "lease": "l"},
    "finish_command": {"session": "s", "status": "done"},
    "change_person": {"role": "member"},
    "rename_org": {"name": "n"},
    "switch_org": {"org_id": 1},
}


def filled(route: Route, id_: str = UNKNOWN) -> str:
    return re.sub(r"<[a-z_]+>", id_, route.path)


def named(route: Route) -> str:
    return f"{route.method} {route.path}"


def send(api: Api, route: Route, path: str | None = None, **options: Any) -> Any:
    headers = {"Accept": "application/json", "Origin": api.url, **options.pop("headers", {})}
    return api.client.request(route.method, path or filled(route), headers={**api._auth(), **headers}, **options)


@pytest.fixture(scope="module")
def stranger(running: Running) -> Iterator[Api]:
    """A full key of another org."""

    async def make() -> str:
        token = keys.PREFIX + "of-another-org-altogether"

        def unit() -> Any:
            yield sql("INSERT INTO orgs (id, name, created_at) VALUES (77, 'other', 0)")
            yield from keys.insert(77, name="k", scopes="*", user_id=None, token=token)

        await commit(unit())
        return token

    with running.api(running.do(make())) as caller:
        yield caller


@pytest.fixture(scope="module")
def full(running: Running) -> Iterator[Api]:
    with running.api() as caller:
        yield caller


@pytest.fixture(scope="module")
def nobody(running: Running) -> Iterator[Api]:
    with running.api(None) as caller:
        yield caller


@pytest.fixture(scope="module")
def unknown(running: Running) -> Iterator[Api]:
    with running.api("crl_live_unknown") as caller:
        yield caller


@pytest.fixture(scope="module")
def lacking(full: Api) -> Callable[[str | None], Api]:
    """Return a caller with every scope but one."""

    @cache
    def caller(lacks: str | None) -> Api:
        also = {"runners:write"} if lacks == RUNNER else set[str]()
        others = [scope for scope in SCOPES if scope not in {lacks, RUNNER, *also}]
        return full.as_key(full.post("/api/v1/keys", body={"name": "k", "scopes": others}).json()["key"])

    return caller


def test_what_is_open_is_what_the_contract_opens() -> None:
    assert {named(route) for route in ALL if route.open} == OPEN


def test_every_route_declares_a_scope_or_is_open() -> None:
    for route in GUARDED:
        assert named(route) in ANYBODY or route.scope in {*SCOPES, CALL_TOOLS, "*"}, named(route)


def test_names_are_unique_so_that_operations_are() -> None:
    assert len({route.name for route in API}) == len(API)


def test_what_writes_needs_a_scope_to_write() -> None:
    for route in GUARDED:
        if route.method != "GET" and not route.hidden and named(route) not in ANYBODY:
            assert route.scope is not None
            assert route.scope.endswith((":write", "*", CALL_TOOLS, RUNNER)), named(route)


def test_every_post_takes_an_idempotency_key_but_the_runner_protocol() -> None:
    for route in API:
        if route.method == "POST":
            assert route.repeatable == (route.tag != "runner protocol" and not route.open), named(route)


@pytest.mark.parametrize("route", GUARDED, ids=named)
def test_without_a_key_nothing_is_reached(nobody: Api, unknown: Api, route: Route) -> None:
    for api in (nobody, unknown):
        answer = send(api, route, content=b"{not json")
        if route.hidden:
            assert answer.status_code in (303, 401)
        else:
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("route", [route for route in GUARDED if named(route) not in ANYBODY], ids=named)
def test_without_its_scope_a_route_is_refused_before_the_body_is_read(
    lacking: Callable[[str | None], Api], route: Route
) -> None:
    answer = send(lacking(route.scope), route, content=b"{not json")
    assert answer.status_code == 403, answer.text
    assert str(route.scope) in answer.text


@pytest.mark.parametrize("route", [route for route in GUARDED if "<id>" in route.path], ids=named)
def test_what_belongs_to_another_org_is_not_found(full: Api, stranger: Api, route: Route) -> None:
    run = full.post("/api/v1/runs", body={"prompt": "p", "cwd": "/srv"}).json()["id"]
    key = full.post("/api/v1/keys", body={"name": "k", "scopes": ["runs:read"]}).json()["id"]
    for id_ in (run, key, UNKNOWN, "1", "nonsense", "x" * 300, "%00"):
        options = {"json": BODIES[route.name]} if route.name in BODIES else {}
        answer = send(stranger, route, filled(route, id_), **options)
        assert answer.status_code in ({404} if not route.hidden else {400, 404}), (id_, answer.status_code, answer.text)


@pytest.mark.parametrize("path", sorted({route.path for route in API}))
def test_a_path_says_which_methods_it_takes(full: Api, path: str) -> None:
    concrete = re.sub(r"<[a-z_]+>", UNKNOWN, path)
    declared = {method for route in ALL if route.path == path for method in route.methods} | {"OPTIONS"}
    asked = full.call("OPTIONS", concrete)
    assert asked.status_code == 204
    assert set(asked.headers["Allow"].split(", ")) == declared
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "BREW"} - declared:
        answer = full.call(method, concrete, raw=b"{}")
        assert answer.status_code == 405
        assert set(answer.headers["Allow"].split(", ")) == declared


@pytest.mark.parametrize("route", [route for route in API if route.method == "GET"], ids=named)
def test_head_answers_as_get_does_without_a_body(full: Api, route: Route) -> None:
    run = full.post("/api/v1/runs", body={"prompt": "p", "cwd": "/srv"}).json()["id"]
    head = full.call("HEAD", filled(route, run))
    assert head.status_code in (200, 404)
    assert head.content == b""
    assert full.call("GET", "/api/health").status_code == 200  # the connection is still good


@pytest.mark.parametrize("route", ALL, ids=named)
def test_every_answer_carries_the_security_headers_and_its_request_id(full: Api, nobody: Api, route: Route) -> None:
    for api in (full, nobody):
        if route.content == "text/event-stream" and api is full:
            continue
        headers = send(api, route, content=b"{}").headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Request-Id"]


def test_a_path_of_nobody_is_401_without_a_key_and_404_with_one(nobody: Api, full: Api) -> None:
    for path in ("/nothing", "/api", "/api/nothing", "/api/v1/nothing", "/runners/1/2/3", "/api/runs/x/y/z"):
        assert nobody.call("GET", path).status_code == 401, path
        assert full.call("GET", path).status_code == 404, path
    assert nobody.call("GET", "/static/nothing.js").status_code == 404
    assert nobody.call("GET", "/static/..%2f..%2fapp.py").status_code == 404
    assert nobody.call("GET", "/static/" + "a" * 3000).status_code == 404
