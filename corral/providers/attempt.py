"""One attempt of one run inside the platform, from its assignment to its one last event."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from enum import Enum
from typing import TypeVar
from uuid import UUID, uuid5

import msgspec

from corral.base.backoff import Backoff
from corral.base.errors import LeaseLost, Unavailable
from corral.base.logs import get_logger
from corral.base.redactor import Redactor
from corral.mcp.pool import User
from corral.platform import database
from corral.providers import conversation
from corral.providers.approvals import Approvals
from corral.providers.clients import Clients
from corral.providers.conversation import Conversation
from corral.providers.entries import Prompt
from corral.providers.journal import Event, Journal
from corral.providers.limits import Clocks
from corral.providers.loop import Broke, Ending, Loop
from corral.providers.provider import Trouble
from corral.providers.tools import Tools
from corral.providers.toolset import Connect, Toolset
from corral.runs import outcomes
from corral.runs.resuming import INTERRUPTED, PAUSED
from corral.usage import pricelists
from corral.wire.events import EventType
from corral.wire.purse import Purse
from corral.wire.runner import Approve, Assignment, Cancel, CommandStatus, Fund, Held, Message, Pause, Resume

T = TypeVar("T")

#: How long an attempt that ends with its process waits for what it started.
_HURRY_SECONDS = 0.5
#: An attempt that could not even write its end is offered again; not at once.
_BROKEN_SECONDS = 1.0
_SUBTYPES = {"max_turns": "error_max_turns", "max_budget": "error_max_budget_usd"}


class Stop(Enum):
    """Why an attempt was told to end."""

    CANCEL = "cancel"
    INTERRUPT = "interrupt"
    PAUSE = "pause"
    LOST = "lost"  #: the attempt is another's: say nothing more


class Means(msgspec.Struct, frozen=True):
    """What every attempt of an engine uses."""

    toolset: Toolset
    connect: Connect
    clients: Clients


class Attempt:
    """An attempt that this process holds. `run` returns when its end is stored, or is another's to store."""

    def __init__(self, assignment: Assignment, means: Means, on_waiting: Callable[[], None]) -> None:
        """Take what to do, and whom to tell when it begins or ends to wait for others; nothing is done yet."""
        self.held = Held(assignment.run_id, assignment.attempt, assignment.lease)
        self._work = assignment
        self._means = means
        self._clocks = Clocks(assignment.limits, on_waiting)
        self._purse = Purse(assignment.limits, assignment.money)
        self._journal: Journal | None = None
        self._loop: Loop | None = None
        self._approvals: Approvals | None = None
        self._is_ready = asyncio.Event()  #: it can hear, or never will
        self._asked: Stop | None = None
        self._stopped = asyncio.Event()
        self._cancel = Cancel()
        self._pause = Pause()
        self._log = get_logger(run=assignment.run_id, attempt=assignment.attempt)

    @property
    def is_waiting(self) -> bool:
        """Tell whether it waits for a person or another agent, and so holds no slot."""
        return self._clocks.is_waiting

    async def hear(self, command_id: str, message: Message) -> bool:
        """Take what somebody says, and return when it is kept and the command done; False if it comes too late."""
        await self._is_ready.wait()
        if self._loop is None or self._stopped.is_set():
            return False
        # A command may be offered once more while it is carried out, and an input given again by another command.
        key = f"input {message.input}" if message.input else f"command {command_id}"
        prompt = Prompt(message.text, key=key, input=message.input)
        try:
            await self._loop.hear(prompt, lambda: outcomes.settle(command_id, CommandStatus.DONE))
        except (Ending, LeaseLost):
            return False
        return True

    def approve(self, approve: Approve) -> bool:
        """Take what a person says about a call; False if nobody asks that now."""
        return self._approvals is not None and self._approvals.answer(approve)

    def cancel(self, cancel: Cancel) -> None:
        """End it: somebody said so."""
        self._cancel = cancel
        self._stop(Stop.CANCEL)

    def pause(self, pause: Pause) -> None:
        """End it so that another attempt goes on once the run is to."""
        self._pause = pause
        self._stop(Stop.PAUSE)

    def fund(self, fund: Fund) -> None:
        """Let it spend so much in all; whether that is spent already is seen before the model is asked again."""
        self._purse.fund(fund.allowed_micros)

    def interrupt(self) -> None:
        """End it so that another process goes on with it: this one is ending."""
        self._stop(Stop.INTERRUPT)

    def lose(self) -> None:
        """End it without a word: it is another's."""
        self._stop(Stop.LOST)

    async def run(self) -> None:
        """Carry the attempt out. Raises nothing: whatever happens becomes its last event."""
        work = asyncio.create_task(self._converse(), name=f"run {self._work.run_id}")
        try:
            last = await self._carry_out(work)
            if last and self._journal is not None and self._asked != Stop.LOST:
                await self._journal.end(last, usage=self._loop.unfinished() if self._loop else ())
        except LeaseLost:
            self._log.info("the attempt is another's")
        except Exception as error:  # noqa: BLE001 - the server offers it again, or another process takes it
            self._log.exception("the attempt broke", error=repr(error))
            await asyncio.sleep(_BROKEN_SECONDS)
        finally:
            self._is_ready.set()
            if self._journal is not None:
                self._journal.close()
            work.cancel()
            await asyncio.wait({work})

    async def _carry_out(self, work: asyncio.Task[None]) -> list[Event]:
        """Let it work until the end is stored, or return the events that tell of another end."""
        stopped = asyncio.create_task(self._stopped.wait())
        trouble: Trouble | None = None
        try:
            while not work.done() and not self._stopped.is_set() and trouble is None:
                left = self._clocks.left()
                await asyncio.wait(
                    {work, stopped},
                    timeout=1.0 if left is None else min(left, 1.0),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if not work.done() and self._clocks.left() == 0.0:
                    trouble = self._clocks.expired()
        finally:
            stopped.cancel()
        work.cancel()
        # MCP servers may take a while to end. A process that ends says first that others may go on.
        await asyncio.wait({work}, timeout=_HURRY_SECONDS if self._asked == Stop.INTERRUPT else None)
        if work.done() and not work.cancelled():
            return self._judge(work.exception())
        if trouble is None and self._asked is None:
            trouble = _mistake("it was cancelled from within")
        return self._failed(trouble) if trouble else self._ending_when_stopped()

    def _judge(self, error: BaseException | None) -> list[Event]:
        match error:
            case None:
                return []
            case LeaseLost():
                raise error
            case Trouble():
                return self._failed(error)
            case Broke():
                return [(EventType.RUN_PAUSED, msgspec.to_builtins(error.pause))]
            case _:
                self._log.error("the engine made a mistake", exc_info=error)
                return self._failed(_mistake(repr(error)))

    async def _converse(self) -> None:
        rows = await self._patiently(
            lambda: database.fetch("SELECT no, org_id, parent_id FROM runs WHERE id = $1", self._work.run_id)
        )
        if not rows:
            raise LeaseLost
        org_id, parent_id = int(rows[0]["org_id"]), rows[0]["parent_id"]
        work = self._work
        journal = Journal(org_id, rows[0]["no"], work, purse=self._purse, on_lost=self.lose)
        self._journal = journal
        talk = await self._patiently(lambda: self._open(org_id, parent_id))
        approvals = self._approvals = Approvals(journal, self._clocks)
        tools = Tools(work, self._means.toolset, self._clocks, approvals.ask, journal.redactor)
        told = self._told(talk, journal.redactor)
        begun = [self._started(), self._session(talk, tools)]
        await journal.write(begun, entries=[told] if told else (), talk=talk)
        if not work.model:
            raise Trouble("no_model", "The agent has no model", "Set the agent's model, then launch it anew.")
        provider = await self._means.clients.get(work.agent.provider if work.agent else None, work.env)
        async with AsyncExitStack() as stack:
            user = User(org_id, work.agent.id if work.agent else work.run_id, work.run_id)
            problems = await tools.connect(stack, self._means.connect, user)
            if problems:
                await journal.write([(EventType.AGENT_NEEDS_ATTENTION, {"message": why}) for why in problems])
            book = await self._patiently(lambda: pricelists.current(org_id))
            self._loop = Loop(
                work, talk, provider, tools=tools, journal=journal, clocks=self._clocks, book=book, money=self._purse
            )
            self._is_ready.set()
            await self._loop.run()

    async def _open(self, org_id: int, parent_id: str | None) -> Conversation:
        """Return the conversation to go on with: its own, its parent's, or a copy of that."""
        work = self._work
        if work.fork and work.session_id and work.resume == Resume.CONTINUE:  # a child went on with the run's own
            into = str(uuid5(UUID(work.run_id), str(work.attempt)))
            talk = await conversation.fork(org_id, work.session_id, work.run_id, work.run_id, into)
        elif work.fork and work.session_id and parent_id:
            talk = await conversation.fork(org_id, work.session_id, parent_id, work.run_id)
        else:
            talk = await conversation.load(org_id, work.session_id or work.run_id, work.run_id)
        if work.resume is not None and talk.is_empty:
            hint = "Start a new run instead."
            raise Trouble("session_not_found", "The conversation to go on with is not stored (any more)", hint)
        return talk

    def _told(self, talk: Conversation, redactor: Redactor) -> Prompt | None:
        """Return what the attempt is told, unless an earlier one has kept it before it was cut off."""
        text, was_cut = redactor.text(self._work.prompt), self._work.resume == Resume.INTERRUPTED
        known = [INTERRUPTED, PAUSED] if was_cut else []  # the conversation itself says where it stopped
        for told in [*known, *talk.told()]:
            text = "" if text == told else text.removeprefix(f"{told}\n\n")
        return Prompt(text, starts=not was_cut) if text else None

    def _started(self) -> Event:
        told = {"pid": os.getpid(), "runner": "the platform", "engine": self._work.engine, "cwd": self._work.cwd}
        return EventType.RUN_STARTED, told

    def _session(self, talk: Conversation, tools: Tools) -> Event:
        return EventType.SESSION_INIT, {
            "session_id": talk.session_id,
            "model": self._work.model,
            "permission_mode": self._work.permission_mode,
            "tools": [spec.name for spec in tools.specs],
            "mcp_servers": [{"name": server.name, "status": "pending"} for server in self._work.mcp_servers],
        }

    def _failed(self, trouble: Trouble) -> list[Event]:
        self._log.warning("run failed", code=trouble.code, why=trouble.message)
        subtype = _SUBTYPES.get(trouble.code, "error_during_execution")
        result = [self._loop.result(subtype=subtype, text=trouble.message)] if self._loop else []
        return [*result, (EventType.RUN_FAILED, trouble.payload())]

    def _ending_when_stopped(self) -> list[Event]:
        match self._asked:
            case Stop.CANCEL:
                return [(EventType.RUN_CANCELLED, {"message": self._cancel.message, "by": self._cancel.by})]
            case Stop.PAUSE:
                return [(EventType.RUN_PAUSED, msgspec.to_builtins(self._pause))]
            case Stop.INTERRUPT:
                return [(EventType.SESSION_INTERRUPTED, {"message": "The server process that executed it is ending"})]
            case _:
                return []

    def _stop(self, stop: Stop) -> None:
        if self._asked is None or stop == Stop.LOST:
            self._asked = stop
        self._stopped.set()

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Return what `ask` answers, however long the database is away."""
        backoff = Backoff(most=5.0)
        while True:
            try:
                return await ask()
            except Unavailable as error:
                self._log.warning("the database is away", error=error.message)
                await asyncio.sleep(backoff.next())


def _mistake(what: str) -> Trouble:
    return Trouble("engine_error", f"The platform made a mistake: {what}", "The server's log says more.")
