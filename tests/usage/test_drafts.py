"""What a turn in progress has used counts until its line is there, and never beside it."""

from __future__ import annotations

import random
from typing import Any

import pytest

from corral.agents import world
from corral.base.errors import LeaseLost
from corral.platform import database
from corral.platform.database import Statement, Unit
from corral.runs import ingest, leases
from corral.usage import ledger
from corral.usage.ledger import SoFar
from corral.wire.events import Drafts, EventBatch, EventType, Usage
from corral.wire.runs import RunStatus
from tests.agents.office import Office, Work

MESSAGE = EventType.AGENT_MESSAGE
MODEL = "claude-haiku-4-5"  # a dollar a million tokens in, five out


def message(name: str, tokens: int) -> Usage:
    return Usage(f"1/message-{name}", MODEL, output_tokens=tokens, estimated=True)


def drafts(at: int, *lines: Usage) -> Drafts:
    return Drafts(at, list(lines))


def turn(number: int, tokens: int, micros: int | None = None) -> Usage:
    return Usage(f"1/turn-{number}/{MODEL}", MODEL, output_tokens=tokens, cost_micros=micros)


async def spent(work: Work) -> SoFar:
    """What its run has used so far; the same by model, and as everybody sees it at a glance."""
    run = await work.run()
    found = (await ledger.totals([run.no])).get(run.no, SoFar())
    by_model = await ledger.by_model(run.no)
    assert sum(one.output_tokens for one in by_model.values()) == found.output_tokens
    assert "" not in by_model
    for entry in await world.world(work.office.org_id):
        if entry.run_id == run.id:
            assert (entry.total_tokens, entry.cost_micros) == (found.tokens, found.cost_micros)
    return found


async def left() -> int:
    return len(await database.fetch("SELECT id FROM usage_drafts"))


async def send(work: Work, *types: Any, **more: Any) -> None:
    stored = await work.office.send(work.assignment, work.n + 1, *types, **more)
    work.n = max(work.n, stored.n)


async def test_a_turn_is_counted_while_it_goes_on_and_once_when_it_has_told_its_sums(office: Office) -> None:
    work = await office.at_work(await office.agent(team="Core"))
    await send(work, MESSAGE, drafts=drafts(1, message("a", 100)))
    assert await spent(work) == SoFar(output_tokens=100, cost_micros=500, is_estimated=True)
    await send(work, drafts=drafts(2, message("a", 200), message("b", 10)))
    assert await spent(work) == SoFar(output_tokens=210, cost_micros=1050, is_estimated=True)
    (row,) = await database.fetch("SELECT * FROM usage_drafts WHERE source = '1/message-b'")
    run = await work.run()
    assert (row["org_id"], row["run_no"], row["run_id"]) == (office.org_id, run.no, run.id)
    assert (row["agent_id"], row["team"], row["task_id"], row["user_id"]) == (run.agent_id, "Core", run.task_id, "boss")
    await send(work, usage=[turn(1, 215, 1100)], drafts=drafts(3))
    assert await spent(work) == SoFar(output_tokens=215, cost_micros=1100, reported_micros=1100)
    await send(work, MESSAGE, drafts=drafts(4, message("c", 2), Usage("1/message-d", "unheard-of", output_tokens=7)))
    assert await spent(work) == SoFar(output_tokens=224, cost_micros=1110, reported_micros=1100, is_estimated=True)


async def test_drafts_that_come_twice_late_or_out_of_order_change_nothing(office: Office) -> None:
    """Every batch any number of times, in any order, as long as the newest is among them."""
    chance = random.Random(7)
    said = [drafts(at, *(message(name, at) for name in "abc"[: at % 4])) for at in range(1, 13)]
    for number, order in enumerate((said, said[::-1], chance.choices(said, k=40), [said[-1], *said])):
        work = await office.at_work(await office.agent(f"Ada {number}"))
        for one in [*order, said[10], said[2]]:
            await send(work, drafts=one)
        newest = max(one.at for one in [*order, said[10]])
        assert (await spent(work)).output_tokens == newest * (newest % 4)
        await work.ends()


async def test_a_turns_line_is_not_undone_by_drafts_that_come_after_it(office: Office) -> None:
    work = await office.at_work(await office.agent())
    late = drafts(1, message("a", 100))
    settled: dict[str, Any] = {"usage": [turn(1, 120)], "drafts": drafts(2)}
    batches: list[dict[str, Any]] = [{"drafts": late}, settled, {"drafts": late}, settled, {"drafts": late}]
    for batch in batches:
        await send(work, **batch)
        assert (await spent(work)).output_tokens in {100, 120}
    assert await spent(work) == SoFar(output_tokens=120, cost_micros=600)


