"""The few messages of MCP that a test of a server takes, over its pipes or over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

import httpx

_MOST_REDIRECTS = 3
#: So many may come before an answer, and so many are read in a row.
_MOST_MESSAGES, _IN_A_ROW = 5_000, 20
#: How a server names the session that it has begun, and how it is told which protocol was agreed on.
_SESSION, _VERSION = "mcp-session-id", "mcp-protocol-version"

Message = Mapping[str, Any]


class Problem(Exception):
    """The server does not do what it must."""


class Speech(Protocol):
    """A conversation with a server."""

    async def ask(self, method: str, parameters: Message) -> Message:
        """Return what is answered. Raises Problem."""

    async def tell(self, method: str) -> None:
        """Say what needs no answer."""


class Lines:
    """One message a line."""

    def __init__(self, stdin: asyncio.StreamWriter, stdout: asyncio.StreamReader) -> None:
        """Take the server's pipes."""
        self._stdin, self._stdout = stdin, stdout
        self._number = 0

    async def ask(self, method: str, parameters: Message) -> Message:
        """Ask, and refuse whatever the server asks meanwhile."""
        self._number += 1
        await self._write(_request(self._number, method, parameters))
        for heard in range(_MOST_MESSAGES):
            if heard % _IN_A_ROW == _IN_A_ROW - 1:  # they may all be there already, and others wait
                await asyncio.sleep(0)
            line = await self._stdout.readline()
            if not line:
                raise Problem("it ended before it answered")
            try:
                message = json.loads(line)
            except ValueError:
                continue  # some servers greet people on stdout
            if not isinstance(message, dict):
                continue
            if "method" in message and message.get("id") is not None:  # it asks us, and we offer nothing
                error = {"code": -32601, "message": "not supported"}
                await self._write({"jsonrpc": "2.0", "id": message["id"], "error": error})
            elif _answers(message, self._number):
                return _result(message, method)
        raise Problem("it floods: it says anything but what it is asked")

    async def tell(self, method: str) -> None:
        """Write it."""
        await self._write({"jsonrpc": "2.0", "method": method})

    async def _write(self, message: Message) -> None:
        try:
            self._stdin.write(json.dumps(message).encode() + b"\n")
            await self._stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            return  # it has ended: reading says so


class Posts:
    """One request a message; its answer is the body, or one of the events in it."""

    def __init__(self, client: httpx.AsyncClient, url: str, *, most: int) -> None:
        """Take how to reach the server, and how many bytes an answer may have."""
        self._client, self._url, self._most = client, httpx.URL(url), most
        self._headers = {"accept": "application/json, text/event-stream", "accept-encoding": "identity"}
        self._number = 0

    async def ask(self, method: str, parameters: Message) -> Message:
        """Post it, and read until the answer is there."""
        self._number += 1
        async with self._post(_request(self._number, method, parameters)) as response:
            if response.status_code != 200:
                raise Problem(f"it answers {method} with HTTP status {response.status_code}")
            if method == "initialize" and (session := response.headers.get(_SESSION)):
                self._headers[_SESSION] = session
            async for message in self._messages(response):
                if _answers(message, self._number):
                    result = _result(message, method)
                    if method == "initialize":
                        self._headers[_VERSION] = str(result["protocolVersion"])
                    return result
        raise Problem(f"it does not answer {method}")

    async def tell(self, method: str) -> None:
        """Post it."""
        async with self._post({"jsonrpc": "2.0", "method": method}) as response:
            if response.status_code >= 400:
                raise Problem(f"it answers {method} with HTTP status {response.status_code}")

    async def end(self) -> None:
        """End the session, if the server has begun one."""
        if _SESSION in self._headers:
            await self._client.delete(self._url, headers=self._headers)

    @asynccontextmanager
    async def _post(self, message: Message) -> AsyncIterator[httpx.Response]:
        """Yield the response, following redirects that lead nowhere else."""
        async with AsyncExitStack() as stack:
            for _ in range(_MOST_REDIRECTS):
                posting = self._client.stream("POST", self._url, json=message, headers=self._headers)
                response = await stack.enter_async_context(posting)
                if response.next_request is None or response.status_code not in {307, 308}:
                    yield response
                    return
                here, self._url = self._url, response.next_request.url
                if (self._url.scheme, self._url.host, self._url.port) != (here.scheme, here.host, here.port):
                    raise Problem(f"it redirects to {self._url.copy_with(query=None)}, which may be its right address")
            raise Problem("it redirects again and again")

    async def _messages(self, response: httpx.Response) -> AsyncIterator[Message]:
        is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
        size, rest = 0, b""
        async for piece in response.aiter_raw():
            size += len(piece)
            if size > self._most:
                raise Problem(f"it answers with more than {self._most >> 20} MB")
            rest += piece
            if is_stream:
                *lines, rest = rest.split(b"\n")
                for line in lines:
                    if line.startswith(b"data:") and (message := _message(line[5:])):
                        yield message
        if not is_stream and (message := _message(rest)):
            yield message


def _request(number: int, method: str, parameters: Message) -> Message:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": parameters}


def _message(data: bytes) -> Message | None:
    """Return a message; None for what else may stand in a stream."""
    try:
        message = json.loads(data)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def _answers(message: Message, number: int) -> bool:
    return message.get("id") == number and "method" not in message


def _result(message: Message, method: str) -> Message:
    if "error" in message:
        raise Problem(f"it answers {method} with an error: {message['error'].get('message')}")
    result: Message = message["result"]
    return result
