"""One more runner, inside the server: it registers, polls and takes attempts like any other, only without HTTP."""

from __future__ import annotations

import asyncio
import platform
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, ExitStack

import msgspec

import corral
from corral import bus
from corral.base.backoff import Backoff
from corral.base.errors import Conflict, NotFound, Unavailable
from corral.base.logs import get_logger
from corral.mcp import client, uses
from corral.mcp.pool import Pool, User
from corral.mcp.uses import Seen
from corral.platform import database
from corral.platform.settings import Settings
from corral.providers.attempt import Attempt, Means
from corral.providers.clients import Clients
from corral.providers.identity import identity
from corral.providers.toolset import Connect, Connection, Toolset
from corral.runs import outcomes, poll, runners, waiting
from corral.runs.hints import SUPPLIES
from corral.runs.placements import PLATFORM
from corral.wire.agents import McpServer
from corral.wire.runner import (
    Approve,
    Assignment,
    Cancel,
    Cli,
    Command,
    CommandKind,
    CommandStatus,
    Fund,
    Message,
    Pause,
    Poll,
    PollAnswer,
    Register,
    Registered,
)
from corral.wire.runs import Engine as EngineName

#: Attempts at once. They wait for the network most of the time; those that wait for people don't count.
MAX_PODS = 64
#: A command that is under way is offered again at each poll.
_PAUSE = 0.2

log = get_logger()


