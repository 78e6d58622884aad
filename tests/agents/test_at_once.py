"""Somebody deletes, between two statements, what the statements are about: there is an answer all the same, a true one.

On PostgreSQL each statement of a unit sees what was committed before it. So whatever may be done is done again and
again, and each time the deletion comes one statement later, until there is no statement left to come before.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from corral.agents import board, epics, inbox, mail, starting, supplies
from corral.agents.board import Task
from corral.agents.mail import Letter, MessageType
from corral.base.errors import CorralError
from corral.base.ids import new_id
from corral.mcp import servers
from corral.platform import database, postgres
from corral.platform.settings import Settings
from corral.runs import approvals, deleting, leases, outcomes, pausing, queue, treasury
from corral.runs.sealing import Sealing
from corral.secrets import rotation
from corral.usage import alerts, budgets
from corral.web.errors import meaning_of
from corral.wire.events import EventType
from corral.wire.runner import CommandResult, CommandStatus, McpTested
from tests.agents.money import QUESTION, budget
from tests.agents.office import PERSON, Office, Work, opened, pass_time
from tests.support.interleaving import Interleaving, interleaving

INIT = (EventType.SESSION_INIT, {"session_id": "s-1"})
PAUSED = (EventType.RUN_PAUSED, {"code": "paused", "message": "A person said so"})
#: Where nothing may be left of a run that is gone, and what else a scene begins without.
KEPT = ("events", "event_packs", "remains", "approvals", "calls", "inputs", "commands", "usage_drafts", "reservations")
ELSE = ("runs", "tasks", "messages", "epics", "budgets", "budget_alerts", "mcp_servers", "secrets")
#: What nothing may be left in, whoever came when.
WRONG = " UNION ALL ".join([
    *(f"SELECT '{table}' FROM {table} WHERE run_no <> 0 AND run_no NOT IN (SELECT no FROM runs)" for table in KEPT),
    "SELECT error FROM messages WHERE error IS NOT NULL",
    "SELECT 'epic' FROM tasks WHERE epic_id IS NOT NULL AND epic_id NOT IN (SELECT id FROM epics)",
    "SELECT 'alert' FROM budget_alerts WHERE budget_no NOT IN (SELECT no FROM budgets)",
    "SELECT action FROM audit WHERE target_id = $1 AND action LIKE '%.deleted' GROUP BY action HAVING count(*) > 1",
])  # fmt: skip


@pytest.fixture
async def office(tmp_path: Path, migrated_postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Office]:
    """On PostgreSQL, which notices at once that two wait for each other."""
    monkeypatch.setattr(postgres, "_SERVER", f"{postgres._SERVER}; SET deadlock_timeout = '10ms'")
    yield await opened(Settings(data=tmp_path, database_url=migrated_postgres_url))
    await database.disconnect()


@pytest.fixture
async def at_once(migrated_postgres_url: str) -> AsyncIterator[Interleaving]:
    async with interleaving(migrated_postgres_url) as at_once:
        yield at_once


# Runs, which somebody deletes in each of their states


class Run:
    """A run of an agent's task; its machine, if it has one, says the end of it before it is deleted."""

    def __init__(self, office: Office, task: Task) -> None:
        self.office, self.task, self.org_id = office, task, office.org_id
        self.id = str(task.run_id)
        self.work: Work | None = None

    async def goes(self) -> None:
        with suppress(CorralError):
            if self.work is not None:
                await self.work.fails()
        with suppress(CorralError):
            await deleting.delete(self.org_id, self.id, "user:other")

    async def says(self, *events: Any) -> None:
        assert self.work is not None
        await self.work.say(*events)

    async def calls(self, tool: str, **arguments: Any) -> None:
        assert self.work is not None
        await self.work.calls_tool(tool, patience=0.01, **arguments)


async def queued(office: Office) -> Run:
    return Run(office, await office.started(await office.agent()))


async def at_work(office: Office) -> Run:
    run = await queued(office)
    run.work = await office.work()
    await run.says(INIT, EventType.AGENT_MESSAGE)
    return run


async def asking(office: Office) -> Run:
    run = await at_work(office)
    await run.says((EventType.PERMISSION_REQUESTED, QUESTION))
    return run


