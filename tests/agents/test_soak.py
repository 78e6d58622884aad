"""Many messages through three servers that are killed and replaced: none lost, none handled twice, all in order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
from redis.asyncio import Redis as Client

from corral import bus
from corral.agents import board, mail, roster
from corral.agents.board import NewTask
from corral.agents.mail import Letter, MessageType
from corral.agents.roster import Agent
from corral.base.ids import new_id
from corral.bus.redis import RedisBus
from corral.platform import database, orgs
from corral.platform.database import Unit, sql
from corral.platform.settings import Settings
from corral.runs.hints import Hints, decide
from tests.agents.office import PERSON
from tests.agents.soak import TABLE, Server
from tests.support.redis import Redis

MESSAGES = 20_000
RECEIVERS = 40
SENDERS = 4
#: Notes that come at once, after which something comes that begins a run.
TOGETHER = 24
RUNS = MESSAGES // (TOGETHER + 1)
#: A server is killed so often; sooner after so many messages, and not before so many.
SECONDS, MOST, LEAST = 5.0, MESSAGES // 5, MESSAGES // 10
#: So many may wait to be handled.
AHEAD = 3_000


@pytest.fixture
async def org_id(migrated_postgres_url: str, own_redis: Redis, folder: Path) -> AsyncIterator[int]:
    """An org whose messages this process sends, and others handle."""
    settings = Settings(data=folder, database_url=migrated_postgres_url)
    await database.connect(settings)
    channel = RedisBus(own_redis.url)
    bus.use(channel)
    await channel.start()
    await database.fetch(TABLE)
    yield (await orgs.bootstrap(settings)).org_id
    await database.fetch("DROP TABLE effects")
    await channel.stop()
    await database.disconnect()


@pytest.mark.timeout(300)  # half a minute, where nothing else is at work
async def test_no_message_is_lost_doubled_or_out_of_order_while_servers_die_and_redis_forgets(
    org_id: int,
    migrated_postgres_url: str,
    own_redis: Redis,
    folder: Path,
    record_property: Callable[[str, object], None],
) -> None:
    agents = [await hire(org_id, n) for n in range(RECEIVERS)]
    servers = Servers(lambda: Server(folder, migrated_postgres_url, own_redis.url))
    await servers.start()
    began = time.monotonic()
    handled, flushed = 0, 0
    sending = asyncio.gather(*(send(org_id, agents, part, lambda: handled) for part in range(SENDERS)))
    try:
        while handled < MESSAGES:
            await asyncio.sleep(0.1)
            handled = await count("effects")
            servers.kill_now_and_then(handled)
            if handled > MESSAGES * (flushed + 1) // 3:
                async with Client.from_url(own_redis.url) as client:
                    await client.flushall()
                flushed += 1
        seconds = time.monotonic() - began
        await sending
    finally:
        sending.cancel()
        await servers.stop()
    assert flushed == 2
    assert servers.killed >= 3
    assert await count("effects") == MESSAGES
    assert await count(ORDERED, "inbox_seq <> nth") == 0
    assert await count("agents", f"inbox_seq <> {MESSAGES // RECEIVERS}") == 0
    assert await count("messages", "receiver IN (SELECT id FROM agents) AND handled_at IS NULL") == 0
    assert await count("runs") == RUNS
    begun = "SELECT run_id AS id FROM tasks UNION SELECT answer_run_id FROM messages WHERE answer_run_id IS NOT NULL"
    assert await count(f"({begun}) AS begun JOIN runs ON runs.id = begun.id") == RUNS
    rate = f"{MESSAGES / seconds:,.0f} messages a second"
    record_property("measured", f"{rate} through three servers; {servers.killed} were killed in {seconds:.0f} s")


#: The effects by receiver, in the order in which they were had.
ORDERED = "(SELECT inbox_seq, row_number() OVER (PARTITION BY receiver ORDER BY no) AS nth FROM effects) AS had"


class Servers:
    """Three of them, of which one is killed and replaced now and then."""

    def __init__(self, make: Callable[[], Server]) -> None:
        self._make = make
        self._living: list[Server] = []
        self._starting: set[asyncio.Task[None]] = set()
        self._killed_at, self._killed_after = 0.0, 0
        self.killed = 0

    async def start(self) -> None:
        for _ in range(3):
            await self._start()

    def kill_now_and_then(self, handled: int) -> None:
        since = handled - self._killed_after
        if self._starting or since < (LEAST if time.monotonic() - self._killed_at > SECONDS else MOST):
            return
        self._killed_after = handled
        self._living.pop(0).kill()
        self.killed += 1
        starting = asyncio.create_task(self._start())
        self._starting.add(starting)
        starting.add_done_callback(self._starting.discard)

    async def stop(self) -> None:
        await asyncio.gather(*self._starting)
        for server in self._living:
            server.kill()

    async def _start(self) -> None:
        self._living.append(await asyncio.to_thread(self._make))
        self._killed_at = time.monotonic()


async def hire(org_id: int, n: int) -> Agent:
    where = {"cli_name": "claude-code", "provider_config": {"cwd": "/code"}}
    fields = {"name": f"Agent {n}", "role": "r", "glyph": "x", "allowed_tools": "", "autostart": True, **where}
    return await roster.create(org_id, new_id(), fields)


async def send(org_id: int, agents: Sequence[Agent], part: int, handled: Callable[[], int]) -> None:
    """Send a part of all messages: to each agent in turn some notes, then a person's note or a task."""
    for n in range(part, RUNS, SENDERS):
        while n * (TOGETHER + 1) - handled() > AHEAD:  # noqa: ASYNC110 - other processes handle
            await asyncio.sleep(0.05)
        agent = agents[n % len(agents)]
        await decide(partial(notes, org_id, agent.id))
        if n // len(agents) % 2:
            await mail.post(org_id, Letter(type=MessageType.NOTE, sender=PERSON, receiver=agent.id, text="Look"))
        else:
            new = NewTask(id=new_id(), title="t", input="Do it", assignee_id=agent.id, created_by="run:none")
            await board.create(org_id, new)


def notes(org_id: int, receiver: str, hints: Hints) -> Unit[None]:
    """Send notes of another agent, as `mail.send` does one."""
    rows = yield sql(
        "UPDATE agents SET inbox_seq = inbox_seq + $2 WHERE id = $1 RETURNING inbox_seq", receiver, TOGETHER
    )
    yield sql(
        "INSERT INTO messages (id, org_id, type, sender, receiver, text, inbox_seq, tries, created_at) "
        "SELECT gen_random_uuid()::text, $1, 'note', $2, $2, 'Hello', $3 - $4::int + i, 0, now_ms() "
        "FROM generate_series(1, $4::int) AS i",
        org_id, receiver, rows[0]["inbox_seq"], TOGETHER,
    )  # fmt: skip
    hints.mail(receiver)


async def count(table: str, where: str = "TRUE") -> int:
    rows = await database.fetch(f"SELECT count(*) AS n FROM {table} WHERE {where}")
    return int(rows[0]["n"])
