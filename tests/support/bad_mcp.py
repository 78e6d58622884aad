"""An MCP server without any package, on stdio or with `--http PORT`, that goes wrong as its first argument says.

Its tool `go` does so, and everything else is in order; with `--at-start` its first answer does. `tell` tells how often
its tools were listed; `grow` adds one and says so; `leak` over HTTP refuses with what it was shown. With `--parent` it
leaves a child behind, with `--brief` a flood ends in silence; over HTTP it redirects who asks with `?to=`.
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

#: Appended to by each process that starts: its pid.
PIDS = "MCP_PIDS"
#: What each kind sends without an end; the others send nothing.
NOISE = '{"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}}'
ENDLESS: dict[str, Callable[[], Iterator[str]]] = {
    "line": lambda: itertools.repeat("x" * 65_536),
    "messages": lambda: itertools.repeat(f"{NOISE}\n" * 100),
    "garbage": lambda: itertools.repeat("?\n" * 10_000),
}
KINDS = ("hang", "crash", "freeze", "result", "stderr", *ENDLESS)
_HUGE = 20_000_000

Message = dict[str, Any]


class Tools:
    """What it has and how often it was asked."""

    def __init__(self) -> None:
        self.names = ["go", "tell", "grow"]
        self.lists = 0

    def answer(self, message: Message) -> Message | None:
        """Return what is answered in good order."""
        if message.get("id") is None:
            return None
        try:
            return {"jsonrpc": "2.0", "id": message["id"], "result": self._result(message)}
        except KeyError:
            return {"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "unknown"}}

    def _result(self, message: Message) -> Message:
        match message["method"]:
            case "initialize":
                return {
                    "protocolVersion": message["params"]["protocolVersion"],
                    "capabilities": {"tools": {"listChanged": True}},
                    "serverInfo": {"name": "bad", "version": "1"},
                }
            case "tools/list":
                self.lists += 1
                empty = {"type": "object", "properties": {}}
                return {"tools": [{"name": name, "inputSchema": empty} for name in self.names]}
            case "tools/call":
                return {"content": [{"type": "text", "text": self._called(message["params"]["name"])}]}
            case "ping":
                return {}
            case _:
                raise KeyError

    def _called(self, name: str) -> str:
        match name:
            case "grow":
                self.names.append(f"grown{len(self.names) - 2}")
                return "done"
            case "go":
                told = "\n".join(f"{name}={value}" for name, value in sorted(os.environ.items()))
                return told if sys.argv[1] == "env" else "z" * _HUGE
            case _:
                return f"listed {self.lists} times by {os.getpid()}"


def is_time(message: Message) -> bool:
    """Tell whether this is where it goes wrong."""
    if "--at-start" in sys.argv:
        return bool(message["method"] in {"initialize", "server/discover"})
    return bool(message["method"] == "tools/call" and message["params"]["name"] == "go")


def fail(kind: str, write: Callable[[str], None]) -> None:
    """Go wrong; returns where only the answer is bad."""
    match kind:
        case "hang":
            threading.Event().wait()
        case "crash":
            os.write(2, b"something broke\n")
            os._exit(3)
        case "freeze":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "stderr":
            flood(itertools.repeat("y" * 65_536), lambda text: os.write(2, text.encode()))
        case _ if kind in ENDLESS:
            flood(ENDLESS[kind](), write)


def flood(pieces: Iterator[str], write: Callable[[str], object]) -> None:
    """Write without an end; with `--brief` so long that it is noticed, and then no more."""
    end = time.monotonic() + (0.3 if "--brief" in sys.argv else 1e9)
    for piece in pieces:
        write(piece)
        if time.monotonic() > end:
            threading.Event().wait()


def stdio(kind: str) -> None:
    tools = Tools()

    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    for line in sys.stdin:
        message = json.loads(line)
        if is_time(message):
            fail(kind, write)
        if (answer := tools.answer(message)) is not None:
            write(f"{json.dumps(answer)}\n")
        if message["method"] == "tools/call" and message["params"]["name"] == "grow":
            write('{"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}\n')


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    kind: str
    tools: Tools

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if (to := self.path.partition("?to=")[2]) and to != self.path:
            self.send_response(307)
            self.send_header("Location", to)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if (message.get("params") or {}).get("name") == "leak":
            refused = {"code": -32000, "message": f"what does {self.headers['Authorization']} want here?"}
            body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": refused}).encode()
            self.begin({"Content-Type": "application/json", "Content-Length": str(len(body))}, status=401)
            self.wfile.write(body)
            return
        bad = self.kind if is_time(message) else ""
        if bad in ENDLESS:
            self.close_connection = True
            self.begin({"Content-Type": "text/event-stream"})
        if bad:
            fail(bad, self.send)
        answer = self.tools.answer(message)
        if answer is None:
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body, packed = json.dumps(answer).encode(), {"Content-Encoding": "gzip"} if bad == "packed" else {}
        if packed:
            body = gzip.compress(body)
        self.begin({"Content-Type": "application/json", "Content-Length": str(len(body)), **packed})
        self.wfile.write(body)

    def begin(self, headers: dict[str, str], *, status: int = 200) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def send(self, text: str) -> None:
        events = text if "\n" not in text else "".join(f"data: {line}\n\n" for line in text.splitlines())
        self.wfile.write(events.encode())

    def do_GET(self) -> None:
        self.send_error(405)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: the client is gone."""


def http(kind: str, port: int) -> None:
    Handler.kind, Handler.tools = kind, Tools()
    Server(("127.0.0.1", port), Handler).serve_forever()


def main() -> None:
    if PIDS in os.environ:
        with Path(os.environ[PIDS]).open("a") as file:
            file.write(f"{os.getpid()}\n")
    kind = sys.argv[1]
    if "--parent" in sys.argv and os.fork() == 0:
        with Path(os.environ[PIDS]).open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(600)
    if "--http" in sys.argv:
        http(kind, int(sys.argv[sys.argv.index("--http") + 1]))
    else:
        stdio(kind)


if __name__ == "__main__":
    main()