async def stopping(office: Office) -> Run:
    run = await at_work(office)
    await pausing.pause_by(run.org_id, run.id, PERSON)
    return run


async def paused(office: Office) -> Run:
    run = await stopping(office)
    await run.says(PAUSED)
    return run


async def helped(office: Office) -> Run:
    """What it has handed out is done, and not yet heard of."""
    run, helper = await at_work(office), await office.agent("Bob")
    await run.calls("delegate_task", to=helper.id, title="h", input="h")
    await inbox.drain(helper.id)
    help_ = await office.work()
    await help_.calls_tool("report_progress", text="soon")
    await help_.ends()
    return run


async def ended(office: Office) -> Run:
    run = await at_work(office)
    await run.says((EventType.RUN_COMPLETED, {"text": "Done"}))
    return run


async def hears(run: Run, type_: MessageType) -> None:
    letter = Letter(type=type_, sender=PERSON, receiver=run.task.assignee_id, text="t")
    await mail.post(run.org_id, letter)
    await inbox.drain(letter.receiver)


async def is_answered(run: Run) -> None:
    for asked in await approvals.page(run.org_id):
        await approvals.answer(run.org_id, asked.id, "allow", PERSON)


async def is_not_answered(run: Run) -> None:
    await pass_time("approvals", "expires_at", 1e6, run_id=run.id)
    await approvals.expire()


async def cannot_stop(run: Run) -> None:
    box = run.office.box
    for command in await run.office.commands():
        await outcomes.finish(run.org_id, box.id, command.id, CommandResult(box.session, CommandStatus.UNSUPPORTED))


async def is_lost(run: Run) -> None:
    await run.office.age_runner(run.office.box, 1000)
    await leases.run_once(1)
    await leases.run_once(0)


async def is_late(run: Run) -> None:
    await database.fetch("UPDATE tasks SET due_at = 1 WHERE id = $1", run.task.id)
    await starting.end_overdue(0)
    lines = await database.fetch("SELECT 1 FROM audit WHERE target_id = $1 AND action = 'task.cancelled'", run.task.id)
    assert bool(lines) == ("in time" in ((await run.office.look(run.task)).error or ""))


async def is_sealed(run: Run) -> None:
    await pass_time("runs", "ended_at", 10 * 86_400, id=run.id)
    await Sealing(1, 2).run_once(0)


async def gets_money(run: Run) -> None:
    await budget(run.office, 10**6)
    await treasury.run_once(0)
    await treasury.run_once(0)


# And other things


class Row:
    """Something that is changed, and removed by this."""

    def __init__(self, org_id: int, id_: str, remove: Callable[[int, str], Awaitable[object]]) -> None:
        self.org_id, self.id, self._remove = org_id, id_, remove

    async def goes(self) -> None:
        await self._remove(self.org_id, self.id)


async def server(office: Office) -> Row:
    made = await supplies.add_server(office.org_id, new_id(), {"name": "github", "transport": "stdio", "command": "c"})
    return Row(office.org_id, made.id, supplies.remove_server)


async def secret(office: Office) -> Row:
    key = f"KEY_{new_id()[-12:].upper()}"
    await supplies.put_secret(office.org_id, key, "value")
    return Row(office.org_id, key, supplies.remove_secret)


async def spent(office: Office) -> Row:
    """It is told that all of it is spent."""
    made = await budget(office, 10**6)
    await alerts.tell(made, 10**6, 0)
    return Row(office.org_id, made.id, budgets.remove)


async def epic(office: Office) -> Row:
    return Row(office.org_id, (await epics.create(office.org_id, new_id(), "E")).id, epics.remove)


async def is_told_anew(row: Row) -> None:
    more = await budgets.update(row.org_id, row.id, {"limit_micros": 15 * 10**5})
    await alerts.tell(more, 10**6, 0)


async def is_given_tasks(row: Row) -> None:
    office = Office(row.org_id)
    agent = await office.agent()
    made = await office.task(agent)
    await office.task(agent, epic_id=row.id)
    await board.update(row.org_id, made.id, {"epic_id": row.id})


