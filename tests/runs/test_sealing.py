"""Old logs are packed, and read as before; let go, they take nothing along that anybody counts."""

from __future__ import annotations

import asyncio
from itertools import count as count_up
from types import SimpleNamespace
from typing import Any

import pytest

from corral.platform import database
from corral.runs import deleting, feed, pausing, queue, sealing
from corral.runs.frames import Logged
from corral.runs.models import Run
from corral.runs.sealing import Sealing
from corral.usage import ledger
from corral.web.present import logs
from corral.wire.events import EventType, Usage
from corral.wire.runner import Assignment
from corral.wire.runs import RunStatus
from tests.runs.test_deleting import _Sink as Sink
from tests.runs.world import Machine, World

STARTED = (EventType.RUN_STARTED, {"runner": "box"})
INIT = (EventType.SESSION_INIT, {"session_id": "s-1"})
DONE = (EventType.RUN_COMPLETED, {"text": "the result"})
USED = Usage("1/turn-1/m", "m", output_tokens=7, cost_micros=1234)
DAY = 86_400_000


async def ended(world: World, box: Machine, lines: int = 30, last: Any = DONE) -> tuple[Run, Assignment]:
    run = await world.launch()
    (work,) = (await box.poll()).assignments
    said = [(EventType.AGENT_MESSAGE, {"text": f"line {n} " + "x" * 50}) for n in range(lines)]
    await world.send(work, 1, STARTED, INIT, *said, last, usage=[USED])
    box.held.clear()
    return await world.run(run.id), work


async def age(run: Run, days: float) -> None:
    """Let the time pass since the run ended."""
    for statement in ("UPDATE runs SET ended_at = ended_at - $2 WHERE no = $1",
                      "UPDATE event_packs SET ended_at = ended_at - $2 WHERE run_no = $1"):  # fmt: skip
        await database.fetch(statement, run.no, int(days * DAY))


async def count(table: str, run: Run) -> int:
    return int((await database.fetch(f"SELECT count(*) AS n FROM {table} WHERE run_no = $1", run.no))[0]["n"])


async def sealed(world: World, monkeypatch: pytest.MonkeyPatch, lines: int = 30) -> tuple[Run, list[Logged]]:
    monkeypatch.setattr(sealing, "_EVENTS", 7)
    run, _ = await ended(world, await world.runner(), lines)
    log = await feed.events(run.no)
    await age(run, 8)
    await Sealing(7, 0).run_once(0)
    assert await count("event_packs", run) > 3
    assert await count("events", run) == 4  # how it started, its session, its agent's last word, its end
    return await world.run(run.id), log


