"""A client that leaves before its answer."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import httpx
import pytest

from corral.platform.database import fetch
from corral.runs import queue
from tests.support.http import Api
from tests.support.waiting import eventually
from tests.web.conftest import Running

BODY = b'{"prompt": "once", "cwd": "/srv"}'
OTHER = b'{"prompt": "at last", "cwd": "/srv"}'


def test_what_a_client_asked_for_is_done_although_it_left_and_its_repeat_is_answered(
    running: Running, full: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, reached, go_on = queue.launch, threading.Event(), threading.Event()

    async def slow(*arguments: Any) -> Any:
        reached.set()
        await asyncio.to_thread(go_on.wait, 60)
        return await real(*arguments)

    monkeypatch.setattr(queue, "launch", slow)
    url = running.server.settings
    leaving = socket.create_connection((url.host, url.port))
    leaving.sendall(
        f"POST /api/v1/runs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {full.key}\r\nIdempotency-Key: leaves\r\n"
        f"Content-Length: {len(BODY)}\r\n\r\n".encode()
        + BODY
    )
    assert reached.wait(60)
    leaving.close()
    in_flight = full.post("/api/v1/runs", raw=BODY, headers={"Idempotency-Key": "leaves"})
    assert in_flight.status_code == 409
    go_on.set()

    def repeat() -> httpx.Response | None:
        got = full.post("/api/v1/runs", raw=BODY, headers={"Idempotency-Key": "leaves"})
        return got if got.status_code == 201 else None

    answer = eventually(repeat)
    assert answer is not None
    assert answer.headers["Idempotency-Replayed"] == "true"
    runs = full.get("/api/v1/runs").json()["data"]
    assert [run["id"] for run in runs if run["input"] == "once"] == [answer.json()["id"]]


def test_a_request_that_failed_for_us_may_be_sent_again(full: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = {"Idempotency-Key": "failed once"}

    async def broken(*_: Any) -> Any:
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr(queue, "launch", broken)
        assert full.post("/api/v1/runs", raw=OTHER, headers=headers).status_code == 500
    assert full.post("/api/v1/runs", raw=OTHER, headers=headers).status_code == 201


def test_what_was_made_by_a_server_that_died_is_not_made_again(running: Running, full: Api) -> None:
    asked: dict[str, Any] = {"body": {"name": "k", "scopes": ["runs:read"]}, "headers": {"Idempotency-Key": "died"}}
    made = full.post("/api/v1/keys", **asked).json()
    died = "UPDATE repeatable_requests SET status = NULL, created_at = created_at - 100000 WHERE minted_id = $1"
    running.do(fetch(died, made["id"]))
    answer = full.post("/api/v1/keys", **asked)
    assert answer.status_code == 409
    assert answer.json()["error"]["message"] == "Somebody has just made the same; look again"


@pytest.mark.parametrize("path", ["/api/runs/{}/cancel", "/api/approvals/{}"])
def test_an_id_longer_than_any_is_not_found_before_its_key_is_kept(running: Running, full: Api, path: str) -> None:
    body = b'{"decision": "allow"}' if "approvals" in path else b""
    answer = full.post(path.format("x" * 600), raw=body, headers={"Idempotency-Key": "long"})
    assert answer.status_code == 404
    assert running.do(fetch("SELECT 1 FROM repeatable_requests WHERE length(path) > 500")) == []
