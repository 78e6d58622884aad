"""Runs go from process to process, whoever stops, is killed or loses its lease."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from corral.base.errors import Unavailable
from corral.platform import database
from corral.providers.journal import Journal
from corral.runs import ingest, leases
from corral.wire.events import EventType
from corral.wire.purse import Purse
from corral.wire.runner import Assignment
from corral.wire.runs import Engine, RunStatus
from tests.providers.world import BOTH, World, count, streaming


async def test_a_server_that_stops_hands_its_runs_on(world: World, provider: str, tmp_path: Path) -> None:
    engine = await world.start()
    run = await world.ask('%tool note {"text": "x"}\n%say part\n%stall x1\n%say whole', provider)
    await world.happens(lambda: len(world.served()) == 2)
    await streaming(world, run)
    await engine.stop()
    assert (await world.run(run.id)).status == RunStatus.QUEUED
    assert [told["message"] for told in await world.told(run, "session.interrupted")] == [
        "The server process that executed it is ending"
    ]
    await world.start(data=tmp_path / "another")
    done = await world.until(run)
    assert (done.status, done.attempt) == (RunStatus.COMPLETED, 2)
    assert world.own.done.total() == 1
    assert (await world.spent(run)).output_tokens > world.served()[-1].usage.output_tokens


async def test_a_killed_servers_runs_go_on_as_soon_as_it_starts_again(world: World) -> None:
    engine = await world.start()
    run = await world.ask("%tool ask {}\n%say {{result}}")
    await world.until(run, RunStatus.WAITING)
    await world.kill(engine)
    await world.start()
    world.own.answers.put_nowait("yes")
    assert await world.text(await world.until(run)) == "yes"
    assert list(world.own.asked.values()) == [2]  # the same call, asked again
    assert await count("runners WHERE org_id = 0") == 1


@BOTH
async def test_a_killed_servers_runs_go_on_elsewhere_after_its_lease(world: World, tmp_path: Path) -> None:
    engine = await world.start()
    run = await world.ask("%say part\n%stall x1\n%say whole")
    await streaming(world, run)
    await world.kill(engine)
    await world.start(data=tmp_path / "another")
    assert await leases.run_once(7200) == 0
    await database.fetch("UPDATE runners SET seen_at = seen_at - 100000 WHERE uid = $1", engine._uid)
    assert await leases.run_once(7200) == 1
    done = await world.until(run)
    assert (done.status, done.attempt) == (RunStatus.COMPLETED, 2)


async def test_two_processes_of_one_data_directory_are_two_runners(world: World) -> None:
    one, two = await world.start(), await world.start()
    assert one._uid != two._uid
    await one.stop()
    three = await world.start()
    assert three._uid == one._uid


async def test_an_attempt_that_is_anothers_ends_without_a_word(world: World) -> None:
    engine = await world.start()
    run = await world.ask("%tool files__hang {}\n%say never")
    await world.server.hanging.wait()
    before = len(await world.events(run))
    await database.fetch("UPDATE runs SET lease = 'another', runner_no = NULL WHERE id = $1", run.id)
    engine._again.set()  # the next poll says so
    await world.happens(lambda: not engine._attempts)
    assert len(await world.events(run)) == before


async def test_whoever_streams_finds_out_that_the_lease_is_gone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corral.providers.journal.CHECK_SECONDS", 0.1)
    engine = await world.start()
    run = await world.ask("%pace 50\n%say " + "word " * 500)
    await streaming(world, run)
    await database.fetch("UPDATE runs SET lease = 'another', runner_no = NULL WHERE id = $1", run.id)
    await world.happens(lambda: not engine._attempts)
    await world.happens(lambda: world.served()[-1].status == "cut")


@BOTH
async def test_many_runs_at_once(world: World, tmp_path: Path) -> None:
    await world.start()
    await world.start(data=tmp_path / "another")
    runs = [await world.ask(f'%tool note {{"text": "{n}"}}\n%say {{{{result}}}}') for n in range(30)]
    for n, run in enumerate(runs):
        assert await world.text(await world.until(run)) == f"noted {n}"
    assert world.own.done.total() == 30


async def test_no_more_than_its_slots_are_taken(world: World) -> None:
    engine = await world.start(max_pods=2)
    for _ in range(4):
        await world.ask("%say x\n%stall")
    await world.happens(lambda: len(world.served()) == 2)
    engine._again.set()
    await asyncio.sleep(0.1)
    assert len(engine._attempts) == 2


async def test_a_database_that_is_away_is_waited_for(world: World) -> None:
    await world.start()
    world.away = 3
    run = await world.done('%tool note {"text": "x"}\n%say done')
    assert await world.text(run) == "done"
    assert world.own.asked.total() == 1
    numbers = [event.seq for event in await world.events(run)]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_a_write_that_is_cut_off_is_looked_for_before_the_end_is_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await world.ask("x")
    await database.fetch("UPDATE runs SET attempt = 1, lease = 'mine', attempt_open = TRUE WHERE id = $1", run.id)
    work = Assignment(run.id, 1, "mine", Engine.PROVIDER, "x", "")
    journal = Journal(world.org_id, run.no, work, purse=Purse(work.limits, None), on_lost=lambda: None)
    real, stored = ingest.ingest, asyncio.Event()

    async def slow(*args: Any) -> Any:
        await real(*args)
        stored.set()
        raise Unavailable

    monkeypatch.setattr(ingest, "ingest", slow)
    writing = asyncio.create_task(journal.write([(EventType.RUN_STARTED, {})]))
    await stored.wait()
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    monkeypatch.setattr(ingest, "ingest", real)
    await journal.end([(EventType.RUN_FAILED, {"code": "x", "message": "y"})])
    assert [event.type for event in await world.events(run)] == ["run.created", "run.started", "run.failed"]
