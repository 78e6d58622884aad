"""Corral's own tools, as Claude Code sees them: an MCP server behind the pipe between it and this worker.

Its few messages are answered here. The SDK would do that with the `mcp` package, which costs every worker 0.4 s and
45 MB, and would not say to which of the agent's tool uses a call belongs.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import corral
from corral.runner.engines.claude_events import encode
from corral.runner.engines.protocol import CallTool, DoAnswer, DropCall, FromWorker
from corral.wire import tools

#: How Claude Code names the tools.
NAMES = [f"mcp__{tools.SERVER}__{tool}" for tool in tools.Tool]
#: How it is told of the server. A person may take a day to answer: no limit of its own, and no going on without the
#: answer; and the agent sees the tools at once, without having to search for them.
CONFIG: dict[str, Any] = {
    "type": "sdk",
    "name": tools.SERVER,
    "timeout": 2**31 - 1,  # the most milliseconds it can count
    "disableAutoBackground": True,
    "alwaysLoad": True,
}
_TOOL_USE = "claudecode/toolUseId"
#: What another agent wrote is worth reading where it is asked for; Claude Code puts longer answers into a file.
_INLINE = {"anthropic/maxResultSizeChars": 200_000}
_LONGEST_ID = 100
_UNKNOWN_METHOD, _BAD_PARAMETERS = -32601, -32602


class _Asked(NamedTuple):
    """A call that waits for its answer."""

    call_id: str
    message_id: Any


class ToolServer:
    """One attempt's server and the calls that are open."""

    def __init__(self, send: Callable[[FromWorker], None], write: Callable[[str], Awaitable[None]]) -> None:
        """Take where calls go, and how to write a line to Claude Code."""
        self._send, self._write = send, write
        self._open: dict[str, _Asked] = {}  #: by the control request that brought it
        self._writing: set[asyncio.Future[None]] = set()

    async def take(self, raw: Mapping[str, Any]) -> bool:
        """Take a control line if it is about the tools; False leaves it to the SDK."""
        name = raw.get("request_id", "")
        if raw.get("type") == "control_cancel_request":
            return self._drop(name)
        request = raw.get("request") or {}
        if request.get("subtype") != "mcp_message" or request.get("server_name") != tools.SERVER:
            return False
        if (answer := self._answer(name, request.get("message") or {})) is not None:
            await self._reply(name, answer)
        return True

    def answer(self, line: DoAnswer) -> None:
        """Give the agent the answer of a call; one that it no longer waits for is forgotten."""
        result = {"content": [{"type": "text", "text": line.text}], "isError": line.is_error}
        for name, asked in [*self._open.items()]:
            if asked.call_id == line.id:
                del self._open[name]
                writing = asyncio.ensure_future(self._reply(name, _result(asked.message_id, result)))
                self._writing.add(writing)
                writing.add_done_callback(self._written)

    def _answer(self, name: str, message: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return what is answered at once; None for a call, which is answered when its answer is there."""
        number, parameters = message.get("id"), message.get("params") or {}
        match message.get("method"):
            case "initialize":
                return _result(
                    number,
                    {
                        "protocolVersion": parameters.get("protocolVersion"),
                        "capabilities": {"tools": {}},
                        "serverInfo": {"name": tools.SERVER, "version": corral.__version__},
                    },
                )
            case "tools/list":
                return _result(number, {"tools": [_shown(spec) for spec in tools.specs()]})
            case "tools/call" if parameters.get("name") in tools.INPUTS:
                self._call(name, number, parameters)
                return None
            case "tools/call":
                return _error(number, _BAD_PARAMETERS, f"There is no tool {parameters.get('name')}")
            case "notifications/cancelled":
                for asking, asked in [*self._open.items()]:
                    if asked.message_id == parameters.get("requestId"):
                        self._drop(asking)
            case "ping":
                return _result(number, {})
            case method if number is not None:
                return _error(number, _UNKNOWN_METHOD, f"{method} is not supported")
        return {"jsonrpc": "2.0", "result": {}}  # a notification

    def _call(self, name: str, message_id: Any, parameters: Mapping[str, Any]) -> None:
        call_id = (parameters.get("_meta") or {}).get(_TOOL_USE)
        if not isinstance(call_id, str) or not 0 < len(call_id) <= _LONGEST_ID:
            call_id = uuid.uuid4().hex
        is_new = not self._is_open(call_id)
        self._open[name] = _Asked(call_id, message_id)
        if is_new:
            self._send(CallTool(call_id, parameters["name"], encode(parameters.get("arguments") or {})))

    def _drop(self, name: str) -> bool:
        asked = self._open.pop(name, None)
        if asked is None:
            return False
        if not self._is_open(asked.call_id):
            self._send(DropCall(asked.call_id))
        return True

    def _is_open(self, call_id: str) -> bool:
        return any(asked.call_id == call_id for asked in self._open.values())

    async def _reply(self, name: str, answer: dict[str, Any]) -> None:
        response = {"subtype": "success", "request_id": name, "response": {"mcp_response": answer}}
        await self._write(json.dumps({"type": "control_response", "response": response}) + "\n")

    def _written(self, writing: asyncio.Future[None]) -> None:
        self._writing.discard(writing)
        if not writing.cancelled():
            writing.exception()  # a Claude Code that is gone says so itself


def _shown(spec: tools.ToolSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "description": spec.description,
        "inputSchema": spec.input_schema,
        # None of them touches the machine; and only such tools may run, and wait, side by side.
        "annotations": {"readOnlyHint": True},
        "_meta": _INLINE,
    }


def _result(number: Any, result: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "result": result}


def _error(number: Any, code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message}}
