"""Bad input of every kind gets its documented status, in the shape of its root, naming the field."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

import pytest

from tests.contract.conftest import launched
from tests.support.http import JSON, Api
from tests.support.waiting import PATIENCE

GOOD: JSON = {"prompt": "p", "cwd": "/srv"}
UNKNOWN = "0190f0f0-0000-7000-8000-000000000000"


def refused(answer: Any, status: int, code: str, *words: str) -> None:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"code", "message"}
    assert error["code"] == code
    for word in words:
        assert word in error["message"], error["message"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"cwd": "/srv"}, "prompt"),
        ({"prompt": "p"}, "cwd"),
        ({**GOOD, "prompt": 7}, "prompt"),
        ({**GOOD, "prompt": None}, "prompt"),
        ({**GOOD, "prompt": ["p"]}, "prompt"),
        ({**GOOD, "prompt": ""}, "prompt"),
        ({**GOOD, "prompt": "  \n "}, "prompt"),
        ({**GOOD, "cwd": 7}, "cwd"),
        ({**GOOD, "cwd": ""}, "cwd"),
        ({**GOOD, "cwd": "/" + "x" * 5000}, "cwd"),
        ({**GOOD, "cwd": "/srv\0/x"}, "cwd"),
        ({**GOOD, "prompt": "a\0b"}, "prompt"),
        ({**GOOD, "model": "x" * 1000}, "model"),
        ({**GOOD, "model": {}}, "model"),
        ({**GOOD, "permissionMode": True}, "permissionMode"),
        ({**GOOD, "permission_mode": "acceptEdits", "permissionMode": "acceptEdits"}, "permission"),
        ({**GOOD, "runnerId": {}}, "runnerId"),
        ({**GOOD, "colour": "red"}, "colour"),
        ({**GOOD, "": 1}, ""),
        ({**GOOD, "labels": "gpu"}, "labels"),
        ({**GOOD, "labels": [1]}, "labels"),
    ],
)
def test_a_bad_launch_is_refused_by_field(quiet: Api, body: JSON, field: str) -> None:
    refused(quiet.post("/api/v1/runs", body=body), 400, "BAD_REQUEST", field)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"{not json}",
        b'{"prompt": "p", "cwd": "/srv"} more',
        b"[]",
        b"null",
        b'"text"',
        b"7",
        b'{"prompt": "\xff\xfe", "cwd": "/srv"}',
        b"\xff\xfe\x00",
        b'{"prompt": "\\ud800", "cwd": "/srv"}',
        b"[" * 20_000 + b"]" * 20_000,
        b'{"prompt": "a\x00b", "cwd": "/srv"}',
        b'{"prompt": NaN, "cwd": "/srv"}',
    ],
)
def test_a_body_that_is_not_the_json_we_read_is_a_400(quiet: Api, raw: bytes) -> None:
    refused(quiet.post("/api/v1/runs", raw=raw), 400, "BAD_REQUEST")


def test_a_field_given_twice_is_decided_not_crashed_on(quiet: Api) -> None:
    answer = quiet.post("/api/v1/runs", raw='{"prompt": "a", "prompt": "b", "cwd": "/srv"}')
    assert answer.status_code in (201, 400)


def test_a_huge_body_is_too_large(quiet: Api) -> None:
    answer = quiet.post("/api/v1/runs", raw=json.dumps({**GOOD, "prompt": "x" * (20 * 1024 * 1024)}))
    refused(answer, 413, "TOO_LARGE")


def test_a_long_prompt_is_taken_and_a_longer_one_refused_by_name(quiet: Api) -> None:
    assert quiet.post("/api/v1/runs", body={**GOOD, "prompt": "é" * 50_000}).status_code == 201
    answer = quiet.post("/api/v1/runs", body={**GOOD, "prompt": "x" * 5_000_000})
    assert answer.status_code in (400, 413)
    assert "prompt" in answer.text or answer.status_code == 413


@pytest.mark.parametrize(
    "text", ["ünï 漢字 🐎", "line\nline\ttab", "<script>alert(1)</script>", "\u202e reversed", "'\"; --"]
)
def test_text_comes_back_as_it_was_sent(quiet: Api, text: str) -> None:
    run = launched(quiet, prompt=text, cwd="/srv/ünï 漢字")
    shown = quiet.get("/api/v1/runs/:id", run["id"]).json()
    assert (shown["input"], shown["cwd"]) == (text, "/srv/ünï 漢字")


@pytest.mark.parametrize(
    "id_", [UNKNOWN, "nonsense", "0", "..%2F..", "%00", "%FF", "ä", "a" * 5000, UNKNOWN.upper(), "'"]
)
def test_an_unknown_or_malformed_id_in_a_path_is_not_found(quiet: Api, id_: str) -> None:
    for method, path in (
        ("GET", f"/api/v1/runs/{id_}"),
        ("GET", f"/api/v1/runs/{id_}/events"),
        ("GET", f"/api/runs/{id_}/events"),
        ("GET", f"/api/runs/{id_}/events/stream"),
        ("POST", f"/api/runs/{id_}/cancel"),
        ("POST", f"/api/runs/{id_}/pause"),
        ("POST", f"/api/runs/{id_}/continue"),
        ("DELETE", f"/api/runs/{id_}"),
    ):
        answer = quiet.client.request(method, path, headers={"Authorization": f"Bearer {quiet.key}"})
        assert answer.status_code == 404, f"{method} {path[:60]}: {answer.status_code} {answer.text[:200]}"
    followed = quiet.client.post(
        f"/api/v1/runs/{id_}/followup", json={"prompt": "p"}, headers={"Authorization": f"Bearer {quiet.key}"}
    )
    refused(followed, 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        ("/api/v1/runs", {"limit": "many"}, "limit"),
        ("/api/v1/runs", {"limit": "0"}, "limit"),
        ("/api/v1/runs", {"limit": "-1"}, "limit"),
        ("/api/v1/runs", {"limit": "1.5"}, "limit"),
        ("/api/v1/runs", {"before": "nonsense"}, "before"),
        ("/api/v1/runs", {"before": UNKNOWN}, "before"),
        ("/api/v1/runs", {"status": "sleeping"}, "status"),
        ("/api/v1/runs", {"colour": "red"}, "colour"),
        ("/api/v1/runs", {"limit": ["1", "2"]}, "limit"),
        ("/api/v1/keys", {"limit": "many"}, "limit"),
        ("/api/v1/runners", {"colour": "red"}, "colour"),
    ],
)
def test_a_bad_query_is_refused_by_name(quiet: Api, path: str, query: JSON, field: str) -> None:
    answer = quiet.call("GET", path, query=query)
    refused(answer, 400, "BAD_REQUEST", field)


@pytest.mark.parametrize("after", ["x", "-1", "1.5", "9" * 40, ""])
def test_a_bad_cursor_of_events_is_refused_by_name(quiet: Api, queued: JSON, after: str) -> None:
    answer = quiet.get("/api/v1/runs/:id/events", queued["id"], query={"after": after})
    refused(answer, 400, "BAD_REQUEST", "after")


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v1/", "/api/v1", "/runners/1/pods/2", "/api/v1/runs/x/y/z"])
def test_an_unknown_path_of_the_v1_root_is_not_found_with_a_code(quiet: Api, path: str) -> None:
    refused(quiet.call("GET", path), 404, "NOT_FOUND")
    stranger = quiet.as_key(None).call("GET", path)
    assert stranger.status_code == 401


def test_unknown_paths_of_the_other_roots_have_the_shapes_of_those_roots(quiet: Api) -> None:
    bare = quiet.call("GET", "/api/runs/x/nothing")
    assert bare.status_code == 404
    assert bare.headers["Content-Type"].startswith("text/plain")
    asked = quiet.call("GET", "/api/runs/x/nothing", headers={"Accept": "application/json"})
    assert asked.status_code == 404
    assert isinstance(asked.json()["error"], str)
    other = quiet.call("GET", "/api/nothing")
    assert other.status_code == 404
    assert isinstance(other.json()["error"], str)


def test_the_runs_root_answers_plain_text_unless_json_is_asked_for(quiet: Api) -> None:
    plain = quiet.post("/api/runs/:id/cancel", UNKNOWN)
    assert plain.status_code == 404
    assert plain.headers["Content-Type"].startswith("text/plain")
    assert plain.text
    assert not plain.text.startswith("{")
    for accept in (
        "application/json",
        "Application/JSON",
        "text/html;q=0.5, application/json",
        "application/problem+json, application/json",
    ):
        asked = quiet.post("/api/runs/:id/cancel", UNKNOWN, headers={"Accept": accept})
        assert asked.json() == {"error": plain.text}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/api/v1/runs", {"GET", "POST"}),
        ("PUT", "/api/v1/runs", {"GET", "POST"}),
        ("PATCH", "/api/v1/runs/x", {"GET"}),
        ("POST", "/api/v1/runners", {"GET"}),
        ("POST", "/runners", {"GET"}),
        ("DELETE", "/runners/1", {"GET"}),
        ("GET", "/api/runs/x/cancel", {"POST"}),
        ("PUT", "/api/v1/keys", {"GET", "POST"}),
        ("POST", "/api/health", {"GET"}),
        ("GET", "/api/v1/runners/1/poll", {"POST"}),
    ],
)
def test_a_method_that_a_path_does_not_have_is_a_405_with_allow(
    quiet: Api, method: str, path: str, allowed: set[str]
) -> None:
    answer = quiet.call(method, path, raw=b"{}")
    assert answer.status_code == 405, answer.text
    named = {name.strip() for name in answer.headers["Allow"].split(",")}
    assert named >= allowed
    assert method not in named
    if path.startswith(("/api/v1", "/runners")):
        assert answer.json()["error"]["code"] == "METHOD_NOT_ALLOWED"


@pytest.mark.parametrize("method", ["BREW", "TRACE", "PROPFIND"])
def test_a_method_that_nobody_has_is_refused(quiet: Api, method: str) -> None:
    answer = quiet.call(method, "/api/v1/runs")
    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]


def test_head_answers_like_get_without_a_body(quiet: Api) -> None:
    answer = quiet.call("HEAD", "/api/v1/runs")
    assert answer.status_code == 200
    assert answer.content == b""


def test_checks_come_in_their_order(quiet: Api, queued: JSON) -> None:
    stranger = quiet.as_key("crl_live_nobody")
    reader = quiet.as_key(quiet.post("/api/v1/keys", body={"name": "r", "scopes": ["runs:read"]}).json()["key"])
    # 401 before 404, 405, 413 and 400
    assert stranger.call("GET", f"/api/v1/runs/{UNKNOWN}").status_code == 401
    assert stranger.call("DELETE", "/api/v1/runs").status_code == 401
    assert stranger.post("/api/v1/runs", raw="{").status_code == 401
    # 405 before 403
    assert reader.call("DELETE", "/api/v1/runs").status_code == 405
    # 403 before 400 and before 404 of the object
    assert reader.post("/api/v1/runs", raw="{").status_code == 403
    assert reader.post("/api/v1/runs/:id/followup", UNKNOWN, body={"prompt": "p"}).status_code == 403
    # 400 before 404 of the object, and before 409
    assert quiet.post("/api/v1/runs/:id/followup", UNKNOWN, body={"prompt": 7}).status_code == 400
    assert quiet.post("/api/v1/runs/:id/followup", queued["id"], body={"prompt": 7}).status_code == 400
    assert quiet.post("/api/v1/runs/:id/followup", queued["id"], body={"prompt": "p"}).status_code == 409


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-8", "application/octet-stream"],
)
def test_the_content_type_decides_nothing_about_good_json(quiet: Api, kind: str) -> None:
    answer = quiet.post("/api/v1/runs", body=GOOD, headers={"Content-Type": kind})
    assert answer.status_code == 201


def test_a_client_that_says_a_wrong_length_gets_no_500(quiet: Api) -> None:
    connection = http.client.HTTPConnection(quiet.url.removeprefix("http://"), timeout=30 * PATIENCE)
    connection.putrequest("POST", "/api/v1/runs")
    connection.putheader("Authorization", f"Bearer {quiet.key}")
    connection.putheader("Content-Length", "nonsense")
    connection.endheaders()
    assert 400 <= connection.getresponse().status < 500
    connection.close()


@pytest.mark.parametrize("path", ["/api/v1/keys", "/api/v1/runs", "/api/approvals"])
def test_a_nul_in_the_body_of_a_get_is_refused_by_name(quiet: Api, path: str) -> None:
    answer = quiet.get(path, body={"before": "a\0b"})
    assert answer.status_code == 400
    assert "before must not contain a NUL" in answer.text


def test_a_target_that_is_no_url_is_answered(quiet: Api) -> None:
    host, _, port = quiet.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30 * PATIENCE) as connection:
        connection.sendall(f"CONNECT x:80 HTTP/1.1\r\nAuthorization: Bearer {quiet.key}\r\n\r\n".encode())
        assert connection.recv(12) == b"HTTP/1.1 404"
