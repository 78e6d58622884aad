"""What the model may call in one attempt, and how a call is carried out: whatever goes wrong is an answer to it."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import msgspec

from corral.base.backoff import Backoff
from corral.base.errors import CorralError, LeaseLost, Unavailable
from corral.base.logs import get_logger
from corral.base.redactor import Redactor
from corral.mcp.client import CALL_SECONDS
from corral.mcp.pool import User
from corral.providers.entries import Call, Result
from corral.providers.limits import Clocks
from corral.providers.provider import NOT_AN_OBJECT, clean
from corral.providers.toolset import Connect, Connection, Toolset
from corral.wire.agents import McpServer, Ruling
from corral.wire.runner import Approve, Assignment, Held
from corral.wire.tools import ToolAnswer, ToolSpec

_NO_NAME = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST_NAME = 64
#: Characters of a result that are masked while all others wait.
_LONG = 200_000
CUT_OFF = (
    "This call was cut off before its result was known: it may have happened, in part or as a whole, or not at all. "
    "Look at what is there before you call it again."
)

Ask = Callable[[Call], Awaitable[Approve]]

log = get_logger()


class Tools:
    """Corral's own tools by their bare names, those of MCP servers as `server__tool`."""

    def __init__(
        self, assignment: Assignment, toolset: Toolset, clocks: Clocks, ask: Ask, redactor: Redactor | None = None
    ) -> None:
        """Start with Corral's own; `ask` puts a call to people, and what tools answer is masked."""
        self._ask = ask
        self._redactor = redactor or Redactor({})
        self._assignment = assignment
        self._toolset = toolset
        self._clocks = clocks
        own = toolset.specs(assignment)
        self.specs = list(own)
        self._own = frozenset(spec.name for spec in own)
        self._connections: dict[str, Connection] = {}  #: by their servers' names
        self._served: dict[str, tuple[Connection, str]] = {}
        self._asked: set[str] = set()  #: which people are asked about

    async def connect(self, stack: AsyncExitStack, connect: Connect, user: User) -> list[str]:
        """Reach the assignment's MCP servers for as long as `stack` lives; returns why some could not be reached."""
        problems: dict[str, str] = {}

        async def reach(server: McpServer) -> None:
            try:
                self._connections[server.name] = await stack.enter_async_context(connect(server, user))
            except Exception as error:  # noqa: BLE001 - whatever it was, the run goes on without that server
                problems[server.name] = f"The MCP server {server.name} cannot be used: {_why(error)}"

        servers = self._assignment.mcp_servers
        async with asyncio.TaskGroup() as group:  # those that hang do so together
            for server in servers:
                group.create_task(reach(server))
        self._offer()
        return [problems[server.name] for server in servers if server.name in problems]

    async def renew(self) -> None:
        """Offer what servers have since then; most never change."""
        changed = [await connection.renew() for connection in self._connections.values()]
        if any(changed):
            self._offer()

    def is_own(self, name: str) -> bool:
        """Tell whether this is one of Corral's own, which may be called twice."""
        return name in self._own

    async def call(self, call: Call, most: int) -> Result:
        """Carry a call out. Its result has at most so many characters."""
        answer = await self._answer(call)
        # Masked before it is cut: half of a secret is not found any more. Nobody waits for what takes long.
        if len(answer.text) > _LONG:
            text = await asyncio.to_thread(self._shown, answer.text, most)
        else:
            text = self._shown(answer.text, most)
        return Result(call.id, text, answer.is_error)

    def _shown(self, text: str, most: int) -> str:
        return shorten(self._redactor.text(clean(text)), most)

    async def _answer(self, call: Call) -> ToolAnswer:
        arguments: dict[str, object] = msgspec.json.decode(call.input)
        if NOT_AN_OBJECT in arguments:
            return _mistake(f"The input of {call.name} must be a JSON object")
        if self.is_own(call.name):
            return await self._call_own(call)
        if call.name not in self._served:
            known = ", ".join(spec.name for spec in self.specs) or "none"
            return _mistake(f"There is no tool {call.name}. There are: {known}")
        connection, name = self._served[call.name]
        if call.name in self._asked:
            said = await self._ask(call)
            if said.decision != "allow":
                return _mistake(said.reason or "A person denied this.")
        try:
            return await connection.call(name, arguments, self._clocks.idle_seconds or CALL_SECONDS)
        except Exception as error:  # noqa: BLE001 - the model may find another way
            log.warning("a tool failed", tool=call.name, run=self._assignment.run_id, error=repr(error))
            return _mistake(f"{call.name} failed: {_why(error)}")

    async def _call_own(self, call: Call) -> ToolAnswer:
        work, backoff = self._assignment, Backoff(most=5.0)
        held = Held(work.run_id, work.attempt, work.lease)
        with self._clocks.waiting():
            while True:
                try:
                    return await self._toolset.call(held, call.id, call.name, call.input)
                except LeaseLost:
                    raise
                except Unavailable:
                    await asyncio.sleep(backoff.next())
                except CorralError as error:
                    return _mistake(error.message)
                except Exception as error:
                    log.exception("a tool of our own failed", tool=call.name, run=work.run_id)
                    return _mistake(f"{call.name} failed: {_why(error)}")

    def _offer(self) -> None:
        """Put together what the model may call."""
        del self.specs[len(self._own) :]
        self._served.clear()
        self._asked.clear()
        for server in self._assignment.mcp_servers:
            if (connection := self._connections.get(server.name)) is not None:
                for spec in connection.specs:
                    self._offer_one(server, connection, spec)

    def _offer_one(self, server: McpServer, connection: Connection, spec: ToolSpec) -> None:
        ruling = server.ruling(spec.name)
        if ruling is Ruling.DENY:
            return
        name = _named(server.name, spec.name)
        if name in self._served or name in self._own:
            log.warning("two tools have one name", tool=name, run=self._assignment.run_id)
            return
        self._served[name] = (connection, spec.name)
        if ruling is Ruling.ASK:
            self._asked.add(name)
        # Providers refuse what does not say that it is an object with properties.
        schema = {"type": "object", "properties": {}, **spec.input_schema}
        self.specs.append(ToolSpec(name, spec.description, schema))


def _named(server: str, tool: str) -> str:
    """Return the name that a tool has here. One that is too long keeps what tells it from others."""
    name = _NO_NAME.sub("_", f"{server}__{tool}")
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def shorten(text: str, most: int) -> str:
    """Return a text with its middle left out if it is very long, saying so."""
    if len(text) <= most:
        return text
    tail = most // 5
    return f"{text[: most - tail]}\n… {len(text) - most:,} characters left out …\n{text[-tail:]}"


def _mistake(text: str) -> ToolAnswer:
    return ToolAnswer(done=True, text=text, is_error=True)


def _why(error: BaseException) -> str:
    """Return what to tell of an error: the first of a group's, as task groups raise them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__
