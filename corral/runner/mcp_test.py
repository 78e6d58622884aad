"""Ask a stdio MCP server which tools it has, on this machine: started for that, and ended with all it started.

The few messages that takes are written and read here: the official client would cost the runner 45 MB for ever.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import corral
from corral.base.logs import get_logger
from corral.runner import environment, tree
from corral.wire.agents import McpServer
from corral.wire.runner import McpTested, McpTool

_PROTOCOL = "2025-06-18"
_MOST_PAGES = 100
_MOST_TOOLS = 500
_LONGEST_LINE = 4 * 1024 * 1024
_LONGEST_DESCRIPTION = 300
_TAIL_BYTES = 2048
_GRACE_SECONDS = 0.5
#: What is shorter is no secret, and its letters are in every other word.
_SHORTEST_SECRET = 6

log = get_logger()


class _Problem(Exception):
    """The server does not do what it must."""


async def run(
    server: McpServer, mark: str, *, env: Mapping[str, str], cwd: str, seconds: float, children: set[int]
) -> McpTested:
    """Return the server's tools, or why there are none.

    `mark` is what its processes are known by, and `children` has its pid while it lives.
    """
    everything = {**env, **environment.for_run(mark, server.env)}
    try:
        process = await asyncio.create_subprocess_exec(
            server.command or "",
            *server.args,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=everything,
            cwd=cwd,
            limit=_LONGEST_LINE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return McpTested(error=f"{server.command} cannot be started: {getattr(error, 'strerror', None) or error}")
    children.add(process.pid)
    assert process.stderr is not None
    tail = _Tail()
    reading = asyncio.create_task(tail.read(process.stderr))
    why: str | None = None
    tools: list[McpTool] = []
    try:
        async with asyncio.timeout(seconds):
            tools = await _tools(process)
    except TimeoutError:
        why = f"it gave no answer in {seconds:g} seconds"
    except _Problem as problem:
        why = str(problem)
    except (ValueError, OSError, TypeError, AttributeError, KeyError) as error:
        why = f"it does not speak the protocol: {str(error) or type(error).__name__}"
    finally:
        await _end(process, mark)
        children.discard(process.pid)
        with suppress(TimeoutError):
            await asyncio.wait_for(reading, _GRACE_SECONDS)
    if why is None:
        return McpTested(tools)
    wrote = tail.text()
    return McpTested(error=_clean(f"{why}; it wrote: {wrote}" if wrote else why, server))


async def _tools(process: asyncio.subprocess.Process) -> list[McpTool]:
    about = {"name": "corral", "version": corral.__version__}
    await _ask(process, 0, "initialize", {"protocolVersion": _PROTOCOL, "capabilities": {}, "clientInfo": about})
    await _write(process, {"jsonrpc": "2.0", "method": "notifications/initialized"})
    found: list[McpTool] = []
    cursor: str | None = None
    for page in range(1, _MOST_PAGES):
        answer = await _ask(process, page, "tools/list", {"cursor": cursor} if cursor else {})
        for tool in answer["tools"]:
            about_it = str(tool.get("description") or tool.get("title") or "")
            found.append(McpTool(str(tool["name"])[:200], about_it[:_LONGEST_DESCRIPTION]))
        cursor = answer.get("nextCursor")
        if cursor is None or len(found) >= _MOST_TOOLS:
            break
    return found[:_MOST_TOOLS]


async def _ask(
    process: asyncio.subprocess.Process, number: int, method: str, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    await _write(process, {"jsonrpc": "2.0", "id": number, "method": method, "params": parameters})
    assert process.stdout is not None
    while True:
        line = await process.stdout.readline()
        if not line:
            raise _Problem("it ended before it answered")
        try:
            message = json.loads(line)
        except ValueError:
            continue  # some servers greet people on stdout
        if not isinstance(message, dict):
            continue
        if "method" in message and message.get("id") is not None:  # it asks us, and we offer nothing
            error = {"code": -32601, "message": "not supported"}
            await _write(process, {"jsonrpc": "2.0", "id": message["id"], "error": error})
        elif message.get("id") == number and "method" not in message:
            if "error" in message:
                raise _Problem(f"it answers {method} with an error: {message['error'].get('message')}")
            result: dict[str, Any] = message["result"]
            return result


async def _write(process: asyncio.subprocess.Process, message: Mapping[str, Any]) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(message).encode() + b"\n")
        await process.stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        return  # it has ended: reading says so


async def _end(process: asyncio.subprocess.Process, mark: str) -> None:
    assert process.stdin is not None
    process.stdin.close()
    root = tree.identify(process.pid)
    try:
        await tree.end([root] if root else [], [mark], grace=_GRACE_SECONDS)
    except tree.StillAliveError as error:
        log.warning("an MCP server that was tested does not end", error=str(error))
    with suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), _GRACE_SECONDS)


class _Tail:
    """The last that a server wrote on stderr."""

    def __init__(self) -> None:
        self._kept = b""

    async def read(self, stream: asyncio.StreamReader) -> None:
        while data := await stream.read(65536):
            self._kept = (self._kept + data)[-_TAIL_BYTES:]

    def text(self) -> str:
        return self._kept.decode(errors="replace").strip()


def _clean(text: str, server: McpServer) -> str:
    for value in server.env.values():
        for line in (value, *value.splitlines()):
            if len(line) >= _SHORTEST_SECRET:
                text = text.replace(line, "***")
    return text.replace("\0", "")
