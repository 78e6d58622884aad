"""The client against a server that misbehaves on purpose."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from corral.cli.client import Client
from corral.cli.errors import CommandError, Refused, Unreachable

Answer = Callable[[BaseHTTPRequestHandler, int], None]


@contextmanager
def serving(answer: Answer) -> Iterator[Client]:
    """A client of a server whose nth request is answered by `answer(request, n)`."""
    count = iter(range(1, 1000))

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            answer(self, next(count))

        do_POST = do_GET  # noqa: N815 - http.server's name

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield Client(f"http://127.0.0.1:{server.server_port}", "crl_live_x")
    finally:
        server.shutdown()
        server.server_close()


def send(request: BaseHTTPRequestHandler, status: int, body: bytes, kind: str = "application/json") -> None:
    request.send_response(status)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


@pytest.mark.parametrize(
    "body", [b'{"error": {"code": "CONFLICT", "message": "It ended"}}', b'{"error": "It ended"}', b"It ended"]
)
def test_an_error_in_any_face_is_the_servers_own_sentence(body: bytes) -> None:
    with (
        serving(lambda request, _: send(request, 409, body)) as client,
        pytest.raises(Refused, match="It ended") as got,
    ):
        client.post("/x")
    assert got.value.status == 409


def test_an_unknown_key_says_where_to_get_one() -> None:
    with serving(lambda request, _: send(request, 401, b"{}")) as client, pytest.raises(Refused) as refused:
        client.get("/x")
    assert "corral keys create" in refused.value.hint


def test_a_moment_of_unavailability_is_waited_out() -> None:
    def answer(request: BaseHTTPRequestHandler, n: int) -> None:
        send(request, 503 if n < 3 else 200, b'{"n": %d}' % n)

    with serving(answer) as client:
        assert client.get("/x") == {"n": 3}


def test_a_launch_that_is_sent_again_names_the_same_key() -> None:
    seen: list[str | None] = []

    def answer(request: BaseHTTPRequestHandler, n: int) -> None:
        seen.append(request.headers["Idempotency-Key"])
        if n == 1:
            request.close_connection = True  # the answer is lost
            return
        send(request, 201, b'{"id": "r"}')

    with serving(answer) as client:
        assert client.launch("/api/v1/runs", {"prompt": "x"}) == {"id": "r"}
    assert len(seen) == 2
    assert seen[0] == seen[1] is not None


def test_a_plain_post_is_sent_once() -> None:
    seen: list[int] = []

    def answer(request: BaseHTTPRequestHandler, n: int) -> None:
        seen.append(n)
        request.close_connection = True

    with serving(answer) as client, pytest.raises(Unreachable):
        client.post("/api/v1/keys", {})
    assert seen == [1]


def test_a_stream_goes_on_from_the_last_event_after_a_cut() -> None:
    asked: list[str] = []

    def answer(request: BaseHTTPRequestHandler, n: int) -> None:
        asked.append(str(request.headers["Last-Event-ID"]))
        if n == 2:
            send(request, 503, b"away", "text/plain")
            return
        events = [(1, "run.created"), (2, "run.started")] if n == 1 else [(3, "agent.message"), (4, "run.completed")]
        request.send_response(200)
        request.send_header("Content-Type", "text/event-stream")
        request.end_headers()
        request.wfile.write(b": hello\n\n")
        for sequence, kind in events:
            data = json.dumps({"sequence": sequence, "event_type": kind, "payload": {}})
            request.wfile.write(f"id: {sequence}\ndata: {data}\n\n".encode())
        if n == 1:
            token = json.dumps({"event_type": "agent.token", "payload": {}})
            request.wfile.write(f"data: {token}\n\n".encode())

    with serving(answer) as client:
        kinds = [event["event_type"] for event in client.events("r")]
    assert kinds == ["run.created", "run.started", "agent.token", "agent.message", "run.completed"]
    assert asked == ["0", "2", "2"]


def test_a_stream_with_nothing_newer_ends() -> None:
    with serving(lambda request, _: send(request, 204, b"")) as client:
        assert list(client.events("r", after=9)) == []


def test_a_server_that_stays_away_ends_the_stream() -> None:
    with serving(lambda request, _: send(request, 503, b"away")) as client, pytest.raises(Unreachable, match="away"):
        list(client.events("r", patience=0.3))


def test_a_stream_whose_ids_are_no_numbers_goes_on_from_the_last_of_them() -> None:
    asked: list[str | None] = []

    def answer(request: BaseHTTPRequestHandler, n: int) -> None:
        asked.append(request.headers["Last-Event-ID"])
        if n == 3:
            send(request, 204, b"")
            return
        request.send_response(200)
        request.end_headers()
        request.wfile.write(b': hello\n\nid: m%d\ndata: {"text":\ndata: "%d"}\n\n:\n\n' % (n, n))

    with serving(answer) as client:
        assert [message["text"] for message in client.watch("/api/messages/stream")] == ["1", "2"]
    assert asked == [None, "m1", "m2"]


def test_what_is_started_goes_on_without_whoever_started_it() -> None:
    sent: list[Any] = []

    def answer(request: BaseHTTPRequestHandler, n: int) -> None:
        sent.append(json.loads(request.rfile.read(int(request.headers["Content-Length"]))))
        request.send_response(200)
        request.end_headers()  # and then nothing, as long as the run takes
        request.rfile.read(1)

    with serving(answer) as client:
        client.start("/api/run", {"taskId": "t"})
    assert sent == [{"taskId": "t"}]


def test_a_server_that_stays_away_is_told_of_once_and_one_that_only_cuts_the_line_is_not_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("corral.cli.client._NOTICED_SECONDS", 0.1)
    monkeypatch.setattr("random.uniform", lambda *_: 0.1)
    told: list[str] = []

    def answer(request: BaseHTTPRequestHandler, n: int) -> None:
        if n < 5:
            send(request, 503, b"away", "text/plain")
        elif n < 9:
            send(request, 200, b": nothing yet\n\n", "text/event-stream")
        else:
            send(request, 204, b"")

    with serving(answer) as client:
        assert list(client.events("r", patience=2, on_away=told.append)) == []
    assert len(told) == 1
    assert "waiting for it" in told[0]


def test_what_took_long_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corral.cli.client._ENOUGH_SECONDS", 0)
    seen: list[int] = []

    def answer(request: BaseHTTPRequestHandler, n: int) -> None:
        seen.append(n)
        send(request, 503, b"away", "text/plain")

    with serving(answer) as client, pytest.raises(Refused, match="away"):
        client.get("/api/v1/runs")
    assert seen == [1]


@pytest.mark.parametrize(
    "url", ["localhost:3000", "http://", "http://h:1:2", "http://h:x", "ftp://h", "http://u:pass@h"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(CommandError, match="not the address") as refused:
        Client(url, "x")
    assert "pass" not in refused.value.message


@pytest.mark.parametrize("key", ["two\nlines", "two words", "schlüssel"])
def test_what_cannot_be_a_key_is_not_sent(key: str) -> None:
    with pytest.raises(CommandError, match="what no key does"):
        Client("http://127.0.0.1:1", key)


def test_nobody_there_is_unreachable() -> None:
    with pytest.raises(Unreachable, match="cannot be reached"):
        Client("http://127.0.0.1:1", "x").get("/api/health")
