"""A real MCP server over stdio, or with `--http PORT` over streamable HTTP, with tools that behave badly on request.

`--mute` never answers anything, and ignores every kind way of being ended; `--fail` ends with a word on stderr.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

#: Appended to by each process of the server that starts: its pid.
PIDS = "MCP_PIDS"


def main() -> None:
    with Path(os.environ[PIDS]).open("a") as file:
        file.write(f"{os.getpid()}\n")
    if "--mute" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(60)
    if "--fail" in sys.argv:
        sys.exit(f"no such root; the token was {os.environ.get('TOKEN', '')}")
    server = make()
    if "--http" in sys.argv:
        port = int(sys.argv[sys.argv.index("--http") + 1])
        serve(server, port)
    else:
        server.run("stdio")


def make() -> Any:
    from mcp.server.mcpserver import Context, Image, MCPServer
    from mcp.server.mcpserver.exceptions import ToolError

    server = MCPServer("probe")

    @server.tool(description="Return the text.", structured_output=False)
    def echo(text: str) -> str:
        return text

    @server.tool(structured_output=False)
    def env() -> str:
        return "\n".join(f"{name}={value}" for name, value in sorted(os.environ.items()))

    @server.tool(structured_output=False)
    def fail() -> str:
        raise ToolError("this does not work")

    @server.tool(structured_output=False)
    async def hang() -> str:
        await asyncio.Event().wait()
        return "never"

    @server.tool(structured_output=False)
    async def freeze() -> str:
        os.kill(os.getpid(), signal.SIGSTOP)
        return "never"

    @server.tool(structured_output=False)
    def crash() -> str:
        os.write(2, b"something broke\n")
        os._exit(3)

    @server.tool(structured_output=False)
    def picture() -> Any:
        return Image(data=b"\x89PNG" + b"0" * 96, format="png")

    @server.tool(structured_output=False)
    def pid() -> str:
        return str(os.getpid())

    async def grow(context: Any) -> str:
        server.add_tool(pid, name="grown")
        await context.notify_tools_changed()
        return "done"

    grow.__annotations__["context"] = Context  # which is not imported where annotations are looked up
    server.add_tool(grow, structured_output=False)
    return server


def serve(server: Any, port: int) -> None:
    """Serve HTTP; with TOKEN set only those who show it are let in."""
    import uvicorn

    app, token = server.streamable_http_app(), os.environ.get("TOKEN")

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers", []))
        if scope["type"] == "http" and token and headers.get(b"authorization") != f"Bearer {token}".encode():
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await app(scope, receive, send)

    uvicorn.run(guarded, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
