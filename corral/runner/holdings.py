"""What this process holds: attempts that run, and attempts whose end the server has not acknowledged yet."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec

from corral.base import logs
from corral.base.logs import get_logger
from corral.runner import spool
from corral.runner.job import Job, Tools
from corral.runner.outbox import Outbox
from corral.runner.spool import Spool
from corral.runner.stopping import Phase
from corral.wire.events import EventType
from corral.wire.runner import Assignment, Cancel, Held

Key = tuple[str, int]

STOPPED = "The runner was stopped"
LOST = "The server had given this attempt to another, and was restored since"

log = get_logger()


class Holdings:
    """Jobs by run and attempt, and every outbox that still has something to send."""

    def __init__(self, tools: Tools, slots: int) -> None:
        """Take what jobs use, and how many of them may run at a time."""
        self.changed = asyncio.Event()  #: something ended, was sent, waits or goes on; who waits for that clears it
        self._tools = tools
        self._slots = slots
        self._jobs: dict[Key, Job] = {}
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._outboxes: dict[Key, Outbox] = {}

    @property
    def running(self) -> Iterable[asyncio.Task[None]]:
        """Return the tasks of the jobs that have not ended."""
        return self._running.values()

    @property
    def free_slots(self) -> int:
        """Return how many more runs fit: those that wait for a person or for another agent take no place."""
        return max(0, self._slots - sum(not job.is_waiting for job in self._jobs.values()))

    @property
    def unsent(self) -> int:
        """Return how many attempts have something that the server does not have."""
        return len(self._outboxes)

    def held(self) -> list[Held]:
        """Return what a poll says that we hold: what the server has not all of, also of the process before us."""
        return [outbox.spool.held for outbox in self._outboxes.values()]

    def worker_pids(self) -> set[int]:
        """Return the processes that jobs own."""
        return {pid for job in self._jobs.values() if (pid := job.worker_pid) is not None}

    def find(self, run_id: str, attempt: int) -> Job | None:
        """Return the job of an attempt, if it has not ended."""
        return self._jobs.get((run_id, attempt))

    def adopt(self, left: Spool) -> None:
        """Send what the process before us had not sent."""
        self._send(Outbox(left, self._tools.client))

    def take(self, assignment: Assignment, phase: Phase) -> bool:
        """Begin a job; tell whether there was anything to begin. The same assignment may come any number of times."""
        held = Held(assignment.run_id, assignment.attempt, assignment.lease)
        key = _key(held)
        if key in self._outboxes:
            return False
        try:
            job = Job(assignment, self._tools, self.changed.set)
        except FileExistsError:
            if self._forget_another(held):
                return self.take(assignment, phase)
            return self._send_again(held, assignment.stored_n)
        if phase > Phase.RUN:
            job.orders.interrupt("The runner was stopping when it got this")  # handed back at once
        self._jobs[key] = job
        with logs.working_for(assignment.request_id):  # who launched the run can find it in the log of its machine
            self._send(job.outbox)
            task = self._running[key] = asyncio.create_task(job.run(), name=f"run {assignment.run_id}")
        task.add_done_callback(lambda task: self._ended(key, task))
        return True

    def lose(self, lost: Held) -> bool:
        """The server says that an attempt is no longer ours; tell whether that is news."""
        outbox = self._outboxes.get(_key(lost))
        if outbox is None or outbox.fenced or outbox.spool.head.lease != lost.lease:
            return False
        if outbox.spool.end is not None:
            return False  # it has read the end before we heard so; if not, its answer to that will say more
        outbox.fence("the server gave it to another")
        return True

    def stop(self, phase: Phase) -> None:
        """Tell the jobs what the phase means for them."""
        for job in self._jobs.values():
            if phase in {Phase.CANCEL, Phase.FORCE}:
                job.orders.cancel(Cancel(by="runner", message=STOPPED))
            elif phase == Phase.INTERRUPT:
                job.orders.interrupt(STOPPED)
            if phase == Phase.FORCE:
                job.orders.force()

    def hurry(self) -> None:
        """The server is back: send and ask now."""
        for outbox in self._outboxes.values():
            outbox.hurry()
        for job in self._jobs.values():
            job.hurry()

    async def all_sent(self) -> None:
        """Return when the server has everything that is here now."""
        for outbox in list(self._outboxes.values()):
            await outbox.delivered.wait()

    async def close(self) -> None:
        """Let go of everything; jobs are left only if the daemon itself broke."""
        for job in self._jobs.values():
            job.orders.interrupt("The runner broke")
            job.orders.force()
        if self._running:
            await asyncio.wait(self._running.values(), timeout=5.0)
        for outbox in list(self._outboxes.values()):
            await outbox.stop()

    def _forget_another(self, held: Held) -> bool:
        """Delete what is kept of a namesake: a restored server counts attempts anew that it does not know we had."""
        before = spool.load(spool.path_of(self._tools.spools, held))
        if before is None:
            return True
        before.release()
        if before.closed is None or before.head.lease == held.lease:
            return False
        log.warning("the server has begun anew what it had begun here before", run=held.run_id, attempt=held.attempt)
        before.path.unlink()
        return True

    def _send_again(self, held: Held, stored: int) -> bool:
        """The server offers what ended here: it lost power, and with it what we had sent."""
        before = spool.load(spool.path_of(self._tools.spools, held))
        if before is None or (before.end or before.closed) is None or before.head.lease != held.lease:
            log.error("the server offers a run that was here before, in another shape", run=held.run_id)
            return False
        if before.end is None:  # it was taken from us, and the server no longer knows
            before.reopen()
            before.settle()
            before.append(EventType.SESSION_INTERRUPTED, msgspec.json.encode({"message": LOST}))
        log.warning("the server lost events of a run that ended here; sending them again", run=held.run_id)
        self._send(Outbox(before, self._tools.client, stored=stored))
        return True

    def _send(self, outbox: Outbox) -> None:
        """Send until the server has all of it; till then the attempt counts as held."""
        key = _key(outbox.spool.held)
        self._outboxes[key] = outbox
        outbox.start(lambda: self._sent(key))

    def _sent(self, key: Key) -> None:
        self._outboxes.pop(key, None)
        self.changed.set()

    def _ended(self, key: Key, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a job broke and has no end; the next start gives it one", run=key[0], error=repr(error))
        self._jobs.pop(key, None)
        self._running.pop(key, None)
        self.changed.set()


def _key(held: Held) -> Key:
    return held.run_id, held.attempt
