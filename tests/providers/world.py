"""A platform and its engine in front of the scripted model: agents by provider, tools that count, crashes on demand."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from corral.base.errors import Unavailable
from corral.demo.ledger import Served
from corral.demo.server import ModelServer
from corral.mcp.pool import User
from corral.platform import database
from corral.platform.database import Unit, sql
from corral.platform.settings import Settings
from corral.providers import conversation
from corral.providers.conversation import Kept
from corral.providers.engine import Engine
from corral.providers.entries import Prompt
from corral.runs import feed, ingest, outfit, states
from corral.runs.frames import Logged
from corral.runs.hints import Hints
from corral.runs.models import Run
from corral.runs.states import Change
from corral.usage import ledger, pricelists
from corral.usage.ledger import SoFar
from corral.wire import runs as wire
from corral.wire.agents import AgentSnapshot, McpServer
from corral.wire.runner import Assignment, Held, Limits, Money
from corral.wire.runs import ENDED, RunStatus
from corral.wire.tools import ToolAnswer, ToolSpec
from tests.runs.world import World as Runs
from tests.support.waiting import PATIENCE

#: Longer than anything here takes, even on a busy machine.
BOTH = pytest.mark.parametrize("store", ["sqlite", "postgres"], indirect=True)
LONG_ENOUGH = 15.0 * PATIENCE
#: A model of each provider, by a name that its engine asks to think.
MODELS = {"anthropic": "claude-sonnet-5", "openai": "gpt-5.6-terra", "openrouter": "maker/some-model"}
_ANYTHING = {"type": "object", "properties": {}}


class OwnTools:
    """Corral's tools: `note` answers at once, `ask` when the test answers; each call id is carried out once."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()  #: call id → times carried out
        self.asked: Counter[str] = Counter()  #: call id → times asked for
        self.held: list[Held] = []
        self.answers: asyncio.Queue[str] = asyncio.Queue()
        self.trouble: list[Exception] = []

    def specs(self, assignment: Assignment) -> Sequence[ToolSpec]:
        return [ToolSpec(name, f"Do {name}", _ANYTHING) for name in ("note", "ask")]

    async def call(self, held: Held, call_id: str, name: str, input: msgspec.Raw) -> ToolAnswer:
        self.asked[call_id] += 1
        self.held.append(held)
        if self.trouble:
            raise self.trouble.pop()
        self.done[call_id] = 1
        if name == "ask":
            await database.fetch("UPDATE runs SET status = 'waiting' WHERE id = $1", held.run_id)
            answer = await self.answers.get()
            await database.fetch("UPDATE runs SET status = 'running' WHERE id = $1", held.run_id)
            return ToolAnswer(done=True, text=answer)
        return ToolAnswer(done=True, text=f"noted {msgspec.json.decode(input)['text']}")


