"""The runner's one loop: register, poll, take what the answer holds. The poll is the heartbeat: nothing here blocks."""

from __future__ import annotations

import asyncio
import os
import platform
import sys
import time
from collections.abc import Mapping

import corral
from corral.base.backoff import Backoff
from corral.base.errors import CorralError
from corral.base.logs import get_logger
from corral.base.supervisor import Supervisor
from corral.runner import clis, environment, recovery, spool, tree
from corral.runner.client import Client, Refused, Retryable
from corral.runner.commands import Commands
from corral.runner.job import Job, Tools
from corral.runner.journal import Journal
from corral.runner.locks import Locks
from corral.runner.outbox import Outbox
from corral.runner.settings import Settings
from corral.runner.stopping import Phase, Stopping
from corral.runner.workers import COMMANDS, Workers
from corral.wire.runner import Assignment, Cancel, Cli, Held, Poll, PollAnswer, Register, Registered
from corral.wire.runs import Engine

#: What the process before us left is sent before we register, for as long as this once the server answers.
LEFTOVERS_SECONDS = 30.0
#: How long an ending process waits for the server to take the last events, by how it ends.
FLUSH_SECONDS = {Phase.DRAIN: 30.0, Phase.CANCEL: 5.0, Phase.INTERRUPT: 2.0, Phase.FORCE: 1.0}
#: A server that refuses our key or our words after we were registered is asked again so often.
REFUSED_SECONDS = 30.0
NAME_TAKEN_SECONDS = 120.0
#: Interrupted runs that still have processes after so long are killed: 10 s is what our parent gives us.
INTERRUPT_SECONDS = 8.5
AWAY_FLUSH_SECONDS = 2.0
CLIS_EVERY_SECONDS = 300.0

Key = tuple[str, int]

log = get_logger()


class NotWelcomeError(CorralError):
    """The server does not take this runner."""


