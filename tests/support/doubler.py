"""An HTTP proxy on loopback that sends every batch of events twice, as a runner does whose answers are lost."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from tests.support.waiting import PATIENCE

_HOP = {"host", "connection", "content-length", "transfer-encoding", "content-encoding", "keep-alive", "date", "server"}


class Doubler:
    """Forwards to a server; `doubled` counts what was sent twice."""

    def __init__(self, target: str) -> None:
        self.doubled = 0
        self._client = httpx.Client(base_url=target, timeout=60 * PATIENCE, verify=False, trust_env=False)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._client.close()

    def given(self, content: bytes) -> bytes:
        """Return what a poll is answered with."""
        return content

    def _forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> httpx.Response:
        answer = self._client.request(method, path, headers=headers, content=body)
        if method == "POST" and path.endswith("/events"):
            self.doubled += 1
            answer = self._client.request(method, path, headers=headers, content=body)
        return answer

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        forward, given = self._forward, self.given

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _handle(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                sent = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
                try:
                    answer = forward(self.command, self.path, sent, body)
                except httpx.HTTPError:
                    self.close_connection = True
                    return
                self.send_response(answer.status_code)
                for name, value in answer.headers.items():
                    if name.lower() not in _HOP:
                        self.send_header(name, value)
                content = answer.content
                if self.path.endswith("/poll") and answer.status_code == 200:
                    content = given(content)
                if answer.status_code != 204:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815 - the library's names

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        return Handler
