"""An org with agents whose runs are made by hand: a runner that is only rows, and short words for what agents do."""

from __future__ import annotations

from typing import Any

import msgspec

from corral.agents import board, following, inbox, mail, roster, starting, tools, waits
from corral.agents.board import NewTask, Task
from corral.agents.mail import Letter, Message, MessageType
from corral.agents.roster import Agent
from corral.base.ids import new_id
from corral.platform import database
from corral.platform.settings import Settings
from corral.runs import feed
from corral.runs.models import Run
from corral.secrets import keyring
from corral.wire.events import EventType
from corral.wire.runner import Assignment, Command, Held
from corral.wire.tools import ToolAnswer, ToolCall
from tests.runs import world
from tests.runs.world import Machine, World

PERSON = "user:boss"


class Office(World):
    """An org, its agents, and the one machine they work on."""

    box: Machine

    async def agent(self, name: str = "Ada", **fields: Any) -> Agent:
        values = {
            "name": name,
            "role": f"{name}'s role",
            "glyph": "🤖",
            "cli_name": "claude-code",
            "allowed_tools": "",
            "provider_config": {"cwd": "/code"},
        }
        return await roster.create(self.org_id, new_id(), {**values, **fields})

    async def task(self, agent: Agent, text: str = "Do it", **more: Any) -> Task:
        made = NewTask(id=new_id(), title=text[:40], input=text, assignee_id=agent.id, created_by=PERSON, **more)
        return await board.create(self.org_id, made)

    async def started(self, agent: Agent, text: str = "Do it", **more: Any) -> Task:
        """A task with a run that is queued."""
        task = await self.task(agent, text, **more)
        await starting.start(self.org_id, task.id, PERSON)
        return await self.look(task)

    async def begin(self, task_id: str) -> None:
        await starting.start(self.org_id, task_id, PERSON)

    async def look(self, task: Task | str) -> Task:
        return await board.get(self.org_id, task if isinstance(task, str) else task.id)

    async def why(self, task: Task) -> str | None:
        return (await waits.why(self.org_id, [await self.look(task)])).get(task.id)

    async def who(self, agent: Agent) -> str:
        return (await roster.get(self.org_id, agent.id)).status

    async def claim(self) -> list[Work]:
        """What the machine is given now; none of it has started."""
        return [Work(self, one) for one in (await self.box.poll()).assignments]

    async def work(self) -> Work:
        """The one run that the machine is given now, started."""
        (work,) = await self.claim()
        await work.say(EventType.RUN_STARTED)
        return work

    async def at_work(self, agent: Agent, text: str = "Do it", **more: Any) -> Work:
        """The started run of a new task of this agent."""
        await self.started(agent, text, **more)
        return await self.work()

    async def commands(self) -> list[Command]:
        return (await self.box.poll(free=0)).commands

    async def post(self) -> None:
        """Have all mail handled, and what that sends."""
        before = None
        while before != (left := await self._unhandled()):
            before = left
            await inbox.reread(0)

    async def _unhandled(self) -> set[int]:
        rows = await database.fetch("SELECT no FROM messages WHERE handled_at IS NULL AND dead_at IS NULL")
        return {row["no"] for row in rows}

    async def write(self, to: Agent | str, text: str, type_: MessageType = MessageType.NOTE) -> Message:
        receiver = to if isinstance(to, str) else to.id
        letter = Letter(type=type_, sender=PERSON, receiver=receiver, text=text)
        return await mail.post(self.org_id, letter)

    async def messages(self, **which: Any) -> list[Message]:
        """Messages, oldest first."""
        return (await mail.page(self.org_id, **which))[::-1]

    async def run_of(self, task: Task) -> Run:
        run_id = (await self.look(task)).run_id
        assert run_id is not None
        return await self.run(run_id)


class Work:
    """A run's attempt, as the machine that has it."""

    def __init__(self, office: Office, assignment: Assignment) -> None:
        self.office, self.assignment = office, assignment
        self.n = 0
        self.calls = 0

    @property
    def run_id(self) -> str:
        return self.assignment.run_id

    async def say(self, *types: EventType | tuple[EventType, dict[str, Any]]) -> None:
        stored = await self.office.send(self.assignment, self.n + 1, *types)
        self.n = stored.n

    async def ends(self, text: str = "Done", **more: Any) -> None:
        """The agent ends its turn."""
        await self._let_go((EventType.RUN_COMPLETED, {"text": text, **more}))

    async def fails(self, message: str = "It broke") -> None:
        await self._let_go((EventType.RUN_FAILED, {"code": "cli_error", "message": message}))

    async def is_cancelled(self) -> None:
        await self._let_go((EventType.RUN_CANCELLED, {"message": "Cancelled by a person"}))

    async def is_cut_off(self) -> None:
        await self._let_go((EventType.SESSION_INTERRUPTED, {"message": "The runner stopped"}))

    async def calls_tool(self, tool: str, call_id: str = "", patience: float = 0, **arguments: Any) -> ToolAnswer:
        self.calls += 1
        raw = msgspec.Raw(msgspec.json.encode(arguments))
        call_id = call_id or f"{self.assignment.attempt}-{self.calls}"
        return await tools.call(self.office.org_id, self.run_id, tool, ToolCall(call_id, raw, patience))

    async def hands(self, to: Agent | str, text: str = "Help", **more: Any) -> ToolAnswer:
        """Delegate."""
        name = to if isinstance(to, str) else to.id
        return await self.calls_tool("delegate_task", to=name, title=text[:40], input=text, **more)

    async def run(self) -> Run:
        return await self.office.run(self.run_id)

    async def log(self) -> list[tuple[str, dict[str, Any]]]:
        events = await feed.events((await self.run()).no)
        return [(event.type, msgspec.json.decode(event.payload)) for event in events]

    async def told(self) -> list[dict[str, Any]]:
        """What the log says of the bus."""
        return [{"type": type_, **payload} for type_, payload in await self.log() if type_.startswith("bus.")]

    async def _let_go(self, end: tuple[EventType, dict[str, Any]]) -> None:
        await self.say(end)
        mine = Held(self.run_id, self.assignment.attempt, self.assignment.lease)
        self.office.box.held = [held for held in self.office.box.held if held != mine]


async def opened(settings: Settings) -> Office:
    """Open the database as a fresh server would, with one org, its machine, and tasks that follow their runs."""
    org_id = (await world.opened(settings)).org_id
    following.listen()
    keyring.use(settings)
    office = Office(org_id)
    office.box = await office.runner(max_pods=50)
    return office


async def pass_time(table: str, column: str, seconds: float, **row: str) -> None:
    """Let a moment of a row be so much earlier."""
    (name, value), *_ = row.items()
    await database.fetch(f"UPDATE {table} SET {column} = {column} - $2 WHERE {name} = $1", value, int(seconds * 1000))
