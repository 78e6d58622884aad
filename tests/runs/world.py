"""A small fleet for the tests of the core: one org, runners that are only rows, and short words for what they do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from corral import bus
from corral.bus.memory import MemoryBus
from corral.platform import database
from corral.platform.settings import Settings
from corral.runs import feed, ingest, placements, poll, queue, reads, runners, treasury, waiting
from corral.runs.models import Run
from corral.usage import alerts, budgets, meter, pricelists
from corral.wire.events import Drafts, EventBatch, EventsStored, EventType, RunnerEvent, Usage
from corral.wire.runner import Assignment, Cli, Held, Poll, PollAnswer, Register
from corral.wire.runs import Engine


class Machine:
    """A runner as the server sees it: register and poll."""

    def __init__(self, org_id: int, name: str, dirs: Sequence[str], labels: Sequence[str], max_pods: int) -> None:
        self.org_id = org_id
        self.body = Register(
            uid=f"uid-{name}",
            name=name,
            os="linux",
            arch="amd64",
            version="1",
            allowed_dirs=list(dirs),
            labels=list(labels),
            max_pods=max_pods,
            clis=[Cli(Engine.CLAUDE_CODE, "2", signed_in=True)],
        )
        self.id = 0
        self.session = ""
        self.polls = 0
        self.held: list[Held] = []

    async def register(self) -> None:
        registered = await runners.register(self.org_id, self.body)
        self.id, self.session, self.polls = registered.id, registered.session, 0

    async def poll(self, *, wait: float = 0, free: int | None = None, hold: bool = True) -> PollAnswer:
        self.polls += 1
        slots = self.body.max_pods - len(self.held) if free is None else free
        body = Poll(self.session, self.polls, slots, list(self.held), wait_seconds=wait)
        answer = await poll.poll(self.org_id, self.id, body)
        if hold:
            self.held += [Held(a.run_id, a.attempt, a.lease) for a in answer.assignments]
        return answer


class World:
    """An org and what happens in it."""

    def __init__(self, org_id: int) -> None:
        self.org_id = org_id

    async def runner(
        self, name: str = "box", dirs: Sequence[str] = ("/code",), labels: Sequence[str] = (), max_pods: int = 4
    ) -> Machine:
        machine = Machine(self.org_id, name, dirs, labels, max_pods)
        await machine.register()
        return machine

    async def launch(self, prompt: str = "hello", cwd: str = "/code", **more: Any) -> Run:
        return await queue.launch(self.org_id, queue.Launch(prompt=prompt, cwd=cwd, created_by="key:test", **more))

    async def run(self, run_id: str) -> Run:
        return await reads.get(self.org_id, run_id)

    async def send(
        self,
        work: Assignment,
        first: int,
        *types: EventType | tuple[EventType, dict[str, Any]],
        usage: Sequence[Usage] = (),
        drafts: Drafts | None = None,
    ) -> EventsStored:
        batch = EventBatch(work.attempt, work.lease, numbered(first, *types), list(usage), drafts=drafts)
        return await ingest.ingest(self.org_id, work.run_id, batch)

    async def log(self, run: Run) -> list[str]:
        return [event.type for event in await feed.events(run.no)]

    async def age_runner(self, machine: Machine, seconds: float) -> None:
        """Let the time pass in which the runner does not poll."""
        await database.fetch(
            "UPDATE runners SET seen_at = seen_at - $2 WHERE uid = $1", machine.body.uid, int(seconds * 1000)
        )


def numbered(first: int, *types: EventType | tuple[EventType, dict[str, Any]]) -> list[RunnerEvent]:
    """Events numbered from `first`."""
    events = []
    for n, item in enumerate(types, first):
        type_, payload = item if isinstance(item, tuple) else (item, {"text": f"event {n}"})
        events.append(RunnerEvent(n, type_, msgspec.Raw(msgspec.json.encode(payload))))
    return events


async def opened(settings: Settings) -> World:
    """Open the database for this process as a fresh server would, with one org in it."""
    bus.use(MemoryBus())
    placements.forget()
    runners.forget()
    pricelists.forget()
    budgets.forget()
    meter.forget()
    alerts.forget()
    treasury.forget()
    feed.reset()
    waiting.reset().open()
    await database.connect(settings)
    rows = await database.fetch("INSERT INTO orgs (name, created_at) VALUES ('Acme', now_ms()) RETURNING id")
    return World(rows[0]["id"])


async def started(world: World) -> tuple[Machine, Assignment]:
    box = await world.runner(max_pods=100)
    await world.launch()
    work = (await box.poll()).assignments[0]
    await world.send(work, 1, EventType.RUN_STARTED)
    return box, work


async def interrupted(world: World, box: Machine, work: Assignment, first: int, *said: EventType) -> Assignment:
    """Let the attempt begin its session, say something, and be cut off; return the next one."""
    init = (EventType.SESSION_INIT, {"session_id": "s1"})
    await world.send(work, first, init, *said, EventType.SESSION_INTERRUPTED)
    box.held = []
    (again,) = (await box.poll()).assignments
    await world.send(again, 1, EventType.RUN_STARTED)
    return again


def batch(work: Assignment, first: int, last: int) -> EventBatch:
    return EventBatch(work.attempt, work.lease, numbered(first, *[EventType.AGENT_MESSAGE] * (last - first + 1)))
