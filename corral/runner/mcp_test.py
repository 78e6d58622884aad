"""Ask an MCP server which tools it has, on this machine, as a run here would reach it, and leave nothing of that.

The few messages that takes are written and read here (`mcp_speech`): the official client would cost the runner 45 MB
for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx

import corral
from corral.base.logs import get_logger
from corral.base.redactor import Redactor
from corral.runner import environment, tree
from corral.runner.mcp_speech import Lines, Posts, Problem, Speech
from corral.wire.agents import McpServer
from corral.wire.runner import McpTested, McpTool

_PROTOCOL = "2025-06-18"
_MOST_PAGES = 100
_MOST_TOOLS = 500
_LONGEST_LINE = 4 * 1024 * 1024
_LONGEST_NAME, _LONGEST_DESCRIPTION = 200, 300
_TAIL_BYTES = 2048
_GRACE_SECONDS = 0.5
_PACE_SECONDS = 0.001
_CONNECT_SECONDS = 10.0

log = get_logger()


async def run(
    server: McpServer, mark: str, *, env: Mapping[str, str], cwd: str, seconds: float, children: set[int]
) -> McpTested:
    """Return the server's tools, or why there are none.

    `mark` is what its processes are known by, and `children` has its pid while it lives.
    """
    redactor, tail = Redactor(server.secrets), _Tail()
    why: str | None = None
    tools: list[McpTool] = []
    if server.transport == "http":
        speaking = _reached(server)
    else:
        speaking = _started(server, tail, mark=mark, env=env, cwd=cwd, children=children)
    try:
        async with speaking as speech, asyncio.timeout(seconds):
            tools = await _tools(speech)
    except TimeoutError:
        why = f"it gave no answer in {seconds:g} seconds"
    except Problem as problem:
        why = str(problem)
    except httpx.HTTPError as error:
        why = f"it cannot be reached: {str(error) or type(error).__name__}"
    except (ValueError, OSError, TypeError, AttributeError, KeyError) as error:
        why = f"it does not speak the protocol: {str(error) or type(error).__name__}"
    if why is None:
        return McpTested([_shown(tool, redactor) for tool in tools])
    wrote = tail.text()
    return McpTested(error=_clean(f"{why}; it wrote: {wrote}" if wrote else why, redactor))


async def _tools(speech: Speech) -> list[McpTool]:
    about = {"name": "corral", "version": corral.__version__}
    await speech.ask("initialize", {"protocolVersion": _PROTOCOL, "capabilities": {}, "clientInfo": about})
    await speech.tell("notifications/initialized")
    found: list[McpTool] = []
    cursor: str | None = None
    for _ in range(_MOST_PAGES):
        answer: Mapping[str, Any] = await speech.ask("tools/list", {"cursor": cursor} if cursor else {})
        found += [
            McpTool(str(tool["name"]), str(tool.get("description") or tool.get("title") or ""))
            for tool in answer["tools"]
        ]
        cursor = answer.get("nextCursor")
        if cursor is None or len(found) >= _MOST_TOOLS:
            break
    return found[:_MOST_TOOLS]


@asynccontextmanager
async def _reached(server: McpServer) -> AsyncIterator[Speech]:
    # Loading the authorities takes a while, and is of no use where nobody is asked for one.
    is_safe = (server.url or "").startswith("https:")
    verify = await asyncio.to_thread(httpx.create_ssl_context) if is_safe else False
    timeout = httpx.Timeout(_CONNECT_SECONDS, read=None)
    async with httpx.AsyncClient(headers=server.headers, verify=verify, timeout=timeout) as client:
        posts = Posts(client, server.url or "", most=_LONGEST_LINE)
        try:
            yield posts
        finally:
            with suppress(httpx.HTTPError, TimeoutError):
                async with asyncio.timeout(_GRACE_SECONDS):
                    await posts.end()


@asynccontextmanager
async def _started(
    server: McpServer, tail: _Tail, *, mark: str, env: Mapping[str, str], cwd: str, children: set[int]
) -> AsyncIterator[Speech]:
    try:
        process = await asyncio.create_subprocess_exec(
            server.command or "",
            *server.args,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**env, **environment.for_run(mark, server.env)},
            cwd=cwd,
            limit=_LONGEST_LINE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        why = f"{server.command} cannot be started: {getattr(error, 'strerror', None) or error}"
        raise Problem(why) from error
    children.add(process.pid)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    reading = asyncio.create_task(tail.read(process.stderr))
    try:
        yield Lines(process.stdin, process.stdout)
    finally:
        await _end(process, mark)
        children.discard(process.pid)
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_SECONDS):
                await reading
        # A pipe that was not read to its end stays open, and nothing public closes it.
        pipes: Any = getattr(process, "_transport", None)
        if pipes is not None:
            pipes.close()


async def _end(process: asyncio.subprocess.Process, mark: str) -> None:
    assert process.stdin is not None
    process.stdin.close()
    root = tree.identify(process.pid)
    try:
        await tree.end([root] if root else [], [mark], grace=_GRACE_SECONDS)
    except tree.StillAliveError as error:
        log.warning("an MCP server that was tested does not end", error=str(error))
    with suppress(TimeoutError):
        async with asyncio.timeout(_GRACE_SECONDS):
            await process.wait()


class _Tail:
    """The last that a server wrote on stderr."""

    def __init__(self) -> None:
        self._kept = b""

    async def read(self, stream: asyncio.StreamReader) -> None:
        while data := await stream.read(65536):
            self._kept = (self._kept + data)[-_TAIL_BYTES:]
            await asyncio.sleep(_PACE_SECONDS)  # what floods waits for us

    def text(self) -> str:
        return self._kept.decode(errors="replace").strip()


def _shown(tool: McpTool, redactor: Redactor) -> McpTool:
    """Return a tool as people may read of it. It is masked first: half of a secret is not found any more."""
    name, about = _clean(tool.name, redactor), _clean(tool.description, redactor)
    return McpTool(name[:_LONGEST_NAME], about[:_LONGEST_DESCRIPTION])


def _clean(text: str, redactor: Redactor) -> str:
    return redactor.text(text).replace("\0", "")
