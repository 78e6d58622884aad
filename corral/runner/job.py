"""One attempt of one run, from its assignment to its one last event: lock, prepare, start, stream, finish."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from corral.base.logs import conceal, get_logger
from corral.runner import environment, spool, transcripts, tree, workspace
from corral.runner.allowance import Allowance
from corral.runner.client import Client
from corral.runner.clocks import Clocks
from corral.runner.endings import Ending, failed, how_it_ended, survived
from corral.runner.engines.protocol import (
    Alive,
    CallTool,
    Child,
    DoApprove,
    DoGoOn,
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
from corral.runner.orders import Orders, Stop, Stopped
from corral.runner.outbox import Outbox
from corral.runner.transcripts import Transcripts
from corral.runner.waiting import Waiting
from corral.runner.workers import Worker, Workers
from corral.wire.events import ENDS_ATTEMPT, SERVER_WRITES, EventType
from corral.wire.runner import Approve, Assignment, Fund, Held, Message, secrets_of

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
        self.orders = Orders(assignment.limits)
        self.outbox = Outbox(
            spool.create(tools.spools, self.held, first=assignment.stored_n),
            tools.client,
            lambda: self.orders.stop(Stop.FENCED),
            on_stored=self._note_stored,
            gate=self.gate,
        )
        self._clocks = Clocks(assignment.limits, time.monotonic())
        self._allowance = Allowance(assignment, self.orders, self._go_on)
        self._waiting = Waiting(
            self.outbox, tools.client, self.gate, self._clocks, answer=self._tell, on_change=on_change
        )
        self._tools = tools
        self._private: Path | None = None
        self._home: Path | None = None  # where the CLI keeps its own things
        self._worker: Worker | None = None
        self._roots: set[tree.Process] = set()
        self._told_early: list[ToWorker] = []
        self._log = get_logger(run=assignment.run_id, attempt=assignment.attempt)

    @property
    def worker_pid(self) -> int | None:
        """Return the worker's process id, once it has one."""
        return self._worker.pid if self._worker else None

    @property
    def is_waiting(self) -> bool:
        """Tell whether it waits for a person or for another agent: it holds no slot that others need."""
        return self._waiting.is_so

    def approve(self, answer: Approve) -> None:
        """Hand a person's answer to the agent; Failure when it no longer asks."""
        if self.orders.is_ending or not self._waiting.settle(answer.request_id):
            raise Failure("not_asking", "The agent no longer asks for this")
        self._tell(DoApprove(answer))

    def say(self, message: Message) -> None:
        """Hand a person's message to the agent; Failure when the attempt is about to end."""
        self._tell(DoMessage(message))

    def fund(self, fund: Fund) -> None:
        """Let it spend so much in all; Failure when the attempt is about to end."""
        self.orders.refuse_if_over()
        self._allowance.fund(fund.allowed_micros)

    def hurry(self) -> None:
        """The server is back: ask it now."""
        self._waiting.hurry()

    async def run(self) -> None:
        """Carry the attempt out. Raises nothing: whatever happens becomes its last event."""
        try:
            ending = await self._carry_out()
        except Stopped:
            ending = self.orders.ending()
        except Failure as failure:
            ending = Ending(EventType.RUN_FAILED, failure.payload())
        except OSError as error:
            ending = failed("runner_disk", f"The runner could not write to its disk: {error}", "Free some space there.")
        except Exception as error:  # noqa: BLE001 - whatever it was, the run ends and says so
            self._log.exception("the job broke")
            ending = failed("runner_error", f"The runner made a mistake: {error!r}", "Its log says more.")
        await self._finish(ending)

    async def _carry_out(self) -> Ending:
        self._allowance.stop_if_broke()
        await self._lock()
        cwd = await self.orders.unless_stopped(workspace.resolve(self.assignment.cwd, self._tools.allowed_dirs))
        worker = await self._start(cwd)
        return await self._stream(worker)

    async def _lock(self) -> None:
        names = [f"run {self.assignment.run_id}"]
        if self.assignment.session_id and not self.assignment.fork:
            names.append(f"session {self.assignment.session_id}")
        if not await self.orders.unless_stopped(self._tools.locks.hold(self, names, LOCK_SECONDS)):
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
        stopped = asyncio.create_task(self.orders.stopped.wait())
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
                self._allowance.spend(usage)
            case Draft(usage):
                self.outbox.draft(usage)
                self._allowance.draft(usage)
            case MayGoOn(id):
                self._allowance.ask(id)
            case Token(frame):
                self.outbox.token(frame)
            case Child(pid):
                self._adopt(pid)
            case CallTool():
                self._waiting.call(line)
            case DropCall(id):
                self._waiting.drop(id)
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
            self._waiting.ask(_field(payload, "request_id"))
        elif type == EventType.PERMISSION_WITHDRAWN:
            self._waiting.settle(_field(payload, "request_id"))
        elif type == EventType.SESSION_INIT:
            session_id = _field(payload, "session_id")
            self._tools.locks.add(self, f"session {session_id}")
            if self._home is not None:
                self._tools.transcripts.note(session_id, self.assignment.run_id, self._home)
        self.outbox.event(type, payload)
        return None

    def _adopt(self, pid: int) -> None:
        process = tree.identify(pid)
        if process is not None and process not in self._roots:
            self._roots.add(process)
            self._tools.journal.started(process, self.assignment.run_id)

    async def _wind_down(self, worker: Worker, reading: asyncio.Task[Ending]) -> Ending:
        """Ask the worker to end as we were told; when it takes too long, its tree is killed."""
        orders = self.orders
        if orders.asked != Stop.FENCED:
            worker.tell(orders.for_worker())
            grace = CANCEL_GRACE_SECONDS if orders.asked == Stop.CANCEL else INTERRUPT_GRACE_SECONDS
            hurried = asyncio.create_task(orders.hurried.wait())
            await asyncio.wait({reading, hurried}, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
            hurried.cancel()
            if not reading.done() and not orders.hurried.is_set():
                self._log.warning("the worker did not end in time; killing its tree")
        ending = await self._last_ending(reading, orders.ending())
        is_cut = ending.type == EventType.SESSION_INTERRUPTED
        return orders.ending() if is_cut and orders.asked in {Stop.PAUSE, Stop.LIMIT} else ending

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

    async def _finish(self, ending: Ending) -> None:
        """Prove the tree dead, then say how it ended: whoever reads that may start the next attempt at once."""
        self.orders.is_ending = True
        await self._waiting.close()
        if self._worker is not None:
            self._worker.dismiss()
            if not self.orders.hurried.is_set():
                await self._worker.ended(EXIT_SECONDS if self.orders.asked is None else STOPPED_EXIT_SECONDS)
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
        grace = 0.0 if self.orders.is_forced else TREE_GRACE_SECONDS
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
                    async with asyncio.timeout(5.0):
                        await self.orders.hurried.wait()
                if self.orders.is_forced:
                    return  # the next start finds the spool without an end and says that it was interrupted

    def _say(self, type: EventType, payload: dict[str, object]) -> None:
        self.outbox.event(type, msgspec.json.encode(payload))

    def _tell(self, line: ToWorker) -> None:
        self.orders.refuse_if_over()
        if self._worker is None:
            self._told_early.append(line)
        elif not self._worker.tell(line):
            raise Failure("ending", "The run is ending")

    def _note_stored(self) -> None:
        self._waiting.note_stored()

    def _go_on(self, id: int) -> None:
        if self._worker is not None:
            self._worker.tell(DoGoOn(id))


def _field(payload: bytes, name: str) -> str:
    value = msgspec.json.decode(payload).get(name)
    return value if isinstance(value, str) else ""
