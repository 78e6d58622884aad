"""One attempt of one run, from its assignment to its one last event: lock, prepare, start, stream, finish."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from corral.base.logs import conceal, get_logger
from corral.runner import environment, spool, transcripts, tree, workspace
from corral.runner.calls import Calls
from corral.runner.client import Client
from corral.runner.clocks import Clocks
from corral.runner.endings import Ending, failed, how_it_ended, survived
from corral.runner.engines.protocol import (
    Alive,
    CallTool,
    Child,
    DoAnswer,
    DoApprove,
    DoCancel,
    DoGoOn,
    DoInterrupt,
    DoMessage,
    Draft,
    DropCall,
    Emit,
    FromWorker,
    MayGoOn,
    Ready,
    Spend,
    Start,
    Token,
    ToWorker,
)
from corral.runner.failure import Failure
from corral.runner.gate import Gate
from corral.runner.journal import Journal
from corral.runner.locks import Locks
from corral.runner.outbox import Outbox
from corral.runner.transcripts import Transcripts
from corral.runner.workers import Worker, Workers
from corral.wire.events import ENDS_ATTEMPT, SERVER_WRITES, EventType
from corral.wire.purse import PATIENCE_SECONDS, Purse
from corral.wire.runner import Approve, Assignment, Cancel, Fund, Held, Message, Pause, secrets_of

T = TypeVar("T")

LOCK_SECONDS = 60.0
CANCEL_GRACE_SECONDS = 10.0
#: An interrupted tree has to be gone within 10 s; the rest of them is for those that must be killed.
INTERRUPT_GRACE_SECONDS = 6.0
#: How long a worker that has said its last word may take to exit.
EXIT_SECONDS = 5.0
STOPPED_EXIT_SECONDS = 1.0
#: Between SIGTERM and SIGKILL.
TREE_GRACE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Tools:
    """What every job of a runner uses."""

    runner: str  #: its name
    allowed_dirs: Sequence[str]
    spools: Path
    private: Path  #: where attempts have their secrets, each in a directory of its own
    client: Client
    secrets: Sequence[tuple[str, str]]  #: of the runner itself, by name
    env: Mapping[str, str]  #: what every CLI gets
    transcripts: Transcripts
    journal: Journal
    locks: Locks
    workers: Workers


class Stop(Enum):
    """Why a job was told to end. The first reason stays, but for FENCED."""

    CANCEL = "cancel"
    INTERRUPT = "interrupt"
    PAUSE = "pause"
    LIMIT = "limit"  #: of what it may cost
    FENCED = "fenced"  #: the attempt is another's: end the tree and say nothing


class _Stopped(Exception):
    """The job was told to end before its worker was there."""


class Job:
    """An attempt that this process holds. `run` returns when its tree is dead and its end is spooled."""

    def __init__(self, assignment: Assignment, tools: Tools, on_change: Callable[[], object] = lambda: None) -> None:
        """Begin the attempt's spool; `on_change` is told when the job begins to wait for others, and when it goes on.

        FileExistsError: this runner had the attempt before.
        """
        self.assignment = assignment
        self.held = Held(assignment.run_id, assignment.attempt, assignment.lease)
        secrets = [*tools.secrets, *secrets_of(assignment)]
        self.gate = Gate(secrets, known=[assignment.cwd, *tools.allowed_dirs, assignment.model or ""])
        conceal(secrets)
        self.outbox = Outbox(
            spool.create(tools.spools, self.held, first=assignment.stored_n),
            tools.client,
            lambda: self._stop(Stop.FENCED),
            on_stored=self._note_stored,
            gate=self.gate,
        )
        self.is_waiting = False  #: for a person, or for another agent: it holds no slot that others need
        self._on_change = on_change
        self._questions: dict[str, int] = {}  # those that wait for a person → the event that asked
        self._calls = Calls(self.held, tools.client, self.gate, answer=self._answer, on_change=self._note_waiting)
        self._private: Path | None = None
        self._home: Path | None = None  # where the CLI keeps its own things
        self._tools = tools
        self._clocks = Clocks(assignment.limits, time.monotonic())
        self._purse = Purse(assignment.limits, assignment.money)
        self._held: list[int] = []  #: what the agent asked when it had no money
        self._worker: Worker | None = None
        self._roots: set[tree.Process] = set()
        self._told_early: list[ToWorker] = []
        self._asked: Stop | None = None
        self._cancel = Cancel()
        self._interrupt = DoInterrupt()
        self._pause = Pause()
        self._stopped = asyncio.Event()
        self._is_forced = False
        self._hurried = asyncio.Event()  # forced or fenced: nothing is waited for any more
        self._is_ending = False
        self._log = get_logger(run=assignment.run_id, attempt=assignment.attempt)

    @property
    def worker_pid(self) -> int | None:
        """Return the worker's process id, once it has one."""
        return self._worker.pid if self._worker else None

    def approve(self, answer: Approve) -> None:
        """Hand a person's answer to the agent; Failure when it no longer asks."""
        if self._is_ending or not self._clocks.settle(answer.request_id, time.monotonic()):
            raise Failure("not_asking", "The agent no longer asks for this")
        self._settled(answer.request_id)
        self._tell(DoApprove(answer))

    def say(self, message: Message) -> None:
        """Hand a person's message to the agent; Failure when the attempt is about to end."""
        self._tell(DoMessage(message))

    def cancel(self, cancel: Cancel) -> None:
        """End it, first gently."""
        if self._asked is None:
            self._cancel = cancel
        self._stop(Stop.CANCEL)

    def interrupt(self, message: str) -> None:
        """End it so that it can be resumed: the runner goes away."""
        self._interrupt = DoInterrupt(message)
        self._stop(Stop.INTERRUPT)

    def pause(self, pause: Pause) -> None:
        """End it so that it can be resumed once the run is to go on; to the worker that is an interruption."""
        if self._asked is None:
            self._pause = pause
        self._stop(Stop.PAUSE)

    def fund(self, fund: Fund) -> None:
        """Let it spend so much in all. If that is spent already, it pauses before it asks the model again."""
        if self._is_ending or self._asked is not None:
            raise Failure("ending", "The run is ending")
        self._purse.fund(fund.allowed_micros)
        held, self._held = self._held, []
        for asked in held:
            self._let_go_on(asked)

    def hurry(self) -> None:
        """The server is back: ask it now."""
        self._calls.hurry()

    def force(self) -> None:
        """Be gentle no longer."""
        self._is_forced = True
        self._hurried.set()

    async def run(self) -> None:
        """Carry the attempt out. Raises nothing: whatever happens becomes its last event."""
        try:
            ending = await self._carry_out()
        except _Stopped:
            ending = self._ending_when_stopped()
        except Failure as failure:
            ending = Ending(EventType.RUN_FAILED, failure.payload())
        except OSError as error:
            ending = failed("runner_disk", f"The runner could not write to its disk: {error}", "Free some space there.")
        except Exception as error:  # noqa: BLE001 - whatever it was, the run ends and says so
            self._log.exception("the job broke")
            ending = failed("runner_error", f"The runner made a mistake: {error!r}", "Its log says more.")
        await self._finish(ending)

    async def _carry_out(self) -> Ending:
        self._stop_if_broke()
        await self._lock()
        cwd = await self._unless_stopped(workspace.resolve(self.assignment.cwd, self._tools.allowed_dirs))
        worker = await self._start(cwd)
        return await self._stream(worker)

    async def _lock(self) -> None:
        names = [f"run {self.assignment.run_id}"]
        if self.assignment.session_id and not self.assignment.fork:
            names.append(f"session {self.assignment.session_id}")
        if not await self._unless_stopped(self._tools.locks.hold(self, names, LOCK_SECONDS)):
            raise Failure(
                "session_busy",
                "An earlier process of this session is still being ended on this runner",
                "Try again in a minute; the runner's log says which process it is.",
            )

    async def _start(self, cwd: str) -> Worker:
        worker = await self._tools.workers.take(self.assignment.engine, self.assignment.run_id)
        self._worker = worker
        if worker.root is not None:
            self._roots.add(worker.root)
        assignment = msgspec.structs.replace(self.assignment, cwd=cwd, env={})
        env = environment.for_run(self.assignment.run_id, self.assignment.env)
        self._home = transcripts.home({**self._tools.env, **env})
        await asyncio.to_thread(transcripts.guard, self._home)
        self._tools.private.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._private = Path(tempfile.mkdtemp(dir=self._tools.private))
        worker.tell(Start(assignment, str(self._private), env))
        for line in self._told_early:
            worker.tell(line)
        self._say(
            EventType.RUN_STARTED,
            {"pid": worker.pid, "runner": self._tools.runner, "engine": self.assignment.engine, "cwd": cwd},
        )
        self._log.info("run started", pid=worker.pid, cwd=cwd)
        return worker

    async def _stream(self, worker: Worker) -> Ending:
        reading = asyncio.create_task(self._read(worker), name=f"worker of {self.assignment.run_id}")
        stopped = asyncio.create_task(self._stopped.wait())
        try:
            while True:
                # Answers of people change the clocks meanwhile, so look again now and then.
                left = self._clocks.remaining(time.monotonic())
                await asyncio.wait(
                    {reading, stopped},
                    timeout=1.0 if left is None else min(left, 1.0),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if reading.done():
                    return reading.result()
                if stopped.done():
                    return await self._wind_down(worker, reading)
                if (failure := self._clocks.expired(time.monotonic())) is not None:
                    return await self._cut_off(failure, reading)
        finally:
            stopped.cancel()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self, worker: Worker) -> Ending:
        """Spool what the worker says until it says its last word."""
        while (line := await worker.hear()) is not None:
            ending = self._take(line)
            if ending is not None:
                return ending
        await worker.ended(EXIT_SECONDS)
        raise Failure(
            "worker_died",
            f"The worker process ended before the run did ({how_it_ended(worker.process.returncode)})",
            await worker.last_words(),
        )

    def _take(self, line: FromWorker) -> Ending | None:
        if not isinstance(line, Ready):
            self._clocks.heard(time.monotonic())
        match line:
            case Emit(type, payload):
                return self._emit(type, bytes(payload))
            case Spend(usage):
                self.outbox.usage(usage)
                self._purse.spend(usage)
            case Draft(usage):
                self.outbox.draft(usage)
                if not self._purse.knows(usage):  # what has begun may come to its end; this is one too many
                    self._stop_if_broke()
                self._purse.draft(usage)
            case MayGoOn(id):
                self._let_go_on(id)
            case Token(frame):
                self.outbox.token(frame)
            case Child(pid):
                self._adopt(pid)
            case CallTool(id):
                self._clocks.ask(_call(id), time.monotonic())
                self._calls.begin(line)
            case DropCall(id):
                self._clocks.settle(_call(id), time.monotonic())
                self._calls.drop(id)
            case Ready() | Alive():
                pass
        return None

    def _emit(self, type: EventType, payload: bytes) -> Ending | None:
        if type in SERVER_WRITES or type == EventType.AGENT_TOKEN:
            self._log.error("a worker sent an event that is not its to send", type=type)
            return None
        if type in ENDS_ATTEMPT:
            return Ending(type, payload)
        if type == EventType.PERMISSION_REQUESTED:
            self._clocks.ask(_field(payload, "request_id"), time.monotonic())
            self._questions[_field(payload, "request_id")] = self.outbox.spool.last_n + 1
        elif type == EventType.PERMISSION_WITHDRAWN:
            self._clocks.settle(_field(payload, "request_id"), time.monotonic())
            self._settled(_field(payload, "request_id"))
        elif type == EventType.SESSION_INIT:
            session_id = _field(payload, "session_id")
            self._tools.locks.add(self, f"session {session_id}")
            if self._home is not None:
                self._tools.transcripts.note(session_id, self.assignment.run_id, self._home)
        self.outbox.event(type, payload)
        return None

    def _let_go_on(self, id: int) -> None:
        """Let the agent ask the model again if that can be paid; if not, money may still come within a moment."""
        if self._purse.pause() is None and not self._purse.is_at_its_limit:
            if self._worker is not None:
                self._worker.tell(DoGoOn(id))
            return
        self._held.append(id)
        seconds = 0.0 if self._purse.is_at_its_limit else PATIENCE_SECONDS
        asyncio.get_running_loop().call_later(seconds, self._stop_if_broke)

    def _stop_if_broke(self) -> None:
        """End the attempt if its money is spent, unless it is ending already."""
        if self._is_ending or self._asked is not None:
            return
        if self._purse.is_at_its_limit:
            self._stop(Stop.LIMIT)
        elif (pause := self._purse.pause()) is not None:
            self.pause(pause)

    def _adopt(self, pid: int) -> None:
        process = tree.identify(pid)
        if process is not None and process not in self._roots:
            self._roots.add(process)
            self._tools.journal.started(process, self.assignment.run_id)

    async def _wind_down(self, worker: Worker, reading: asyncio.Task[Ending]) -> Ending:
        """Ask the worker to end as we were told; when it takes too long, its tree is killed."""
        is_cancel = self._asked == Stop.CANCEL
        if self._asked != Stop.FENCED:
            worker.tell(DoCancel(self._cancel) if is_cancel else self._interrupt)
            grace = CANCEL_GRACE_SECONDS if is_cancel else INTERRUPT_GRACE_SECONDS
            hurried = asyncio.create_task(self._hurried.wait())
            await asyncio.wait({reading, hurried}, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
            hurried.cancel()
            if not reading.done() and not self._hurried.is_set():
                self._log.warning("the worker did not end in time; killing its tree")
        ending = await self._last_ending(reading, self._ending_when_stopped())
        is_cut = ending.type == EventType.SESSION_INTERRUPTED
        return self._ending_when_stopped() if is_cut and self._asked in {Stop.PAUSE, Stop.LIMIT} else ending

    async def _cut_off(self, failure: Failure, reading: asyncio.Task[Ending]) -> Ending:
        self._log.warning("run cut off", code=failure.code)
        return await self._last_ending(reading, Ending(EventType.RUN_FAILED, failure.payload()))

    async def _last_ending(self, reading: asyncio.Task[Ending], otherwise: Ending) -> Ending:
        """End the tree, take what the worker still said, and return its own ending if it had one."""
        if not reading.done():
            await self._end_tree()
            await asyncio.wait({reading}, timeout=2.0)
        if reading.done() and not reading.cancelled() and reading.exception() is None and otherwise.type is not None:
            return reading.result()
        return otherwise

    def _ending_when_stopped(self) -> Ending:
        match self._asked:
            case Stop.CANCEL:
                return Ending(EventType.RUN_CANCELLED, msgspec.json.encode(self._cancel))
            case Stop.INTERRUPT:
                return Ending(EventType.SESSION_INTERRUPTED, msgspec.json.encode({"message": self._interrupt.message}))
            case Stop.PAUSE:
                return Ending(EventType.RUN_PAUSED, msgspec.json.encode(self._pause))
            case Stop.LIMIT:
                most = self.assignment.limits.max_cost_usd
                hint = "Raise the budget, or continue the run with a new one."
                return failed("max_budget", f"Reached the maximum cost (${most:g})", hint)
            case _:
                return Ending(None)

    async def _finish(self, ending: Ending) -> None:
        """Prove the tree dead, then say how it ended: whoever reads that may start the next attempt at once."""
        self._is_ending = True
        await self._calls.close()
        if self._worker is not None:
            self._worker.dismiss()
            if not self._hurried.is_set():
                await self._worker.ended(EXIT_SECONDS if self._asked is None else STOPPED_EXIT_SECONDS)
        try:
            await self._end_tree()
        except tree.StillAliveError as error:
            self._log.error("processes survived SIGKILL", pids=error.left)
            ending = survived(ending, error)
        if self._private is not None:
            await asyncio.to_thread(shutil.rmtree, self._private, ignore_errors=True)
        await self._spool_end(ending)
        self._tools.journal.gone(self.assignment.run_id)
        await self._tools.locks.release(self)
        self._log.info("run ended", how=ending.type or "fenced")

    async def _end_tree(self) -> None:
        if self._worker is None:
            return
        grace = 0.0 if self._is_forced else TREE_GRACE_SECONDS
        await tree.end(self._roots, [self.assignment.run_id], grace=grace)

    async def _spool_end(self, ending: Ending) -> None:
        while True:
            if ending.type is None or self.outbox.fenced:
                with contextlib.suppress(OSError):
                    self.outbox.spool.settle()
                self.outbox.finish()
                return
            try:
                self.outbox.spool.settle()
                self.outbox.event(ending.type, ending.payload)
                await self.outbox.spool.sync()
                return
            except OSError as error:
                self._log.error("the end of the run cannot be written; trying again", error=str(error))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._hurried.wait(), 5.0)
                if self._is_forced:
                    return  # the next start finds the spool without an end and says that it was interrupted

    def _say(self, type: EventType, payload: dict[str, object]) -> None:
        self.outbox.event(type, msgspec.json.encode(payload))

    def _tell(self, line: ToWorker) -> None:
        if self._is_ending or self._asked is not None:
            raise Failure("ending", "The run is ending")
        if self._worker is None:
            self._told_early.append(line)
        elif not self._worker.tell(line):
            raise Failure("ending", "The run is ending")

    def _answer(self, line: DoAnswer) -> None:
        self._clocks.settle(_call(line.id), time.monotonic())
        with contextlib.suppress(Failure):  # it is ending
            self._tell(line)

    def _settled(self, request_id: str) -> None:
        self._questions.pop(request_id, None)
        self._note_waiting()

    def _note_stored(self) -> None:
        if self.outbox.stored > self.outbox.spool.head.first:
            self._calls.may_ask.set()
        self._note_waiting()

    def _note_waiting(self) -> None:
        """See whether the server knows us as waiting, which is what its own count of our slots goes by."""
        asked = any(n <= self.outbox.stored for n in self._questions.values())
        if (asked or self._calls.are_waiting) != self.is_waiting:
            self.is_waiting = not self.is_waiting
            self._on_change()

    def _stop(self, stop: Stop) -> None:
        if self._asked is None or stop == Stop.FENCED:
            self._asked = stop
        if stop == Stop.FENCED:
            self._hurried.set()
        self._stopped.set()

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` answers; stop waiting for it when the job is told to end."""
        working, stopped = asyncio.ensure_future(work), asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if self._stopped.is_set():
                raise _Stopped
            return await working
        finally:
            for task in (working, stopped):
                task.cancel()
            await asyncio.gather(working, stopped, return_exceptions=True)


def _call(id: str) -> str:
    """Name a call for the clocks, beside what is asked of people."""
    return f"call {id}"


def _field(payload: bytes, name: str) -> str:
    value = msgspec.json.decode(payload).get(name)
    return value if isinstance(value, str) else ""
