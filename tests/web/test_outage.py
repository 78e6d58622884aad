"""While the database is away: 503 with Retry-After for what needs it, and everything as before once it is back."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from corral.base import logs
from corral.platform import postgres
from tests.support.http import Api
from tests.support.redis import Redis
from tests.support.waiting import eventually
from tests.web.conftest import Running
from tests.web.test_readiness import looked, says


class Line:
    """A way to a port that can be cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self._speaks = threading.Event()
        self._speaks.set()
        self.port = 0
        self.mend()

    def mend(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        assert self._listener is not None
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._open.clear()

    def fall_silent(self) -> None:
        """Take whatever is said, as before, and pass nothing on: what a machine does that nobody told of its end."""
        self._speaks.clear()

    def speak(self) -> None:
        """Go on; what was opened meanwhile is closed."""
        self._speaks.set()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                self._open += [near, far]
                for a, b in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=(a, b, self._speaks), daemon=True).start()


def _pump(a: socket.socket, b: socket.socket, speaks: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while data := a.recv(65_536):
            if speaks.is_set():
                b.sendall(data)
    with contextlib.suppress(OSError):
        b.shutdown(socket.SHUT_RDWR)


@pytest.fixture(autouse=True)
def plain_logs() -> None:
    """Without a set-up each failure of a loop is drawn with its variables, which keeps the loop for seconds."""
    logs.set_up("json", "warning", sys.__stderr__)


@pytest.fixture
def line(migrated_postgres_url: str) -> Iterator[Line]:
    made = Line(int(migrated_postgres_url.partition("127.0.0.1:")[2].partition("/")[0]))
    yield made
    made.cut()


def test_an_outage_of_the_database_is_a_503_and_passes(tmp_path: Path, line: Line, migrated_postgres_url: str) -> None:
    database = migrated_postgres_url.rpartition("/")[2]
    running = Running(tmp_path, database_url=f"postgres://postgres@127.0.0.1:{line.port}/{database}")
    try:
        with running.api() as api:
            run = api.post("/api/v1/runs", body={"prompt": "p", "cwd": "/srv"}).raise_for_status().json()["id"]
            assert api.get("/api/v1/runs").status_code == 200
            line.cut()
            for method, path, body in CALLS:
                answer = api.call(method, path.replace("RUN", run), body=body)
                assert answer.status_code == 503, f"{method} {path}: {answer.status_code} {answer.text}"
                assert int(answer.headers["Retry-After"]) >= 1
            assert api.get("/api/health").status_code == 200
            line.mend()
            eventually(lambda: api.get("/api/v1/runs").status_code == 200, within=15)
            eventually(lambda: api.get("/api/v1/runs/:id", run).status_code == 200, within=15)
            works(api)
    finally:
        running.stop()


def test_a_database_that_falls_silent_is_given_up_and_found_again(
    tmp_path: Path, line: Line, migrated_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("CONNECT_SECONDS", "_GET_SECONDS", "_HELD_SECONDS", "_RETURN_SECONDS"):
        monkeypatch.setattr(postgres, limit, 1.0)
    database = migrated_postgres_url.rpartition("/")[2]
    running = Running(tmp_path, database_url=f"postgres://postgres@127.0.0.1:{line.port}/{database}")
    try:
        with running.api() as api:
            run = api.post("/api/v1/runs", body={"prompt": "p", "cwd": "/srv"}).raise_for_status().json()["id"]
            line.fall_silent()
            with ThreadPoolExecutor(20) as threads:  # more than there are connections
                answers = list(threads.map(lambda _: api.get("/api/v1/runs/:id", run), range(20)))
            answers.append(api.post("/api/v1/runs", body={"prompt": "p", "cwd": "/srv"}))
            assert {answer.status_code for answer in answers} == {503}
            assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers)
            line.speak()
            eventually(lambda: api.get("/api/v1/runs/:id", run).status_code == 200, within=15)
            works(api)
    finally:
        running.stop()


CALLS = [
    ("GET", "/api/v1/runs", None),
    ("GET", "/api/v1/runs/RUN", None),
    ("GET", "/api/runs/RUN/events", None),
    ("GET", "/runners", None),
    ("GET", "/api/v1/keys", None),
    ("GET", "/api/approvals", None),
    ("POST", "/api/v1/runs", {"prompt": "p", "cwd": "/srv"}),
    ("POST", "/api/runs/RUN/cancel", {}),
    ("POST", "/api/runs/RUN/pause", {}),
    ("POST", "/api/runs/RUN/continue", {}),
    ("DELETE", "/api/runs/RUN", None),
]


def works(api: Api) -> None:
    """Connections of before the outage may still be found broken, one after the other."""
    eventually(lambda: api.post("/api/v1/runs", body={"prompt": "p", "cwd": "/srv"}).status_code == 201, within=15)


def test_without_the_database_or_redis_it_is_not_ready_and_with_them_it_is_again(
    tmp_path: Path, line: Line, migrated_postgres_url: str, own_redis: Redis
) -> None:
    url = f"postgres://postgres@127.0.0.1:{line.port}/{migrated_postgres_url.rpartition('/')[2]}"
    running = Running(tmp_path, database_url=url, redis_url=own_redis.url)
    try:
        assert eventually(lambda: looked(running)[0] == 200)
        line.cut()
        status, body = looked(running)
        assert status == 503
        assert {check["name"] for check in body["checks"] if not check["ok"]} >= {"database", "migrations"}
        assert "127.0.0.1" not in str(body)
        line.mend()
        eventually(lambda: looked(running)[0] == 200, within=15)
        assert own_redis.process is not None
        own_redis.process.kill()
        eventually(lambda: says(running, "bus") == "Redis does not answer: hints come late", within=15)
        eventually(lambda: looked(running, exclude="bus")[0] == 200, within=15)
        own_redis.process.start()
        eventually(lambda: looked(running)[0] == 200, within=15)
    finally:
        running.stop()
