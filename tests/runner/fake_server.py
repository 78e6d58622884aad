"""The server's half of the runner protocol, in memory and scripted: for what a real one does not do on demand.

It goes away and comes back, loses what it had stored, refuses what it is told to, and remembers what it was sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from corral.wire.events import EventBatch, RunnerEvent
from corral.wire.runner import Assignment, Command, CommandResult, Held, Poll, PollAnswer, Register
from corral.wire.tools import ToolAnswer, ToolCall

Answer = tuple[int, Any]


class FakeServer:
    def __init__(self) -> None:
        self.registered: list[Register] = []
        self.polls: list[Poll] = []
        self.batches: list[tuple[str, EventBatch]] = []
        self.results: dict[str, list[CommandResult]] = defaultdict(list)
        self.events: dict[tuple[str, int], list[RunnerEvent]] = defaultdict(list)
        self.usage: dict[str, dict[str, Any]] = defaultdict(dict)
        self.tokens: dict[str, list[Any]] = defaultdict(list)
        self.assignments: list[Assignment] = []  #: offered until held
        self.commands: list[Command] = []  #: offered until answered
        self.lost: list[Held] = []
        self.fenced: set[tuple[str, int]] = set()
        self.calls: list[tuple[str, ToolCall]] = []  #: of tools, by the tool's name
        self.answers: dict[str, ToolAnswer] = {}  #: to calls, by their ids
        self.sessions: set[str] = set()
        self.authorizations: set[str] = set()
        self.request_ids: list[str] = []
        self.order: list[str] = []  #: the calls as they came, by name
        self.bodies: list[tuple[str, bytes]] = []  #: all that was sent, by path
        self.is_down = False  #: connections are cut without an answer
        self.refuse: Callable[[str, bytes], Answer | None] = refuse_nothing
        self.wait = 0.5
        self.port = 0
        self._changed = asyncio.Event()
        self._answered = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """End like a process that is killed: every connection is cut. `start` brings it back on the same port."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._connections):
            writer.transport.abort()

    def offer(self, assignment: Assignment) -> Assignment:
        self.assignments.append(assignment)
        self.hint()
        return assignment

    def ask(self, command: Command) -> Command:
        self.commands.append(command)
        self.hint()
        return command

    def lose(self, held: Held) -> None:
        self.fenced.add((held.run_id, held.attempt))
        self.lost.append(held)
        self.hint()

    def forget_after(self, run_id: str, attempt: int, n: int) -> None:
        """Lose the last commits, as a power cut does."""
        del self.events[run_id, attempt][n:]

    def answer(self, call_id: str, text: str, *, is_error: bool = False) -> None:
        """Answer a call, now or when it comes."""
        self.answers[call_id] = ToolAnswer(done=True, text=text, is_error=is_error)
        self._answered.set()

    def hint(self) -> None:
        self._changed.set()

    def types(self, run_id: str, attempt: int = 1) -> list[str]:
        return [event.type.value for event in self.events[run_id, attempt]]

    def payloads(self, run_id: str, type: str, attempt: int = 1) -> list[dict[str, Any]]:
        return [json.loads(bytes(e.payload)) for e in self.events[run_id, attempt] if e.type == type]

    def _is_cut(self) -> bool:
        return self.is_down

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")
                headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:] if line)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                if self._is_cut():
                    return
                self.authorizations.add(headers.get("authorization", ""))
                self.request_ids.append(headers.get("x-request-id", ""))
                status, answer = await self._answer(lines[0].split()[1], body)
                if self._is_cut():
                    return
                data = msgspec.json.encode(answer)
                extra = "retry-after: 1\r\n" if status == 429 else ""
                writer.write(f"HTTP/1.1 {status} X\r\n{extra}content-length: {len(data)}\r\n\r\n".encode() + data)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(writer)
            with contextlib.suppress(Exception):
                writer.transport.abort()

    async def _answer(self, path: str, body: bytes) -> Answer:
        self.bodies.append((path, body))
        refusal = self.refuse(path, body)
        if refusal is not None:
            return refusal
        parts = path.strip("/").split("/")
        routes: dict[str, Callable[[list[str], bytes], Awaitable[Answer]]] = {
            "health": self._health,
            "register": self._register,
            "poll": self._poll,
            "events": self._events,
        }
        route = routes.get(parts[-1])
        route = self._finish if "commands" in parts else self._tool if "tools" in parts else route
        if route is None:
            return 404, error("Nothing here")
        self.order.append("finish" if "commands" in parts else "tool" if "tools" in parts else parts[-1])
        return await route(parts, body)

    async def _health(self, parts: list[str], body: bytes) -> Answer:
        return 200, "ok"

    async def _register(self, parts: list[str], body: bytes) -> Answer:
        self.registered.append(msgspec.json.decode(body, type=Register))
        session = str(uuid.uuid4())
        self.sessions = {session}
        return 200, {"id": 7, "session": session, "lease_seconds": 90, "wait_seconds": self.wait}

    async def _poll(self, parts: list[str], body: bytes) -> Answer:
        poll = msgspec.json.decode(body, type=Poll)
        if poll.session not in self.sessions:
            return 409, error("This session is over")
        self.polls.append(poll)
        deadline = asyncio.get_running_loop().time() + poll.wait_seconds
        while True:
            self._changed.clear()
            answer = self._answer_to(poll)
            left = deadline - asyncio.get_running_loop().time()
            if answer.assignments or answer.commands or answer.lost or left <= 0:
                return 200, answer
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left)

    def _answer_to(self, poll: Poll) -> PollAnswer:
        held = {(one.run_id, one.attempt) for one in poll.held}
        taken = [one for one in self.assignments if (one.run_id, one.attempt) in held]
        self.assignments = [one for one in self.assignments if one not in taken]
        return PollAnswer(
            assignments=self.assignments[: poll.free_slots],
            commands=[one for one in self.commands if one.id not in self.results],
            lost=[one for one in self.lost if (one.run_id, one.attempt) in held],
        )

    async def _events(self, parts: list[str], body: bytes) -> Answer:
        run_id, batch = parts[-2], msgspec.json.decode(body, type=EventBatch)
        self.batches.append((run_id, batch))
        for usage in batch.usage:
            self.usage[run_id].setdefault(usage.source, usage)
        if (run_id, batch.attempt) in self.fenced:
            return 409, error("The lease passed to another runner")
        self.tokens[run_id] += batch.tokens
        stored = self.events[run_id, batch.attempt]
        for event in batch.events:
            if event.n == len(stored) + 1:
                stored.append(event)
        return 200, {"n": len(stored)}

    async def _tool(self, parts: list[str], body: bytes) -> Answer:
        call = msgspec.json.decode(body, type=ToolCall)
        self.calls.append((parts[-1], call))
        deadline = asyncio.get_running_loop().time() + min(call.wait_seconds, self.wait)
        while True:
            self._answered.clear()
            left = deadline - asyncio.get_running_loop().time()
            if call.call_id in self.answers or left <= 0:
                return 200, self.answers.get(call.call_id, ToolAnswer(done=False))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._answered.wait(), left)

    async def _finish(self, parts: list[str], body: bytes) -> Answer:
        result = msgspec.json.decode(body, type=CommandResult)
        if result not in self.results[parts[-1]]:  # one that is asked for anew while it is on its way comes twice
            self.results[parts[-1]].append(result)
        return 200, {"ok": True}


def refuse_nothing(path: str, body: bytes) -> Answer | None:
    return None


def error(message: str) -> dict[str, Any]:
    return {"error": {"code": "X", "message": message}}
