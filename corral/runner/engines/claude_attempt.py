"""One attempt in Claude Code: start it, say what people say, wait until it has nothing left to do, end it, tell how."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from corral.base.redactor import Redactor
from corral.runner import environment
from corral.runner.engines import claude_cli, claude_mcp
from corral.runner.engines.claude_approvals import Approvals
from corral.runner.engines.claude_events import Translator, emit
from corral.runner.engines.claude_guard import Guard
from corral.runner.engines.claude_outcome import judge
from corral.runner.engines.claude_pace import Pace
from corral.runner.engines.claude_sdk import ClaudeSDKClient
from corral.runner.engines.claude_tools import ToolServer
from corral.runner.engines.claude_usage import Meter
from corral.runner.engines.protocol import (
    Alive,
    Child,
    DoAnswer,
    DoApprove,
    DoCancel,
    DoGoOn,
    DoInterrupt,
    DoMessage,
    Draft,
    Emit,
    FromWorker,
    Spend,
    Start,
    ToWorker,
)
from corral.runner.engines.stdio import log
from corral.runner.environment import MARK
from corral.wire.events import EventType
from corral.wire.runner import secrets_of

#: An interrupt is answered in some 25 ms, with a result right after; a CLI that hangs gets no more than this for both.
_INTERRUPT_SECONDS = 3.0
#: The SDK's own cleaning up, once the process is gone.
_SDK_SECONDS = 1.0
#: A message that the CLI never says it answered does not keep a CLI that says it is idle for longer.
_UNANSWERED_SECONDS = 5.0
#: How often we say that the CLI says something. A stream that stalls is silent; a tool is told of twice a minute.
_ALIVE_SECONDS = 1.0


class Attempt:
    """The attempt that a `start` line asked for."""

    def __init__(self, start: Start, send: Callable[[FromWorker], None], waiting: Callable[[], list[ToWorker]]) -> None:
        """Take what to do, where lines go, and what tells of lines that came in the meantime."""
        self._send, self._waiting = send, waiting
        self._translator = Translator(_redactor(start))
        self._meter = Meter(start.assignment.attempt, resumed=start.assignment.session_id is not None)
        self._approvals = Approvals(start.assignment.cwd, self._translator, send)
        self._tools = ToolServer(send, self._write)
        self._servers = claude_mcp.write(start.assignment, Path(start.private))
        guard = Guard(start.assignment.mcp_servers, self._approvals.ask)
        self._pace = Pace(start.assignment, send)
        # What commands in the background print goes into files, which go with the attempt.
        env = {**start.env, "CLAUDE_CODE_TMPDIR": start.private}
        chosen = claude_cli.options(start.assignment, env, guard, hooks=self._pace.hooks, servers=self._servers)
        self.cli = claude_cli.Cli(
            chosen,
            start.assignment.run_id,
            tools=self._tools,
            on_start=self._started,
            on_message=self._heard,
            on_end=self._ended,
        )
        self._client = ClaudeSDKClient(chosen, transport=self.cli)

        self._over = asyncio.Event()  #: nothing more to wait for
        self._result_came = asyncio.Event()  #: since the last prompt, or since we interrupted
        self._stop: Emit | None = None  #: how the attempt ends because somebody said so
        self._leaving = False  #: another attempt will go on
        self._abandoned = False  #: nobody waits for the last event, or whoever ends us will write it
        self._error: BaseException | None = None
        self._died = False  #: the CLI ended by itself
        self._to_say: asyncio.Queue[tuple[str, str, int]] = asyncio.Queue()
        self._unanswered: set[str] = set()  #: ids of messages of people that the CLI has not taken up yet
        self._inputs: list[int] = []  #: messages that the CLI was told and the server has numbered
        self._give_up: asyncio.TimerHandle | None = None

        self._state: str | None = None  #: what the CLI says it is: running, requires_action, idle; old ones say nothing
        self._turn_open = False
        self._result: Mapping[str, Any] | None = None
        self._api_error: str | None = None
        self._turns = 0
        self._began = time.monotonic()
        self._alive_at = 0.0
        self._say(start.assignment.prompt, awaited=False)

    async def run(self) -> None:
        """Carry the attempt from its first word to its one last event."""
        talk = asyncio.create_task(self._talk())
        await self._over.wait()
        if self._stop is not None and not self._leaving:
            await self._interrupt()
        talk.cancel()
        await self.cli.end(at_once=self._leaving)
        self._forget_servers()
        await asyncio.wait([talk], timeout=_SDK_SECONDS)
        with suppress(Exception):
            async with asyncio.timeout(_SDK_SECONDS):
                await self._client.disconnect()
        self._tell_end()

    def handle(self, line: ToWorker) -> None:
        """Do what the job says."""
        match line:
            case DoApprove():
                self._approvals.answer(line.approve)
            case DoAnswer():
                self._tools.answer(line)
            case DoGoOn():
                self._pace.go_on(line.id)
            case DoMessage() if not self._over.is_set():
                self._say(line.message.text, awaited=True, number=line.message.input)
            case DoMessage():
                log("A message came after the last word")
            case DoCancel():
                self.stop(emit(EventType.RUN_CANCELLED, message=line.cancel.message, by=line.cancel.by))
            case DoInterrupt():
                self.interrupt(line.message)
            case Start():
                log("A worker does one attempt; the second start is ignored")

    def interrupt(self, message: str) -> None:
        """Stop so that another attempt can go on: what is asked of people stays asked.

        The CLI gets no interrupt, which would put into its session that a person refused to go on.
        """
        self._leaving = self._approvals.keep = True
        self.stop(emit(EventType.SESSION_INTERRUPTED, message=message))

    def abandon(self) -> None:
        """Stop without a last event: the job is gone, or is killing this tree for a reason of its own."""
        self._abandoned = True
        self.interrupt("")

    def stop(self, last: Emit) -> None:
        """End the attempt with this event, unless it is ending by itself. The newest word of several counts."""
        if self._stop is not None or not self._over.is_set():
            self._stop = last
        self._over.set()

    # What goes to the CLI

    def _say(self, text: str, *, awaited: bool, number: int = 0) -> None:
        name = str(uuid.uuid4())
        if awaited:
            self._unanswered.add(name)
        self._to_say.put_nowait((name, text, number))

    async def _talk(self) -> None:
        """Start the CLI, then send the prompt, then whatever people say."""
        try:
            await self._client.connect()
            while True:
                name, text, number = await self._to_say.get()
                await self._client.query(_message(name, text))
                if number:
                    self._inputs.append(number)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends the attempt and is told
            self._error = error
            self._over.set()

    async def _write(self, line: str) -> None:
        await self.cli.write(line)

    async def _interrupt(self) -> None:
        """Tell the CLI to stop, and give it time to say what was spent."""
        if self._state in {None, "idle"}:
            return
        self._result_came.clear()
        with suppress(Exception):
            async with asyncio.timeout(_INTERRUPT_SECONDS):
                await self._client.interrupt()
                await self._result_came.wait()

    def _forget_servers(self) -> None:
        """Remove the file with their secrets."""
        if self._servers is not None:
            self._servers.unlink(missing_ok=True)

    # What comes from it

    def _started(self, pid: int) -> None:
        self._send(Child(pid))

    def _ended(self) -> None:
        self._died = not self._over.is_set()
        self._over.set()

    def _heard(self, raw: Mapping[str, Any]) -> None:
        if (now := time.monotonic()) - self._alive_at >= _ALIVE_SECONDS:
            self._alive_at = now
            self._send(Alive())
        if (draft := self._meter.watch(raw)) is not None:
            self._send(Draft(draft))
        for line in self._translator.translate(raw):
            self._send(line)
        match raw.get("type"):
            case "result":
                self._take_result(raw)
            case "assistant":
                self._api_error = raw.get("error") if raw.get("is_api_error_message") else None
            case "command_lifecycle" if raw.get("state") in {"completed", "cancelled"}:
                self._unanswered.discard(raw.get("command_uuid", ""))
            case "system" if raw.get("subtype") == "init":
                self._forget_servers()  # they are known by now
            case "system" if raw.get("subtype") == "session_state_changed":
                self._state = raw.get("state")
                self._turn_open = self._turn_open or self._state == "running"
                if self._state != "idle" and self._give_up:
                    self._give_up.cancel()
                    self._give_up = None
                self._look_for_end()
            case _:
                return

    def _take_result(self, raw: Mapping[str, Any]) -> None:
        self._result = raw
        self._turns += raw.get("num_turns") or 0
        for line in self._meter.settle(raw):
            self._send(Spend(line))
        self._unanswered.difference_update(raw.get("user_message_uuids") or [])
        self._turn_open = False
        self._result_came.set()
        self._look_for_end()

    def _look_for_end(self) -> None:
        """See whether the CLI has said all: a result, no work in the background, and nobody waiting for a word."""
        if self._result is None or self._turn_open or self._over.is_set():
            return
        if self._state not in {None, "idle"} or (self._state is None and self._translator.has_agents):
            return
        # What a person said in this very moment still counts.
        for line in self._waiting():
            self.handle(line)
        if not self._unanswered:
            self._over.set()
        elif self._give_up is None:
            self._give_up = asyncio.get_running_loop().call_later(_UNANSWERED_SECONDS, self._over.set)

    # How it ends

    def _tell_end(self) -> None:
        for stopped in self._translator.finish():
            self._send(stopped)
        for line in self._meter.cut():
            self._send(Spend(line))
        if self._result is not None:
            self._send(self._summary(self._result))
        if self._abandoned:
            return
        # A CLI that dies in the middle of a turn has no result, whatever it said of the turn before.
        result = None if self._turn_open or (self._unanswered and self._died) else self._result
        error = self.cli.error or self._error
        self._send(self._naming_inputs(self._stop or judge(result, self._api_error, error, list(self.cli.last_words))))

    def _naming_inputs(self, last: Emit) -> Emit:
        """Name the messages that a turn which ended has heard: they need not be told again."""
        if last.type != EventType.RUN_COMPLETED or not self._inputs:
            return last
        return emit(last.type, **msgspec.json.decode(last.payload), inputs=self._inputs)

    def _summary(self, result: Mapping[str, Any]) -> Emit:
        return emit(
            EventType.RUN_RESULT,
            subtype=result.get("subtype"),
            is_error=bool(result.get("is_error")),
            text=result.get("result") or "",
            turns=self._turns,
            duration_seconds=round(time.monotonic() - self._began, 3),
            cost_usd=round(self._meter.cost_usd, 6),
            session_id=self._translator.session_id or result.get("session_id"),
        )


def _redactor(start: Start) -> Redactor:
    """Return what masks the attempt's secrets, of which the environment came apart from the assignment."""
    env = {name: value for name, value in start.env.items() if name != MARK}
    given = msgspec.structs.replace(start.assignment, env=env)
    known = [given.cwd, given.model or ""]
    return Redactor([*environment.credentials(os.environ), *secrets_of(given)], known=known)


async def _message(name: str, text: str) -> AsyncIterator[dict[str, Any]]:
    """A message of a person, with an id by which the CLI says that it was answered."""
    yield {"type": "user", "message": {"role": "user", "content": text}, "parent_tool_use_id": None, "uuid": name}