class Server:
    """An MCP server without a process: `look` echoes, `fail` fails, `hang` hangs."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.opened = self.closed = 0
        self.hanging = asyncio.Event()
        self.tools = ["look", "fail", "hang", "much"]
        self.is_new = False  #: they have changed since they were last asked for

    @property
    def specs(self) -> Sequence[ToolSpec]:
        return [ToolSpec(name, f"Do {name}", _ANYTHING) for name in self.tools]

    async def call(self, name: str, arguments: Mapping[str, Any], seconds: float) -> ToolAnswer:
        self.calls.append(f"{name} {arguments.get('at', '')}".strip())
        match name:
            case "fail":
                raise RuntimeError("it broke")
            case "hang":
                self.hanging.set()
                await asyncio.sleep(seconds)
                return ToolAnswer(done=True, text=f"hang gave no answer in {seconds:g} seconds", is_error=True)
            case "much":
                return ToolAnswer(done=True, text="much " * 100_000)
        await asyncio.sleep(0)
        return ToolAnswer(done=True, text=f"saw {arguments.get('at')}")

    async def renew(self) -> bool:
        was_new, self.is_new = self.is_new, False
        return was_new

    @asynccontextmanager
    async def connect(self, server: McpServer, _user: User) -> AsyncIterator[Server]:
        if server.name == "broken":
            raise OSError("no such command")
        self.opened += 1
        try:
            yield self
        finally:
            self.closed += 1


class Crash(Exception):
    """The process is gone: what it would still have written is not written."""


class World(Runs):
    """An org, its provider agents, and the engines that execute them."""

    def __init__(self, org_id: int, model: ModelServer, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(org_id)
        self.model = model
        self.own = OwnTools()
        self.server = Server()
        self.secrets = {f"{name.upper()}_API_KEY": "any" for name in MODELS}
        self.mcp_servers: list[str] = ["files"]
        self.real_servers: list[McpServer] = []  #: in the place of those, if there are any
        self.rules: dict[str, Any] = {}  #: about their tools
        self.allowed: int | None = None  #: what an attempt may spend, in millionths of a dollar
        self.engines: list[Engine] = []
        self.writes = 0
        self._crash_at: int | str = 0
        self._crashed = False
        self._after = False
        self.away = 0  #: so many writes find the database away
        self._data = data
        monkeypatch.setattr(ingest, "ingest", self._ingest)
        monkeypatch.setattr(outfit, "outfit", self._outfit)
        monkeypatch.setattr(states, "_hooks", [_let_go])

    async def start(self, **options: Any) -> Engine:
        """A server process's engine; the data directory is the same for all of them."""
        url = self.model.url
        urls = {"anthropic": url, "openai": f"{url}/v1", "openrouter": f"{url}/api/v1"}
        settings = Settings(data=options.pop("data", self._data), provider_urls=urls)
        reached = None if self.real_servers else self.server.connect
        engine = Engine(settings, self.own, connect=reached, **options)
        self.engines.append(engine)
        await engine.start()
        return engine

    async def ask(self, prompt: str, provider: str = "anthropic", **more: Any) -> Run:
        """Launch a run of an agent."""
        more = {
            "model": MODELS.get(provider),
            "agent": self.agent(provider),
            "cwd": "",
            "engine": wire.Engine.PROVIDER,
            **more,
        }
        return await self.launch(prompt, **more)

    async def becomes(self, run: Run, provider: str) -> None:
        """Let a queued run be of an agent with another provider."""
        agent = msgspec.json.encode(self.agent(provider)).decode()
        await database.fetch("UPDATE runs SET agent = $2, model = $3 WHERE id = $1", run.id, agent, MODELS[provider])

    def agent(self, provider: str) -> AgentSnapshot:
        return AgentSnapshot("agent-1", "Ada", "A careful helper", provider=provider, model=MODELS.get(provider))

    def limits(self, **narrow: Any) -> Limits:
        return Limits(**narrow)

    async def until(self, run: Run, *statuses: RunStatus) -> Run:
        """Wait for a state, or for the end."""
        async with asyncio.timeout(LONG_ENOUGH):
            while (now := await self.run(run.id)).status not in (statuses or ENDED):  # noqa: ASYNC110 - as below
                await asyncio.sleep(0.005)
            return now

    async def done(self, prompt: str, provider: str = "anthropic", **more: Any) -> Run:
        """Launch, and wait for a good end."""
        run = await self.until(await self.ask(prompt, provider, **more))
        assert run.status == RunStatus.COMPLETED, run.reason
        return run

    async def events(self, run: Run, *types: str) -> list[Logged]:
        return [event for event in await feed.events(run.no) if not types or event.type in types]

    async def told(self, run: Run, type: str) -> list[dict[str, Any]]:
        """The payloads of a type of event."""
        return [msgspec.json.decode(event.payload) for event in await self.events(run, type)]

    async def text(self, run: Run) -> str:
        return str((await self.told(run, "run.completed"))[0]["text"])

    async def spent(self, run: Run) -> SoFar:
        return (await ledger.totals([run.no])).get(run.no, SoFar())

    async def kept(self, run: Run) -> list[Kept]:
        """What is stored of a run's conversation."""
        session = (await self.run(run.id)).session_id or run.id
        return (await conversation.load(self.org_id, session, run.id))._kept

    def served(self, **narrow: Any) -> list[Served]:
        return [one for one in self.model.ledger.served if all(getattr(one, k) == v for k, v in narrow.items())]

    def requests(self, path: str = "/v1/messages") -> list[dict[str, Any]]:
        return [msgspec.json.decode(one.body or b"{}") for one in self.model.ledger.received if one.path == path]

    # Crashes

    def crash_at(self, write: int | str, *, after: bool = False) -> None:
        """Let the process die right before its write number so-and-so (from 1) or of that event, or right after it."""
        self.writes, self._crash_at, self._after, self._crashed = 0, write, after, False

    async def crashed(self, engine: Engine) -> None:
        """Wait for the crash, and take the rest of the process away."""
        await self.happens(lambda: self._crashed)
        await self.kill(engine)
        self._crash_at, self._crashed = 0, False

    async def kill(self, engine: Engine) -> None:
        """As kill -9 would: nothing more is written, nothing is said."""
        self._crashed = True
        tasks = [*engine._tasks, *([engine._serving] if engine._serving else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        engine._holding.close()
        self._crashed = False

    async def happens(self, holds: Callable[[], bool]) -> None:
        """Wait for something that happens in a while."""
        async with asyncio.timeout(LONG_ENOUGH):
            while not holds():  # noqa: ASYNC110 - what is waited for has no event to set
                await asyncio.sleep(0.005)

    async def _ingest(self, org_id: int, run_id: str, batch: Any, beside: Any = None) -> Any:
        if self._crashed:
            raise Crash
        if self.away:
            self.away -= 1
            raise Unavailable
        if not batch.events and not beside:
            return await _REAL_INGEST(org_id, run_id, batch, beside)
        self.writes += 1
        dies = self._crash_at in {self.writes, *(event.type.value for event in batch.events)}
        if dies and not self._after:
            self._crashed = True
            raise Crash
        stored = await _REAL_INGEST(org_id, run_id, batch, beside)
        if dies:
            self._crashed = True
            raise Crash
        return stored

    async def _outfit(self, assignments: Sequence[Assignment]) -> list[Assignment]:
        servers = [McpServer(name, "stdio", command="none", **self.rules) for name in self.mcp_servers]
        servers = self.real_servers or servers
        money = None
        if self.allowed is not None:
            money = Money(self.allowed, list((await pricelists.current(self.org_id)).ordered))
        return [
            msgspec.structs.replace(one, env=self.secrets, mcp_servers=servers, money=money) if one.agent else one
            for one in assignments
        ]


def _let_go(change: Change, hints: Hints) -> Unit[None]:
    """In place of the agents' own rules: whoever is queued may start."""
    if change.status == RunStatus.QUEUED:
        rows = yield sql("UPDATE runs SET hold = NULL WHERE no = $1 RETURNING placement_id", change.run_no)
        hints.placement(rows[0]["placement_id"])


_REAL_INGEST = ingest.ingest


async def prompts(world: World, run: Run) -> list[str]:
    """What is stored of what a run was told."""
    return [one.entry.text for one in await world.kept(run) if isinstance(one.entry, Prompt)]


async def streaming(world: World, run: Run) -> None:
    """Wait until an answer of the run comes."""
    await world.happens(
        lambda: any(one.status == "open" and one.usage.output_tokens for one in world.served(session=run.id))
    )


async def count(sql: str, *args: Any) -> int:
    return int((await database.fetch(f"SELECT count(*) AS n FROM {sql}", *args))[0]["n"])
