from __future__ import annotations

from typing import Any

import pytest

from corral.base import errors
from corral.platform.database import Duplicate
from corral.runs import reads, runners
from corral.web.errors import MethodNotAllowed, meaning_of, shape_of
from tests.support.http import Api
from tests.web.conftest import Running

CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    409: "CONFLICT",
    413: "TOO_LARGE",
    429: "RATE_LIMITED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


def every(kind: type[errors.CorralError]) -> list[type[errors.CorralError]]:
    return [kind, *(one for below in kind.__subclasses__() for one in every(below))]


def test_every_error_has_a_status_and_a_code_of_the_contract() -> None:
    for kind in every(errors.CorralError):
        made = kind.__new__(kind)
        status, code = meaning_of(made)
        assert CODES[status] == code, kind
    assert meaning_of(errors.LeaseLost()).status == 409
    assert meaning_of(Duplicate()).status == 409
    assert meaning_of(MethodNotAllowed(["GET"])).status == 405
    assert meaning_of(ZeroDivisionError()).status == 500


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/api/v1/runs", "coded"),
        ("/api/v1", "coded"),
        ("/runners/1/pods", "coded"),
        ("/runnersx", "plain"),
        ("/api/runs", "bare"),
        ("/api/runs/x/events", "bare"),
        ("/api/projects/x", "bare"),
        ("/api/settings/models", "bare"),
        ("/api/terminal", "bare"),
        ("/api/runsx", "plain"),
        ("/api/run", "plain"),
        ("/api/approvals", "plain"),
        ("/api/health", "plain"),
    ],
)
def test_the_shape_of_an_error_follows_its_root(path: str, shape: str) -> None:
    assert shape_of(path) == shape


def test_our_own_failure_names_the_request_and_nothing_else(
    running: Running, full: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("crl_live_secret /home/someone")

    monkeypatch.setattr(reads, "page", broken)
    answer = full.get("/api/v1/runs", headers={"X-Request-Id": "trace-1234567"})
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "INTERNAL"
    assert "trace-1234567" in answer.json()["error"]["message"]
    assert "secret" not in answer.text
    assert "someone" not in answer.text
    assert answer.headers["X-Request-Id"] == "trace-1234567"
    strange = full.get("/api/v1/runs", headers={"X-Request-Id": "<script>"})
    assert strange.headers["X-Request-Id"] != "<script>"


def test_while_the_database_is_away_the_answer_says_when_to_come_back(
    full: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any, **__: Any) -> Any:
        raise errors.Unavailable(retry_after=3.2)

    monkeypatch.setattr(runners, "page", away)
    answer = full.get("/runners")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "UNAVAILABLE"
    assert answer.headers["Retry-After"] == "4"


def test_a_body_that_is_too_large_is_refused_without_being_read_and_the_next_request_is_fine(full: Api) -> None:
    answer = full.post("/api/v1/runs", raw=b"x" * (3 * 1024 * 1024))
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "TOO_LARGE"

    def parts() -> Any:
        for _ in range(48):
            yield b"x" * 65_536

    chunked = full.client.post("/api/v1/runs", content=parts(), headers=full._auth())
    assert chunked.status_code == 413
    assert full.get("/api/v1/runs").status_code == 200


def test_an_error_of_a_page_is_a_page(full: Api, running: Running) -> None:
    answer = full.call("GET", "/app/nothing")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"].startswith("text/html")
    with running.api(None) as nobody:
        led = nobody.call("GET", "/app/runs")
        assert (led.status_code, led.headers["Location"]) == (303, "/app/sign-in")
