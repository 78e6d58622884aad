"""What the server asks about a run that is here: carried out at most once, its result told until it is heard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import msgspec

from corral.base.backoff import Backoff
from corral.base.logs import conceal, get_logger
from corral.runner.client import Client, Refused, Retryable
from corral.runner.failure import Failure
from corral.runner.gate import Gate
from corral.runner.job import Job
from corral.runner.journal import Journal
from corral.wire.runner import (
    Approve,
    Cancel,
    Command,
    CommandKind,
    CommandResult,
    CommandStatus,
    Forget,
    Fund,
    McpTest,
    McpTested,
    Message,
    Pause,
    Registered,
)

FindJob = Callable[[str, int], Job | None]
#: Tests the MCP server of the command of this id.
TestServer = Callable[[str, McpTest], Awaitable[McpTested]]
#: Deletes what is kept of a run, and says what came of it.
ForgetRun = Callable[[Forget], Awaitable[tuple[CommandStatus, str]]]

log = get_logger()


class Commands:
    """The commands this runner was given. The journal keeps each from being carried out twice, also over a crash."""

    def __init__(
        self,
        client: Client,
        journal: Journal,
        session: Callable[[], Registered],
        find_job: FindJob,
        *,
        test: TestServer,
        forget: ForgetRun,
        secrets: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Take where results go, in which session, how to find the job a command is about, and who does the others.

        `secrets` are the runner's own, which an MCP server that is tested may print.
        """
        self._test = test
        self._forget = forget
        self._secrets = secrets
        self._doing: dict[str, asyncio.Task[None]] = {}
        self._client = client
        self._journal = journal
        self._session = session
        self._find_job = find_job
        self._telling: dict[str, asyncio.Task[None]] = {}
        self._hurry = asyncio.Event()

    def recover(self) -> None:
        """Answer for the predecessor: what it had begun and not done was interrupted. Call once there is a session."""
        state = self._journal.state
        for command_id in list(state.begun):
            if command_id not in state.done:
                self._journal.done(command_id, CommandStatus.INTERRUPTED, "The runner was stopped while it did this")
            if command_id not in state.told:
                self._tell(command_id)

    def take(self, command: Command) -> bool:
        """Carry a command out, unless that was begun before; tell whether it is new."""
        if command.id in self._doing or command.id in self._telling:
            return False
        if command.id in self._journal.state.begun:  # the server lost it, or refused it for an old session
            self._tell(command.id)
            return False
        if command.kind == CommandKind.FORGET:  # who is stopped meanwhile does it again
            self._do(command, self._keep_forgetting(command))
            return True
        self._journal.begun(command.id)
        if command.kind == CommandKind.MCP_TEST:
            self._do(command, self._keep_testing(command))
            return True
        self._settle(command, *self._carry_out(command))
        return True

    async def told(self, within: float) -> None:
        """Wait up to `within` seconds until the server has heard every result: it offers a command until then."""
        if self._telling:
            await asyncio.wait(self._telling.values(), timeout=within)

    def hurry(self) -> None:
        """The server is back: do not wait for the next try."""
        self._hurry.set()

    async def stop(self) -> None:
        """Stop telling; the next start goes on with it."""
        telling = [*self._doing.values(), *self._telling.values()]
        for task in telling:
            task.cancel()
        await asyncio.gather(*telling, return_exceptions=True)

    def _do(self, command: Command, doing: Coroutine[Any, Any, None]) -> None:
        """Do what takes its time; the poll goes on meanwhile."""
        task = self._doing[command.id] = asyncio.create_task(doing, name=f"{command.kind} {command.id}")
        task.add_done_callback(lambda _: self._doing.pop(command.id, None))

    async def _keep_forgetting(self, command: Command) -> None:
        try:
            status, message = await self._forget(msgspec.json.decode(command.payload, type=Forget))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            status, message = CommandStatus.FAILED, f"The command's payload is not valid: {error}"
        except OSError as error:
            status, message = CommandStatus.FAILED, f"Not all of it could be deleted: {error}"
        self._journal.begun(command.id)
        self._settle(command, status, message)

    def _settle(self, command: Command, status: CommandStatus, message: str) -> None:
        self._journal.done(command.id, status, message)
        log.info("command", kind=command.kind, run=command.run_id, status=status, message=message[:200])
        self._tell(command.id)

    async def _keep_testing(self, command: Command) -> None:
        gate = Gate()
        try:
            wanted = msgspec.json.decode(command.payload, type=McpTest)
            secrets = [*self._secrets, *wanted.server.secrets]
            conceal(secrets)
            gate = Gate(secrets)
            tested = await self._test(command.id, wanted)
            status, message = CommandStatus.DONE, gate.json(msgspec.json.encode(tested)).decode()
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            status, message = CommandStatus.FAILED, f"The command's payload is not valid: {error}"
        except Exception as error:
            log.exception("a test of an MCP server failed", error=repr(error))
            status, message = CommandStatus.FAILED, gate.text(f"The runner made a mistake: {error!r}")
        self._settle(command, status, message)

    def _carry_out(self, command: Command) -> tuple[CommandStatus, str]:
        if command.kind not in set(CommandKind):
            return CommandStatus.UNSUPPORTED, f"This runner does not know {command.kind!r}; a newer one may"
        job = self._find_job(command.run_id, command.attempt)
        if job is None:
            return CommandStatus.FAILED, "This attempt is not on this runner any more"
        try:
            _hand_over(job, CommandKind(command.kind), command.payload)
        except Failure as failure:
            return CommandStatus.FAILED, job.gate.text(failure.message)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return CommandStatus.FAILED, job.gate.text(f"The command's payload is not valid: {error}")
        return CommandStatus.DONE, ""

    def _tell(self, command_id: str) -> None:
        task = asyncio.create_task(self._keep_telling(command_id), name=f"result of {command_id}")
        self._telling[command_id] = task
        task.add_done_callback(lambda _: self._telling.pop(command_id, None))

    async def _keep_telling(self, command_id: str) -> None:
        done, backoff = self._journal.state.done[command_id], Backoff()
        while True:
            session = self._session()
            try:
                await self._client.finish(
                    session.id, command_id, CommandResult(session.session, done.status, done.message)
                )
                break
            except Retryable as error:
                await self._pause(max(backoff.next(), error.after))
            except Refused as refusal:
                if not refusal.is_about_the_key:
                    log.warning("the server does not want a command's result", command=command_id, **refusal.told)
                    break
                await self._pause(30.0)
        self._journal.told(command_id)

    async def _pause(self, seconds: float) -> None:
        self._hurry.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        except TimeoutError:
            return


def _hand_over(job: Job, kind: CommandKind, payload: msgspec.Raw) -> None:
    match kind:
        case CommandKind.APPROVE:
            job.approve(msgspec.json.decode(payload, type=Approve))
        case CommandKind.MESSAGE:
            job.say(msgspec.json.decode(payload, type=Message))
        case CommandKind.CANCEL:
            job.orders.cancel(msgspec.json.decode(payload, type=Cancel))
        case CommandKind.FUND:
            job.fund(msgspec.json.decode(payload, type=Fund))
        case CommandKind.PAUSE:
            job.orders.pause(msgspec.json.decode(payload, type=Pause))