async def test_a_packed_log_reads_as_before_from_any_place_in_any_portion(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, log = await sealed(world, monkeypatch)
    assert await feed.events(run.no) == log
    last = log[-1].seq
    for after in range(last + 1):
        rest = [event for event in log if event.seq > after]
        for limit in (1, 2, 6, 7, 13, 40):
            assert await feed.events(run.no, after=after, limit=limit) == rest[:limit]
            until = [event for event in log if event.seq < after]
            assert await feed.events(run.no, before=after, limit=limit) == until[-limit:]
    assert await feed.events(run.no, before=20, after=11, limit=100) == [e for e in log if 11 < e.seq < 20]
    assert [event async for page in logs.pages(run.no, limit=20) for event in page] == log[:20]
    sink = Sink()
    await asyncio.wait_for(feed.feeds().watch(run.no, run.id, 0, sink), 30)
    shown = b"".join(sink.heard)
    assert [f"id: {event.seq}\n".encode() in shown for event in log] == [True] * len(log)


async def test_what_ended_lately_and_what_goes_on_is_left_alone(world: World) -> None:
    box = await world.runner()
    lately, _ = await ended(world, box)
    await age(lately, 6)
    live = await world.launch()
    (work,) = (await box.poll()).assignments
    await world.send(work, 1, STARTED, INIT)
    await Sealing(7, 0).run_once(0)
    await age(lately, 30)
    await Sealing(0, 0).run_once(0)
    assert await count("event_packs", lately) == await count("event_packs", live) == 0


async def test_a_packed_run_is_continued_in_its_session_and_packed_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, log = await sealed(world, monkeypatch)
    await pausing.continue_by(world.org_id, run.id, "and now?", "user:me")
    run = await world.run(run.id)
    assert (run.session_id, run.next_prompt, run.is_sealed) == ("s-1", "and now?", False)
    box = await world.runner()
    (work,) = (await box.poll()).assignments
    await world.send(work, 1, STARTED, INIT, (EventType.AGENT_MESSAGE, {"text": "more"}), DONE)
    whole = await feed.events(run.no)
    assert [event.seq for event in whole] == list(range(1, len(whole) + 1))
    assert whole[: len(log)] == log
    await age(run, 8)
    await Sealing(7, 0).run_once(0)
    assert await feed.events(run.no) == whole
    assert (await world.run(run.id)).is_sealed


async def test_a_packed_run_is_followed_up_and_deleted_like_any(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = await sealed(world, monkeypatch)
    child = await queue.follow_up(world.org_id, run.id, "go on", "user:me")
    assert child.session_id == "s-1"
    await deleting.delete(world.org_id, run.id, "user:me")
    assert await count("events", run) == await count("event_packs", run) == await count("remains", run) == 0


async def test_a_log_too_long_for_one_round_is_packed_and_let_go_over_several(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "_EVENTS", 7)
    monkeypatch.setattr(sealing, "_PACKS", 1)
    run, _ = await ended(world, await world.runner())
    log = await feed.events(run.no)
    await age(run, 31)
    times = count_up()
    monkeypatch.setattr(sealing, "time", SimpleNamespace(monotonic=lambda: next(times)))
    monkeypatch.setattr(sealing, "_SECONDS", 5)
    packs = []
    while not (await world.run(run.id)).is_sealed:
        await Sealing(7, 0).run_once(0)
        packs.append(await count("event_packs", run))
    assert packs == sorted(packs)
    assert len(packs) > 1
    assert await feed.events(run.no) == log
    rounds = 0
    while await count("event_packs", run):
        await Sealing(0, 30).run_once(0)
        rounds += 1
    assert rounds > 1
    assert [event.type for event in await feed.events(run.no)][:2] == ["log.let_go", "run.started"]


async def test_a_run_that_is_continued_while_it_is_packed_is_left_as_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "_EVENTS", 7)
    run, _ = await ended(world, await world.runner())
    log = await feed.events(run.no)
    await age(run, 8)
    store, times = sealing._store, iter(range(3))

    def interrupting(*arguments: Any) -> Any:
        if next(times) == 2:
            yield from pausing.continue_((yield from queue.locked(world.org_id, run.id)), hints(), "wait!", "user:me")
        return (yield from store(*arguments))

    monkeypatch.setattr(sealing, "_store", interrupting)
    await Sealing(7, 0).run_once(0)
    assert await count("event_packs", run) == 2
    assert (await feed.events(run.no))[: len(log)] == log
    assert not (await world.run(run.id)).is_sealed


def hints() -> Any:
    from corral.runs.hints import Hints

    return Hints()


async def test_several_servers_pack_the_same_runs_at_once_and_a_reader_misses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "_EVENTS", 7)
    box = await world.runner()
    runs = [(await ended(world, box))[0] for _ in range(6)]
    logs = {run.no: await feed.events(run.no) for run in runs}
    for run in runs:
        await age(run, 8)
    servers = [asyncio.create_task(Sealing(7, 0).run_once(0)) for _ in range(3)]
    while not all(server.done() for server in servers):
        for run in runs:
            assert await feed.events(run.no, limit=1000) == logs[run.no]
        await asyncio.sleep(0)
    await asyncio.gather(*servers)
    for run in runs:
        assert await feed.events(run.no) == logs[run.no]
        assert (await world.run(run.id)).is_sealed


async def test_a_log_is_let_go_after_its_time_and_says_so_and_what_it_cost_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "_EVENTS", 7)
    monkeypatch.setattr(sealing, "_PACKS", 2)
    box = await world.runner()
    run, _ = await ended(world, box)
    failed, _ = await ended(world, box, last=(EventType.RUN_FAILED, {"code": "x", "message": "no"}))
    lately, _ = await ended(world, box)
    before = await spent(run, failed, lately)
    kept = await feed.events(lately.no)
    for old in (run, failed):
        await age(old, 31)
    await age(lately, 29)
    await Sealing(7, 30).run_once(0)
    log = await feed.events(run.no)
    assert [event.type for event in log] == [
        "log.let_go", "run.started", "session.init", "agent.message", "run.completed",
    ]  # fmt: skip
    assert "up to line 32 was let go" in log[0].payload
    assert log[-1].payload == '{"text":"the result"}'
    assert await feed.events(lately.no) == kept
    assert await spent(run, failed, lately) == before
    assert (await world.run(failed.id)).reason is not None
    assert await count("event_packs", run) == 0
    sink = Sink()
    await asyncio.wait_for(feed.feeds().watch(run.no, run.id, 0, sink), 30)
    assert b"run.completed" in b"".join(sink.heard)
    await Sealing(7, 30).run_once(0)
    assert await feed.events(run.no) == log


async def test_a_run_whose_log_was_let_go_can_still_be_continued(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = await sealed(world, monkeypatch)
    await age(run, 31)
    await Sealing(7, 30).run_once(0)
    await pausing.continue_by(world.org_id, run.id, "once more", "user:me")
    box = await world.runner()
    (work,) = (await box.poll()).assignments
    assert work.session_id == "s-1"
    await world.send(work, 1, STARTED, INIT, DONE)
    assert (await world.run(run.id)).status == RunStatus.COMPLETED
    assert (await world.log(run))[0] == "log.let_go"


async def spent(*runs: Run) -> Any:
    """What reports are made of."""
    lines = await database.fetch("SELECT run_no, source, output_tokens, cost_micros FROM usage_lines ORDER BY run_no")
    return [tuple(row) for row in lines], await ledger.totals([run.no for run in runs])