#: What may be done to a thing that is as this makes it.
ACTS: dict[Callable[[Office], Awaitable[Any]], dict[str, Callable[[Any], Coroutine[Any, Any, object]]]] = {
    queued: {
        "is claimed": lambda run: run.office.box.poll(hold=False),
        "is deleted": lambda run: deleting.delete(run.org_id, run.id, PERSON),
        "gets money": gets_money,
        "is changed": lambda run: board.update(run.org_id, run.task.id, {"title": "x", "input": "y", "priority": 1}),
        "ends with its task": lambda run: board.cancel(run.org_id, run.task.id, PERSON, tree=True),
    },
    at_work: {
        "is told": lambda run: queue.say(run.org_id, run.id, "hello", PERSON),
        "is asked": lambda run: hears(run, MessageType.QUESTION),
        "is paused": lambda run: pausing.pause_by(run.org_id, run.id, PERSON),
        "is cancelled": lambda run: queue.cancel(run.org_id, run.id, PERSON),
        "is lost": is_lost,
        "is late": is_late,
        "gets money": gets_money,
        "ends": lambda run: run.says((EventType.RUN_COMPLETED, {"text": "Done"})),
        "is cut off": lambda run: run.says((EventType.SESSION_INTERRUPTED, {"message": "m"})),
        "asks": lambda run: run.says((EventType.PERMISSION_REQUESTED, QUESTION)),
        "asks and waits": lambda run: run.calls("ask_human", question="Why?"),
    },
    asking: {"is answered": is_answered, "is not answered": is_not_answered},
    stopping: {"stops": lambda run: run.says(PAUSED), "cannot stop": cannot_stop},
    paused: {
        "goes on": lambda run: pausing.continue_by(run.org_id, run.id, None, PERSON),
        "is answered": lambda run: hears(run, MessageType.ANSWER),
    },
    helped: {"hears of it": lambda run: inbox.drain(run.task.assignee_id)},
    ended: {
        "goes on": lambda run: pausing.continue_by(run.org_id, run.id, "more", PERSON),
        "is followed up": lambda run: queue.follow_up(run.org_id, run.id, "more", PERSON),
        "is deleted": lambda run: deleting.delete(run.org_id, run.id, PERSON),
        "is begun anew": lambda run: starting.start(run.org_id, run.task.id, PERSON),
        "is sealed": is_sealed,
    },
    server: {
        "is changed": lambda row: supplies.change_server(row.org_id, row.id, {"command": "d"}),
        "is tested": lambda row: servers.tested(row.org_id, row.id, McpTested(), "box"),
        "is removed": lambda row: row.goes(),
    },
    secret: {
        "is stored anew": lambda row: supplies.put_secret(row.org_id, row.id, "other"),
        "is sealed anew": lambda _row: rotation.rotate(renew=True),
        "is removed": lambda row: row.goes(),
    },
    spent: {
        "is told anew": is_told_anew,
        "is removed": lambda row: row.goes(),
    },
    epic: {
        "is changed": lambda row: epics.update(row.org_id, row.id, title="F"),
        "is given tasks": is_given_tasks,
        "is removed": lambda row: row.goes(),
    },
}


@pytest.mark.parametrize("make", ACTS)
async def test_what_is_done_to_a_thing_is_done_or_refused_whenever_somebody_deletes_that(
    office: Office, at_once: Interleaving, make: Callable[[Office], Awaitable[Any]]
) -> None:
    empty = "; ".join(f"DELETE FROM {table}" for table in (*KEPT, *ELSE))
    for name, act in ACTS[make].items():
        for at in count(1):
            await database.fetch(f"DO $$ BEGIN {empty}; END $$")
            await budgets.reread()
            office.box.held.clear()
            thing = await make(office)
            done = await at_once.run(at, partial(act, thing), thing.goes)
            if done is None:
                break
            statuses = {meaning_of(one).status for one in done if isinstance(one, Exception)}
            assert statuses <= {400, 404, 409}, (name, at, done)
            if await database.fetch("SELECT 1 FROM reservations"):
                await treasury.run_once(0)
            assert [row[0] for row in await database.fetch(WRONG, thing.id)] == [], (name, at)
        assert at > 1
