"""An MCP server without any package, on stdio or HTTP, whose one tool tells what the server was started with."""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

Message = dict[str, Any]


def answer(message: Message, told: str) -> Message | None:
    results: dict[str, Any] = {
        "initialize": {
            "protocolVersion": (message.get("params") or {}).get("protocolVersion"),
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "told", "version": "1"},
        },
        "tools/list": {"tools": [{"name": "tell", "inputSchema": {"type": "object", "properties": {}}}]},
        "tools/call": {"content": [{"type": "text", "text": told}]},
        "ping": {},
    }
    if message.get("id") is None:
        return None
    if message["method"] in results:
        return {"jsonrpc": "2.0", "id": message["id"], "result": results[message["method"]]}
    return {"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "unknown"}}


class Http(BaseHTTPRequestHandler):
    """What is told is the header `X-Told`."""

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = answer(message, f"http {self.headers.get('X-Told')}")
        data = b"" if said is None else json.dumps(said).encode()
        self.send_response(202 if said is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self.send_error(405)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def serve_http() -> HTTPServer:
    """A server to be run in a thread, on a port of the system's choosing."""
    return HTTPServer(("127.0.0.1", 0), Http)


def main() -> None:
    for line in sys.stdin:
        said = answer(json.loads(line), f"stdio {os.environ.get('TOLD')} {' '.join(sys.argv[1:])}")
        if said is not None:
            sys.stdout.write(json.dumps(said) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