class Engine:
    """The provider engine of one server process."""

    def __init__(
        self,
        settings: Settings,
        toolset: Toolset,
        *,
        connect: Connect | None = None,
        max_pods: int = MAX_PODS,
    ) -> None:
        """Take Corral's own tools, and how MCP servers are reached."""
        self._data = settings.data
        self._max_pods = max_pods
        self._clients = Clients(settings)
        self._pool = Pool()
        self._toolset, self._connect = toolset, connect or self._reach
        self._holding = ExitStack()
        self._uid = ""
        self._given = Registered(0, "")
        self._polls = 0
        self._attempts: dict[tuple[str, int, str], Attempt] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._commands: set[str] = set()  #: under way
        self._again = asyncio.Event()  #: what the server would hear has changed
        self._serving: asyncio.Task[None] | None = None
        self._deaf: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Begin to take runs."""
        self._uid = self._holding.enter_context(identity(self._data))
        self._deaf = bus.current().listen(SUPPLIES, lambda org_id: self._pool.change(int(org_id)))
        self._serving = asyncio.create_task(self._serve(), name="provider engine")

    async def stop(self, grace: float = 2.0) -> None:
        """Take no more; what is under way ends so that another process goes on with it at once."""
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
        for attempt in self._attempts.values():
            attempt.interrupt()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._deaf()
        await self._pool.close()
        await self._clients.close()
        self._holding.close()

    # The poll

    async def _serve(self) -> None:
        backoff = Backoff(most=5.0)
        while True:
            try:
                if not self._given.session:
                    self._given, self._polls = await runners.register(PLATFORM, self._introduction()), 0
                answer = await self._poll()
                backoff.reset()
            except (NotFound, Conflict) as error:
                log.warning("the engine registers anew", why=error.message)
                self._given = Registered(0, "")
                await asyncio.sleep(backoff.next())
            except Unavailable as error:
                log.warning("the database is away", error=error.message)
                await asyncio.sleep(backoff.next())
            except Exception:
                log.exception("the engine's poll failed")
                await asyncio.sleep(backoff.next())
            else:
                if not self._take(answer) or waiting.waiting_room().stopping:  # which sends every poll home at once
                    await asyncio.sleep(_PAUSE)

    async def _poll(self) -> PollAnswer:
        """Poll; begin anew as soon as there is something else to tell."""
        self._again.clear()
        self._polls += 1
        busy = sum(not attempt.is_waiting for attempt in self._attempts.values())
        body = Poll(
            self._given.session,
            self._polls,
            max(0, self._max_pods - busy),
            [attempt.held for attempt in self._attempts.values()],
        )
        polling = asyncio.create_task(poll.poll(PLATFORM, self._uid, body))
        again = asyncio.create_task(self._again.wait())
        try:
            await asyncio.wait({polling, again}, return_when=asyncio.FIRST_COMPLETED)
            if not polling.done():
                return PollAnswer(void=True)  # the next one sends it home
            return polling.result()
        finally:
            again.cancel()
            polling.cancel()
            await asyncio.gather(again, polling, return_exceptions=True)

    def _take(self, answer: PollAnswer) -> bool:
        """Do what the poll told; False if there was nothing but what is under way already."""
        news = [command for command in answer.commands if command.id not in self._commands]
        for lost in answer.lost:
            if attempt := self._attempts.get((lost.run_id, lost.attempt, lost.lease)):
                attempt.lose()
        for assignment in answer.assignments:
            self._begin(assignment)
        for command in news:
            self._commands.add(command.id)
            self._keep(asyncio.create_task(self._carry_out(command)))
        return bool(news or not answer.commands)

    def _begin(self, assignment: Assignment) -> None:
        key = (assignment.run_id, assignment.attempt, assignment.lease)
        if key in self._attempts:
            return
        means = Means(self._toolset, self._connect, self._clients)
        self._attempts[key] = attempt = Attempt(assignment, means, self._again.set)

        async def run() -> None:
            try:
                await attempt.run()
            finally:
                self._attempts.pop(key, None)
                self._again.set()

        self._keep(asyncio.create_task(run(), name=f"attempt {assignment.run_id}/{assignment.attempt}"))

    # MCP servers

    def _reach(self, server: McpServer, user: User) -> AbstractAsyncContextManager[Connection]:
        def note(why: str | None) -> None:
            seen = uses.note(user.org_id, uses.PLATFORM, user.run_id, [Seen(server.id, why)])
            self._keep(asyncio.create_task(seen))

        return client.connect(server, user, self._pool, note=note)

    # Commands

    async def _carry_out(self, command: Command) -> None:
        try:
            status, message = await self._obey(command)
            await database.commit(outcomes.settle(command.id, status, message))
        except Unavailable as error:
            log.info("a command's result was not stored", command=command.id, why=error.message)
        except Exception:
            log.exception("a command failed", command=command.id)
        finally:
            self._commands.discard(command.id)

    async def _obey(self, command: Command) -> tuple[CommandStatus, str]:
        wanted = (command.run_id, command.attempt)
        mine = (one for one in self._attempts.values() if (one.held.run_id, one.held.attempt) == wanted)
        attempt = next(mine, None)
        if attempt is None:
            return CommandStatus.FAILED, "This attempt is not here any more"
        match command.kind:
            case CommandKind.CANCEL:
                attempt.cancel(msgspec.json.decode(command.payload, type=Cancel))
            case CommandKind.PAUSE:
                attempt.pause(msgspec.json.decode(command.payload, type=Pause))
            case CommandKind.FUND:
                attempt.fund(msgspec.json.decode(command.payload, type=Fund))
            case CommandKind.APPROVE:
                if not attempt.approve(msgspec.json.decode(command.payload, type=Approve)):
                    return CommandStatus.FAILED, "Nobody asks that any more"
            case CommandKind.MESSAGE:
                message = msgspec.json.decode(command.payload, type=Message)
                if not await attempt.hear(command.id, message):
                    return CommandStatus.FAILED, "The run is ending"
            case _:
                return CommandStatus.UNSUPPORTED, f"The platform's engine does not know {command.kind!r}"
        return CommandStatus.DONE, ""

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _introduction(self) -> Register:
        return Register(
            uid=self._uid,
            name=f"platform {self._uid}",
            os={"win32": "windows", "darwin": "darwin"}.get(sys.platform, "linux"),
            arch="arm64" if platform.machine().lower() in {"arm64", "aarch64"} else "amd64",
            version=corral.__version__,
            allowed_dirs=["/"],
            max_pods=self._max_pods,
            clis=[Cli(EngineName.PROVIDER, corral.__version__, signed_in=True)],
        )
