"""One runner process: recover, register, poll, take what the answers hold, and stop as it is told.

The poll is the heartbeat, so nothing in this process blocks: slow file systems and processes are asked in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Mapping
from typing import ParamSpec

from corral.base.backoff import Backoff
from corral.base.logs import conceal, get_logger
from corral.base.supervisor import Supervisor
from corral.runner import clis, environment, mcp_test, recovery, spool, tree
from corral.runner.client import Client, Refused, Retryable
from corral.runner.commands import Commands
from corral.runner.holdings import Holdings
from corral.runner.job import Tools
from corral.runner.journal import Journal
from corral.runner.locks import Locks
from corral.runner.session import REFUSED_SECONDS, Session
from corral.runner.settings import Settings
from corral.runner.stopping import Phase, Stopping
from corral.runner.transcripts import Transcripts
from corral.runner.workers import COMMANDS, Workers
from corral.wire.runner import Cli, CommandStatus, Forget, McpTest, McpTested, Poll, PollAnswer
from corral.wire.runs import Engine

#: What the process before us left is sent before we register, for so long once the server answers.
LEFTOVERS_SECONDS = 30.0
#: How long an ending process waits for the server to take the last events, by how it ends.
FLUSH_SECONDS = {Phase.DRAIN: 30.0, Phase.CANCEL: 5.0, Phase.INTERRUPT: 2.0, Phase.FORCE: 1.0}
AWAY_FLUSH_SECONDS = 2.0
#: Interrupted runs that still have processes after so long are killed: 10 s is what our parent gives us.
INTERRUPT_SECONDS = 8.5
CLIS_EVERY_SECONDS = 300.0
#: How long what is left of a deleted run may take to end.
FORGET_SECONDS = 120.0
#: An answer that came at once and held nothing new: the next question waits so long, or until something has changed.
NOTHING_NEW_SECONDS = 0.25

P = ParamSpec("P")

log = get_logger()


class Daemon:
    """The parts of a runner, and the order in which they come and go."""

    def __init__(
        self,
        settings: Settings,
        uid: str,
        *,
        env: Mapping[str, str] | None = None,
        commands: Mapping[Engine, tuple[str, ...]] = COMMANDS,
    ) -> None:
        """Take the settings and the identity; `commands` are how workers are started."""
        self.stopping = Stopping()
        self._settings = settings
        self._env = environment.scrub(os.environ if env is None else env, settings.pass_env)
        self._secrets = [("CORRAL_API_KEY", settings.api_key), *environment.credentials(self._env)]
        conceal(self._secrets)
        self._spools = settings.data / "spool"
        self._private = settings.data / "private"
        self._client = Client(settings.url, settings.api_key, connections=settings.max_pods * 2 + 8)
        self._transcripts = Transcripts(settings.data / "sessions")
        self._locks = Locks()
        self._journal = Journal(settings.data / "journal.jsonl")
        self._workers = Workers(self._env, self._journal, commands)
        self._holdings = Holdings(self._tools(), settings.max_pods)
        self._session = Session(settings, uid, self._client, self._server_is_back)
        self._commands = Commands(
            self._client,
            self._journal,
            lambda: self._session.given,
            self._holdings.find,
            test=self._test,
            forget=self._forget,
            secrets=self._secrets,
        )
        self._tested: set[int] = set()  #: MCP servers that are started for a test
        self._strays = tree.Strays()
        self._clis: list[Cli] = []
        self._has_new_clis = False
        self._poll_no = 0
        self._poll_again = asyncio.Event()

    async def run(self) -> None:
        """Serve until told to stop. NotWelcomeError: the server takes neither this key nor this runner."""
        self.stopping.listen(self._settings.control_fd)
        tree.adopt_orphans()
        supervisor = Supervisor()
        supervisor.add("prune spools", self._prune, every=3600)
        supervisor.add("end strays", self._end_strays, every=10)
        supervisor.add("look for CLIs", self._look_for_clis, every=CLIS_EVERY_SECONDS, after=CLIS_EVERY_SECONDS)
        try:
            await self._recover()
            supervisor.start()
            await self._until_stopped(asyncio.create_task(self._serve(), name="serve"))
        finally:
            await supervisor.stop(1.0)
            await self._close()

    # -- start --------------------------------------------------------------------------------------------------------

    async def _recover(self) -> None:
        recovering = recovery.recover(self._spools, self._private, self._journal)
        left, self._clis = await asyncio.gather(recovering, clis.detect(self._env))
        for one in left:
            self._holdings.adopt(one)

    async def _serve(self) -> None:
        await self._session.wait_for_server()
        # The server gives a run to us again as soon as it knows this process; what we know of its end comes first.
        await self._flush(LEFTOVERS_SECONDS)
        await self._session.begin(self._clis)
        self._commands.recover()
        await self._keep_polling()

    # -- poll ---------------------------------------------------------------------------------------------------------

    async def _keep_polling(self) -> None:
        backoff = Backoff(first=0.2, most=10.0)
        while True:
            try:
                if self._has_new_clis:
                    self._has_new_clis = False
                    await self._session.begin(self._clis)
                asked = time.monotonic()
                answer = await self._poll()
                backoff.reset()
                if answer is not None:
                    await self._take(answer, asked)
            except Retryable as error:
                self._session.note_away(error)
                await asyncio.sleep(max(backoff.next(), error.after))
            except Refused as refusal:
                if refusal.status in {404, 409}:
                    await self._session.begin_again(self._clis, refusal)
                else:
                    log.error("the server refuses our poll; the runs here go on", **refusal.told)  # noqa: TRY400
                    await asyncio.sleep(REFUSED_SECONDS)

    async def _poll(self) -> PollAnswer | None:
        """Ask once; None when there is something newer to say before the answer came."""
        self._poll_again.clear()
        self._holdings.changed.clear()
        self._poll_no += 1
        is_stopping = self.stopping.phase > Phase.RUN
        session = self._session.given
        poll = Poll(
            session.session,
            self._poll_no,
            0 if is_stopping else self._holdings.free_slots,
            held=self._holdings.held(),
            wait_seconds=session.wait_seconds,
            draining=is_stopping,
        )
        asking = asyncio.create_task(self._client.poll(session.id, poll))
        newer = asyncio.create_task(self._something_newer(poll))
        try:
            await asyncio.wait({asking, newer}, return_when=asyncio.FIRST_COMPLETED)
            return await asking if asking.done() else None
        finally:
            for task in (asking, newer):
                task.cancel()
            await asyncio.gather(asking, newer, return_exceptions=True)

    async def _something_newer(self, poll: Poll) -> None:
        """Return when the poll under way no longer says what is worth waiting with."""
        while not self._poll_again.is_set() and self._is_worth_waiting(poll):
            await self._next_change()

    def _is_worth_waiting(self, poll: Poll) -> bool:
        """Tell whether the poll still says what is so: a slot where it had none is news, and so is one fewer."""
        free = self._holdings.free_slots
        return poll.draining or free == poll.free_slots or free > poll.free_slots > 0

    async def _take(self, answer: PollAnswer, asked: float) -> None:
        """Act on what is new, and see to it that what is not is not asked for in a hot loop."""
        self._session.note_back()
        phase = self.stopping.phase
        news = [_try(self._holdings.take, assignment, phase) for assignment in answer.assignments]
        news += [_try(self._commands.take, command) for command in answer.commands]
        news += [_try(self._holdings.lose, lost) for lost in answer.lost]
        await self._commands.told(within=0.5)
        if not any(news) and time.monotonic() - asked < 0.1:
            with contextlib.suppress(TimeoutError):
                # Not wait_for: before Python 3.12 it swallows a cancellation that comes together with the change.
                async with asyncio.timeout(NOTHING_NEW_SECONDS):
                    await self._next_change()

    async def _next_change(self) -> None:
        again = asyncio.create_task(self._poll_again.wait())
        changed = asyncio.create_task(self._holdings.changed.wait())
        try:
            await asyncio.wait({again, changed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            again.cancel()
            changed.cancel()
        self._holdings.changed.clear()

    # -- stop ---------------------------------------------------------------------------------------------------------

    async def _until_stopped(self, serving: asyncio.Task[None]) -> None:
        """Return when nothing runs here any more, after having been told to stop; raise what ended `serving`."""
        changed = asyncio.create_task(self.stopping.changed.wait())
        deadline: float | None = None
        try:
            while self.stopping.phase == Phase.RUN or any(True for _ in self._holdings.running):
                done, _ = await asyncio.wait(
                    {changed, serving, *self._holdings.running},
                    timeout=None if deadline is None else max(0.0, deadline - time.monotonic()),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if serving in done:
                    serving.result()
                if changed in done:
                    self.stopping.changed.clear()
                    changed = asyncio.create_task(self.stopping.changed.wait())
                    is_brief = self.stopping.phase == Phase.INTERRUPT
                    deadline = time.monotonic() + INTERRUPT_SECONDS if is_brief else None
                    self._holdings.stop(self.stopping.phase)
                    self._poll_again.set()
                elif deadline is not None and not done:
                    self.stopping.advance(Phase.FORCE)
            await self._flush(FLUSH_SECONDS[self.stopping.phase])
        finally:
            changed.cancel()
            while not serving.done():  # a library may swallow a cancellation; it does not get to keep us here
                serving.cancel()
                await asyncio.wait({serving}, timeout=1.0)
            await asyncio.gather(changed, serving, return_exceptions=True)

    async def _flush(self, seconds: float) -> None:
        """Wait until the server has everything, for `seconds` at most; what is left stays in the spool."""
        sent = asyncio.create_task(self._holdings.all_sent())
        changed = asyncio.create_task(self.stopping.changed.wait())  # who stops us again waits no longer
        if self._session.is_away:
            seconds = min(seconds, AWAY_FLUSH_SECONDS)
        await asyncio.wait({sent, changed}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in (sent, changed):
            task.cancel()
        await asyncio.gather(sent, changed, return_exceptions=True)

    async def _close(self) -> None:
        await self._holdings.close()
        await self._workers.close()
        await self._commands.stop()
        await self._client.close()
        self._journal.close()
        if self._holdings.unsent:
            log.warning("not everything could be sent; the next start sends it", runs=self._holdings.unsent)

    # -- beside the poll ----------------------------------------------------------------------------------------------

    async def _prune(self, now: float) -> None:
        await asyncio.to_thread(spool.prune, self._spools, now)

    async def _end_strays(self, now: float) -> None:
        await self._strays.run_once(self._holdings.worker_pids() | self._workers.pids() | self._tested)

    async def _look_for_clis(self, now: float) -> None:
        found = await clis.detect(self._env)
        # A session that holds runs is not exchanged for news that can wait.
        if found != self._clis and self._session.given.session and not self._holdings.unsent:
            log.info("the CLIs on this machine have changed")
            self._clis, self._has_new_clis = found, True
            self._poll_again.set()

    async def _test(self, command_id: str, wanted: McpTest) -> McpTested:
        """Start an MCP server where runs work, with what their processes see."""
        return await mcp_test.run(
            wanted.server,
            f"mcp-test-{command_id}",
            env=self._env,
            cwd=self._settings.allowed_dirs[0],
            seconds=min(wanted.seconds, 60.0),
            children=self._tested,
        )

    async def _forget(self, wanted: Forget) -> tuple[CommandStatus, str]:
        """Delete what is kept of a run, once nothing of it is alive any more."""
        owner = object()
        if not await self._locks.hold(owner, [f"run {wanted.run_id}"], FORGET_SECONDS):
            return CommandStatus.FAILED, "The run's processes do not end"
        try:
            gone = await asyncio.to_thread(self._transcripts.forget, wanted.run_id, wanted.heirs)
            await asyncio.to_thread(spool.forget, self._spools, wanted.run_id)
        finally:
            await self._locks.release(owner)
        return CommandStatus.DONE, f"{gone} transcripts deleted"

    def _server_is_back(self) -> None:
        self._commands.hurry()
        self._holdings.hurry()

    def _tools(self) -> Tools:
        return Tools(
            self._settings.name,
            self._settings.allowed_dirs,
            self._spools,
            self._private,
            self._client,
            self._secrets,
            self._env,
            self._transcripts,
            self._journal,
            self._locks,
            self._workers,
        )


def _try(take: Callable[P, bool], *args: P.args, **kwargs: P.kwargs) -> bool:
    """Take one thing of an answer. If that fails, the heartbeat goes on, and the server offers the thing again."""
    try:
        return take(*args, **kwargs)
    except Exception as error:
        log.exception("could not take what the server gave", error=repr(error))
        return False