class Daemon:
    """One runner process: a session at the server, the jobs it holds, and what of them is still to be sent."""

    def __init__(
        self,
        settings: Settings,
        uid: str,
        *,
        env: Mapping[str, str] | None = None,
        commands: Mapping[Engine, tuple[str, ...]] = COMMANDS,
    ) -> None:
        """Take the settings and the identity; `commands` are how workers are started."""
        self._settings = settings
        self._uid = uid
        self._env = environment.scrub(os.environ if env is None else env, settings.pass_env)
        self._spools = settings.data / "spool"
        self._client = Client(settings.url, settings.api_key, connections=settings.max_pods * 2 + 8)
        self._journal = Journal(settings.data / "journal.jsonl")
        self._workers = Workers(self._env, self._journal, commands)
        self._tools = Tools(
            settings.name, settings.allowed_dirs, self._spools, self._client, self._journal, Locks(), self._workers
        )
        self._commands = Commands(self._client, self._journal, lambda: self._session, self._find_job)
        self.stopping = Stopping()
        self._session = Registered(0, "")
        self._poll_no = 0
        self._poll_again = asyncio.Event()
        self._is_away = False
        self._jobs: dict[Key, Job] = {}
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._outboxes: dict[Key, Outbox] = {}
        self._leftovers: set[Key] = set()  # of the outboxes: attempts of the process before us
        self._clis: list[Cli] = []
        self._is_stale = False  # what we registered is no longer true
        self._strays = tree.Strays()

    async def run(self) -> None:
        """Serve until told to stop. NotWelcomeError: the server takes neither this key nor this runner."""
        self.stopping.listen(self._settings.control_fd)
        tree.adopt_orphans()
        supervisor = Supervisor()
        supervisor.add("prune spools", self._prune, every=3600)
        supervisor.add("end strays", self._end_strays, every=10)
        supervisor.add("look for CLIs", self._look_for_clis, every=CLIS_EVERY_SECONDS)
        try:
            await self._recover()
            serving = asyncio.create_task(self._serve(), name="serve")
            stopping = asyncio.create_task(self._until_stopped(), name="stopping")
            supervisor.start()
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            for task in (serving, stopping):
                task.cancel()
            for result in await asyncio.gather(serving, stopping, return_exceptions=True):
                if isinstance(result, Exception):
                    raise result
        finally:
            await supervisor.stop(1.0)
            await self._close()

    # -- start --------------------------------------------------------------------------------------------------------

    async def _recover(self) -> None:
        left, self._clis = await asyncio.gather(recovery.recover(self._spools, self._journal), clis.detect(self._env))
        for one in left:
            self._leftovers.add(_key(one.held))
            self._send(Outbox(one, self._client))

    async def _serve(self) -> None:
        await self._until_up()
        # The server may give a run to us again as soon as we register; what we know of its end comes first.
        await self._flush(LEFTOVERS_SECONDS)
        await self._register(at_start=True)
        self._commands.recover()
        await self._keep_polling()

    async def _until_up(self) -> None:
        backoff = Backoff(first=0.1, most=10.0)
        while True:
            try:
                await self._client.is_up()
                break
            except Retryable as error:
                self._note_away(error)
                await asyncio.sleep(max(backoff.next(), error.after))
            except Refused as refusal:
                raise NotWelcomeError(
                    f"{self._settings.url} does not look like a Corral server ({refusal.message}); check CORRAL_URL"
                ) from refusal
        self._note_back()

    async def _register(self, *, at_start: bool) -> None:
        backoff, begun = Backoff(), time.monotonic()
        while True:
            try:
                self._session = await self._client.register(self._who_we_are())
                break
            except Retryable as error:
                self._note_away(error)
                await asyncio.sleep(max(backoff.next(), error.after))
            except Refused as refusal:
                patient = refusal.status == 409 and time.monotonic() - begun < NAME_TAKEN_SECONDS
                if at_start and not patient:
                    raise NotWelcomeError(_why_not(refusal, self._settings)) from refusal
                log.warning("the server does not register us; trying again", why=refusal.message)
                await asyncio.sleep(max(backoff.next(), 5.0 if patient else REFUSED_SECONDS))
        self._poll_no, self._is_stale = 0, False
        self._note_back()
        log.info(
            "registered",
            server=self._settings.url,
            runner=self._session.id,
            name=self._settings.name,
            allowed_dirs=list(self._settings.allowed_dirs),
            clis=[f"{cli.engine} {cli.version}{'' if cli.signed_in else ' (not signed in)'}" for cli in self._clis],
        )

    def _who_we_are(self) -> Register:
        return Register(
            uid=self._uid,
            name=self._settings.name,
            os=_os(),
            arch=_arch(),
            version=corral.__version__,
            allowed_dirs=list(self._settings.allowed_dirs),
            labels=list(self._settings.labels),
            max_pods=self._settings.max_pods,
            clis=self._clis,
        )

    # -- poll ---------------------------------------------------------------------------------------------------------

    async def _keep_polling(self) -> None:
        backoff = Backoff(first=0.2, most=10.0)
        while True:
            try:
                if self._is_stale:
                    await self._register(at_start=False)
                asked = time.monotonic()
                answer = await self._poll()
                if answer is None:
                    continue
                backoff.reset()
                self._note_back()
                is_news = self._take(answer)
                await self._commands.told(within=0.5)
                if not is_news and time.monotonic() - asked < 0.1:
                    await asyncio.sleep(0.25)  # a server that answers nothing at once is not asked in a hot loop
            except Retryable as error:
                self._note_away(error)
                await asyncio.sleep(max(backoff.next(), error.after))
            except Refused as refusal:
                await self._after_refusal(refusal)

    async def _poll(self) -> PollAnswer | None:
        """Ask once; None when there is something newer to say before the answer came."""
        self._poll_again.clear()
        self._poll_no += 1
        poll = Poll(
            self._session.session,
            self._poll_no,
            self._free_slots(),
            held=self._held(),
            wait_seconds=self._session.wait_seconds,
            draining=self.stopping.phase > Phase.RUN,
        )
        asking = asyncio.create_task(self._client.poll(self._session.id, poll))
        newer = asyncio.create_task(self._poll_again.wait())
        try:
            await asyncio.wait({asking, newer}, return_when=asyncio.FIRST_COMPLETED)
            return await asking if asking.done() else None
        finally:
            for task in (asking, newer):
                task.cancel()
            await asyncio.gather(asking, newer, return_exceptions=True)

    async def _after_refusal(self, refusal: Refused) -> None:
        if refusal.status in {404, 409}:
            log.warning("the server does not know this session; registering anew", why=refusal.message)
            await asyncio.sleep(Backoff(first=0.5).next())
            await self._register(at_start=False)
            return
        log.error("the server refuses our poll; the runs here go on", why=refusal.message, status=refusal.status)
        await asyncio.sleep(REFUSED_SECONDS)

    def _free_slots(self) -> int:
        return max(0, self._settings.max_pods - len(self._jobs)) if self.stopping.phase == Phase.RUN else 0

    def _held(self) -> list[Held]:
        return [outbox.spool.held for key, outbox in self._outboxes.items() if key not in self._leftovers]

    # -- take what an answer holds ------------------------------------------------------------------------------------

    def _take(self, answer: PollAnswer) -> bool:
        """Act on an answer; tell whether there was anything new in it."""
        news = [self._take_assignment(assignment) for assignment in answer.assignments]
        news += [self._commands.take(command) for command in answer.commands]
        news += [self._take_loss(lost) for lost in answer.lost]
        return any(news)

    def _take_assignment(self, assignment: Assignment) -> bool:
        held = Held(assignment.run_id, assignment.attempt, assignment.lease)
        key = _key(held)
        if key in self._outboxes:
            return False
        if self.stopping.phase == Phase.RUN and len(self._jobs) >= self._settings.max_pods:
            log.warning("no free slot for a run; the server will offer it again", run=assignment.run_id)
            return False
        try:
            job = Job(assignment, self._tools)
        except FileExistsError:
            return self._send_again(held, assignment.stored_n)
        if self.stopping.phase > Phase.RUN:
            job.interrupt("The runner was stopping when it got this")  # handed back at once
        self._jobs[key] = job
        self._send(job.outbox)
        task = self._running[key] = asyncio.create_task(job.run(), name=f"run {assignment.run_id}")
        task.add_done_callback(lambda _: self._job_ended(key))
        return True

    def _send_again(self, held: Held, stored: int) -> bool:
        """The server offers what ended here: it lost power, and with it what we had sent."""
        before = spool.load(spool.path_of(self._spools, held))
        if before is None or before.end is None or before.head.lease != held.lease:
            log.error("the server offers a run that was here before, in another shape", run=held.run_id)
            return False
        log.warning("the server lost events of a run that ended here; sending them again", run=held.run_id)
        self._send(Outbox(before, self._client, stored=stored))
        return True

    def _take_loss(self, lost: Held) -> bool:
        outbox = self._outboxes.get(_key(lost))
        if outbox is None or outbox.fenced or outbox.spool.head.lease != lost.lease:
            return False
        outbox.fence("the server gave it to another")
        return True

    def _job_ended(self, key: Key) -> None:
        had_no_slot = self._free_slots() == 0
        self._jobs.pop(key, None)
        self._running.pop(key, None)
        if had_no_slot or self.stopping.phase > Phase.RUN:
            self._poll_again.set()

    def _find_job(self, run_id: str, attempt: int) -> Job | None:
        return self._jobs.get((run_id, attempt))

    def _send(self, outbox: Outbox) -> None:
        """Send until the server has all of it; till then the attempt counts as held."""
        key = _key(outbox.spool.held)
        self._outboxes[key] = outbox
        outbox.start(lambda: self._sent(key))

    def _sent(self, key: Key) -> None:
        self._outboxes.pop(key, None)
        self._leftovers.discard(key)

    # -- come and go --------------------------------------------------------------------------------------------------

    def _note_away(self, error: Retryable) -> None:
        if not self._is_away:
            self._is_away = True
            log.warning("the server is away; trying again", why=error.message)

    def _note_back(self) -> None:
        if self._is_away:
            self._is_away = False
            log.info("the server is back")
            self._commands.hurry()
            for outbox in self._outboxes.values():
                outbox.hurry()

    # -- stop ---------------------------------------------------------------------------------------------------------

    async def _until_stopped(self) -> None:
        """Return when nothing runs here any more, after having been told to stop."""
        changed = asyncio.create_task(self.stopping.changed.wait())
        try:
            while self.stopping.phase == Phase.RUN or self._running:
                is_brief = self.stopping.phase == Phase.INTERRUPT
                await asyncio.wait(
                    {changed, *self._running.values()},
                    timeout=INTERRUPT_SECONDS if is_brief else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if changed.done():
                    self.stopping.changed.clear()
                    changed = asyncio.create_task(self.stopping.changed.wait())
                    self._end_jobs()
                elif is_brief and self._running:
                    self.stopping.advance(Phase.FORCE)
        finally:
            changed.cancel()
        await self._flush(FLUSH_SECONDS[self.stopping.phase])

    def _end_jobs(self) -> None:
        """Tell the jobs what the phase means for them, and the server that we take no more."""
        self._poll_again.set()
        for job in self._jobs.values():
            if self.stopping.phase in {Phase.CANCEL, Phase.FORCE}:
                job.cancel(Cancel(by="runner", message="The runner was stopped"))
            elif self.stopping.phase == Phase.INTERRUPT:
                job.interrupt("The runner was stopped")
            if self.stopping.phase == Phase.FORCE:
                job.force()

    async def _flush(self, seconds: float) -> None:
        """Wait until the server has everything, for `seconds` at most; what is left stays in the spool."""
        seconds = min(seconds, AWAY_FLUSH_SECONDS) if self._is_away else seconds
        sent = asyncio.create_task(self._all_sent())
        changed = asyncio.create_task(self.stopping.changed.wait())  # who stops us again waits no longer
        await asyncio.wait({sent, changed}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in (sent, changed):
            task.cancel()
        await asyncio.gather(sent, changed, return_exceptions=True)

    async def _all_sent(self) -> None:
        for outbox in list(self._outboxes.values()):
            await outbox.delivered.wait()

    async def _close(self) -> None:
        for job in self._jobs.values():  # only if the daemon itself broke: nothing is left running behind it
            job.interrupt("The runner broke")
            job.force()
        if self._running:
            await asyncio.wait(self._running.values(), timeout=5.0)
        await self._workers.close()
        await self._commands.stop()
        for outbox in list(self._outboxes.values()):
            await outbox.stop()
        await self._client.close()
        self._journal.close()
        if self._outboxes:
            log.warning("not everything could be sent; the next start does", runs=len(self._outboxes))

    # -- loops beside the poll ----------------------------------------------------------------------------------------

    async def _prune(self, now: float) -> None:
        await asyncio.to_thread(spool.prune, self._spools, now)

    async def _end_strays(self, now: float) -> None:
        known = {pid for job in self._jobs.values() if (pid := job.worker_pid)} | self._workers.pids()
        await self._strays.run_once(known)

    async def _look_for_clis(self, now: float) -> None:
        found = await clis.detect(self._env)
        if found == self._clis or not self._session.id or self._outboxes or self.stopping.phase > Phase.RUN:
            return  # a session that holds runs is not exchanged for news that can wait
        log.info("the CLIs on this machine have changed")
        self._clis = found
        self._is_stale = True
        self._poll_again.set()


def _key(held: Held) -> Key:
    return held.run_id, held.attempt


def _why_not(refusal: Refused, settings: Settings) -> str:
    match refusal.status:
        case 401:
            return f"{settings.url} does not know this CORRAL_API_KEY; make one with `corral keys create`"
        case 403:
            return f"This CORRAL_API_KEY may not register runners: {refusal.message}"
        case 409:
            return f"{refusal.message} Set RUNNER_NAME to a name that no other runner has"
        case _:
            return f"{settings.url} does not take this runner: {refusal.message}"


def _os() -> str:
    return {"win32": "windows"}.get(sys.platform, sys.platform)


def _arch() -> str:
    machine = platform.machine().lower()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