async def test_a_batch_that_overlaps_or_comes_too_soon_takes_its_drafts_along(office: Office) -> None:
    work = await office.at_work(await office.agent())
    await send(work, drafts=drafts(1, message("b", 100)))  # of the turn whose line comes after the gap
    batch: dict[str, Any] = {"drafts": drafts(2, message("a", 5)), "usage": [turn(1, 1)]}
    await office.send(work.assignment, 4, MESSAGE, MESSAGE, **batch)  # the events of a gap are told again
    assert (await spent(work)).output_tokens == 6
    await send(work, MESSAGE)
    await office.send(work.assignment, 2, MESSAGE, MESSAGE, MESSAGE, **batch)
    await office.send(work.assignment, 2, MESSAGE, MESSAGE, MESSAGE, **batch)
    assert (await spent(work)).output_tokens == 6
    await office.send(work.assignment, 4, MESSAGE, usage=[turn(2, 20)], drafts=drafts(3))  # sent again with what came
    assert (await spent(work)).output_tokens == 21


async def test_who_was_fenced_drafts_nothing_and_takes_no_draft_away(office: Office) -> None:
    work = await office.at_work(await office.agent())
    await send(work, (EventType.SESSION_INIT, {"session_id": "s"}), MESSAGE, drafts=drafts(5, message("a", 100)))
    await send(work, EventType.SESSION_INTERRUPTED, usage=[message("a", 100)], drafts=drafts(6))
    assert await left() == 0
    office.box.held = []
    (again,) = await office.claim()
    await send(again, EventType.RUN_STARTED, drafts=drafts(1, Usage("2/message-b", MODEL, output_tokens=30)))
    assert (await spent(again)).output_tokens == 130
    for lease in (work.assignment.lease, "made-up"):
        batch = EventBatch(1, lease, usage=[turn(1, 1)], drafts=drafts(99, message("x", 1_000_000)))
        with pytest.raises(LeaseLost):
            await ingest.ingest(office.org_id, work.run_id, batch)
    assert (await spent(again)).output_tokens == 131  # its lines count
    await again.ends()
    assert await left() == 0
    batch = EventBatch(2, again.assignment.lease, drafts=drafts(9, message("x", 1_000_000)))
    await ingest.ingest(office.org_id, work.run_id, batch)
    assert (await spent(again)).output_tokens == 101


@pytest.mark.parametrize(
    "last",
    [
        (EventType.RUN_COMPLETED, {"text": "Done"}),
        (EventType.RUN_FAILED, {"code": "cli_error", "message": "It broke"}),
        (EventType.SESSION_INTERRUPTED, {"message": "The runner stopped"}),
    ],
)
async def test_an_attempt_leaves_no_draft_whatever_its_last_batch_says(office: Office, last: Any) -> None:
    work = await office.at_work(await office.agent())
    await send(work, drafts=drafts(1, message("a", 100)))
    for _ in range(2):
        await office.send(work.assignment, 2, MESSAGE, last, usage=[turn(1, 7)], drafts=drafts(2, message("b", 100)))
        assert await left() == 0
        assert (await spent(work)).output_tokens == 7


async def test_an_attempt_that_the_server_ends_leaves_no_draft(office: Office) -> None:
    work = await office.at_work(await office.agent())
    await send(work, drafts=drafts(1, message("a", 100)))
    await office.age_runner(office.box, 100)
    await leases.run_once(3600)
    assert await left() == 2  # it may be well
    await leases.run_once(-1)
    assert (await work.run()).status == RunStatus.FAILED
    assert await left() == 0


async def test_a_batch_without_drafts_takes_the_statements_it_always_took(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = await office.at_work(await office.agent())
    said: list[str] = []
    commit = database.commit

    def heard(unit: Unit[Any]) -> Unit[Any]:
        answer: Any = None
        try:
            while True:
                statement: Statement = unit.send(answer)
                said.append(statement.sql)
                answer = yield statement
        except StopIteration as done:
            return done.value

    monkeypatch.setattr(database, "commit", lambda unit: commit(heard(unit)))
    await send(work, MESSAGE, MESSAGE)
    events = len(said)
    said.clear()
    assert events == (1 if database.dialect() == "postgres" else 2)
    await send(work, MESSAGE, usage=[turn(1, 7)])
    assert len(said) == events + 1
    assert not any("usage_drafts" in one for one in said)
    said.clear()
    await send(work, drafts=drafts(1, message("a", 1)))
    assert len(said) == 4
